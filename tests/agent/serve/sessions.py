"""Sessions of an MCP client beside the embedded planner's runs of the same problems and budgets.

``python -m tests.agent.serve.sessions OUT.json TRACE...`` pairs the traces of both by problem and budget, and writes
what was called, what was answered, and how the final sittings judged. A folder stands for every trace below it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from agent.export.reader import read_story
from agent.export.story import Story
from agent.models.base import CLIENT
from agent.trace.trace import Record, read_trace

EQUAL = 0.001
"""Relative difference of two times within which neither is better: a tenth of what a sitting scatters."""


def describe(record: Record, story: Story) -> dict[str, Any]:
    """How one run ended, and its calls."""
    outcome = story.outcome
    assert outcome is not None
    assert outcome.best is not None, f"the run {story.header['run']} has no result"
    deciding = next(b for b in outcome.baselines if b.name == outcome.against)
    names = [e.body["name"] for e in record.events if e.type == "tool_call"]
    return {
        "ms": outcome.best.ms,
        "config": outcome.best.config,
        "verdict": outcome.verdict,
        "against": outcome.against,
        "speedup": deciding.speedup,
        "ci": deciding.ci,
        "evaluations": outcome.evaluations,
        "calls": dict(Counter(names)),
    }


def exchanges(record: Record) -> list[dict[str, Any]]:
    """Every call with its arguments; of what is measured, the status and the time or the reason."""
    answers = {e.key: e.body["result"] for e in record.events if e.type == "tool_result"}
    found = []
    for event in record.events:
        if event.type != "tool_call":
            continue
        answer = answers.get(event.key, {})
        row = {"tool": event.body["name"], "arguments": event.body["arguments"]}
        if "results" in answer:
            row["results"] = [r.get("ms") or f"{r['status']}: {r.get('reason', '')}" for r in answer["results"]]
        elif "error" in answer:
            row["error"] = answer.get("problems") or answer.get("why")
        found.append(row)
    return found


def main(out: Path, places: list[Path]) -> None:
    files = [file for place in places for file in (sorted(place.rglob("*.jsonl")) if place.is_dir() else [place])]
    runs: dict[tuple[str, int], dict[str, Any]] = {}
    for file in files:
        record = read_trace(file)
        story = read_story(record)
        assert story.outcome is not None, f"{file} has no end"
        by_client = story.objective.model == CLIENT
        run = runs.setdefault((story.outcome.problem, story.objective.limits.max_evals), {})
        run["client" if by_client else "planner"] = describe(record, story)
        if by_client:
            run["exchanges"] = exchanges(record)
    rows = [{"problem": problem, "budget": budget, **run} for (problem, budget), run in sorted(runs.items())]
    for row in rows:
        ratio = row["planner"]["ms"] / row["client"]["ms"]
        row["client_is"] = "better" if ratio > 1 + EQUAL else "worse" if ratio < 1 - EQUAL else "equal"
    counts = Counter(row["client_is"] for row in rows)
    command = "python -m tests.agent.serve.sessions docs/data/mcp-sessions.json TRACES"
    out.write_text(json.dumps({"command": command, "sessions": len(rows), "counts": counts, "rows": rows}, indent=1))
    for row in rows:
        print(f"{row['problem']:52} {row['budget']:3} {row['client']['ms']:.5f} {row['planner']['ms']:.5f} "
              f"{row['client_is']}")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(place) for place in sys.argv[2:]])
