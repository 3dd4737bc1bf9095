"""Kept games of a language model beside the embedded planner: ``python -m tests.bench.bench_wheel [FILE]``.

Verifies the submissions in evals/traces, plays the embedded planner on the same landscapes with the same budget and
seed, scores all by set B, prints a table, and writes the figures into FILE (docs/data/wheel.json)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.trace.trace import Record
from evals.contest.contest import Job, run_jobs
from evals.contest.disguise import PLAIN
from evals.contest.ledger import Ledger
from evals.contest.submission import read_submission, transcript_of
from evals.scoring.score import Board
from evals.scoring.score_tables import markdown_table
from tools.harness.landscapes.named import named_landscape

ROOT = Path(__file__).parents[2]
SUBMISSIONS = sorted((ROOT / "evals" / "traces").glob("*.json"))
EMBEDDED = "embedded"


def main(file: Path) -> None:
    played = [ledger for path in SUBMISSIONS for ledger in read_submission(path)]
    boards = {x.source: Board(named_landscape(x.source)) for x in played}
    games = {(x.source, x.seed, x.max_evals) for x in played}
    jobs = [Job(EMBEDDED, boards[s].landscape, s, PLAIN, seed, evals) for s, seed, evals in sorted(games)]
    planned: list[Ledger] = []
    run_jobs(jobs, 1, planned.append)
    rows = [describe(x, boards[x.source]) for x in sorted([*planned, *played], key=lambda x: (x.landscape, x.agent))]
    planner = {row["landscape"]: row for row in rows if row["agent"] == EMBEDDED}
    for row in rows:
        row["more_regret"] = round(row["regret"] - planner[row["landscape"]]["regret"], 6)
    command = "python -m tests.bench.bench_wheel"
    file.write_text(json.dumps({"command": command, "runs": rows}, indent=1) + "\n", encoding="utf-8")
    print(render(rows))


def describe(ledger: Ledger, board: Board) -> dict[str, Any]:
    """A run in figures. `refused`: configs that the space does not hold, which cost nothing."""
    score = board.score(ledger)
    last = board.incumbents(ledger)[-1]
    spread = board.resample_regret(last) if last is not None else np.array([np.nan])
    found = {
        "landscape": ledger.landscape,
        "agent": ledger.agent.removeprefix("model:"),
        "seed": ledger.seed,
        "regret": round(score.regret or 0.0, 6),
        "regret_ci": [round(float(x), 6) for x in np.quantile(spread, [0.025, 0.975])],
        "P": round(score.P or 0.0, 4),
        "evaluations": score.evaluations,
        "to_the_end": ledger_end(ledger, board),
        "failed": sum(row.status != "correct" for row in ledger.rows),
        "outside_the_space": sum(row.config not in board.landscape.entries for row in ledger.rows),
    }
    if ledger.transcript is None:
        return found
    record = transcript_of(ledger)
    return found | {"refused": refused_in(record), "turns": turns_of(record), "tokens": ledger.tokens,
                    "prompt": record.header["prompt"]}  # fmt: skip


def ledger_end(ledger: Ledger, board: Board) -> int:
    """Evaluations until the incumbent is the one that the run ends with."""
    found = board.incumbents(ledger)
    return found.index(found[-1]) + 1


def refused_in(record: Record) -> int:
    results = [e.body.get("result", {}) for e in record.events if e.type == "tool_result"]
    rows = [row for result in results for row in result.get("results", ()) if isinstance(row, dict)]
    return sum("the nearest configs that exist" in str(row.get("reason", "")) for row in rows)


def turns_of(record: Record) -> int:
    return sum(e.type == "model_response" for e in record.events)


def render(rows: list[dict[str, Any]]) -> str:
    """The table of docs/MODELS.md."""
    head = [
        "landscape",
        "who",
        "regret",
        "95 %",
        "evaluations",
        "to its best",
        "failed",
        "refused, free",
        "turns",
        "tokens",
    ]
    lines = [
        [
            row["landscape"].removesuffix("-h200"),
            row["agent"],
            f"{row['regret']:.2%}",
            f"{row['regret_ci'][0]:.1%} … {row['regret_ci'][1]:.1%}",
            str(row["evaluations"]),
            str(row["to_the_end"]),
            str(row["failed"]),
            *(str(row.get(name, "")) for name in ("refused", "turns", "tokens")),
        ]
        for row in rows
    ]
    return markdown_table(head, lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "data" / "wheel.json")
