"""Whether many processes decide alike: ``python -m tests.bench.bench_decisions OUT``, on a GPU, 300 s at most.

A program with two kernels is captured once. Then three times eight processes improve that capture at the same time,
each with a memory of its own, as ranks would that do not share a file. All are on one GPU, so they wait for each other
whenever they time. The goal: at least 22 of 24 tables have the same decisions, and the others differ from them only in
rows that are marked as ties. ``OUT/decisions.json`` holds every table's digest and differences. Exit code 1 if the goal
is missed. It has not been run on a GPU yet. ``--device interpreter`` runs it without one; nothing is timed then, so the
tables say nothing about timing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kernels.tuned.tuned_file import NotATable, read_table
from kernels.tuned.tuned_table import TunedRow, TunedTable

PROCESSES, ROUNDS, SECONDS = 8, 3, 60.0
MOST_SECONDS = 290.0
"""Of the whole bench; what still runs then is ended and counts as failed."""
ALIKE = 22 / 24
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "kernels" / "tuned" / "gpu_program.py"
EXAMPLE = ROOT / "examples" / "captured_program.py"
"""In place of PROGRAM without a GPU."""


def captured(out: Path, interpreted: bool) -> Path:
    path = out / "run.capture"
    path.unlink(missing_ok=True)
    program = [str(EXAMPLE)] if interpreted else [str(PROGRAM), str(out / "saved.pt")]
    command = [sys.executable, "-m", "agent", "capture", "-o", str(path), "--", sys.executable, *program]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return path


def improved(path: Path, out: Path, device: str, processes: int, seconds: float, end: float) -> list[TunedTable | str]:
    """What so many processes decide at once: a table each, or why there is none. `end`: a time of time.monotonic."""
    started = []
    for i in range(processes):
        table = out / f"tuned-{i}.json"
        for old in (table, out / f"memory-{i}.db"):
            old.unlink(missing_ok=True)
        asked = ["--device", device, "--max-seconds", str(seconds), "--cold", "--memory", str(out / f"memory-{i}.db")]
        command = [sys.executable, "-m", "agent", "improve", str(path), "-o", str(table), *asked]
        log = (out / f"improve-{i}.log").open("w")
        started.append((subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT), table, log))
    found: list[TunedTable | str] = []
    for process, table, log in started:
        try:
            code = process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            found.append("it was not done in time")
            continue
        finally:
            log.close()
        try:
            found.append(read_table(table) if code in (0, 3) else f"exit code {code}: {_last_line(Path(log.name))}")
        except NotATable as e:
            found.append(str(e))
    return found


def compare(tables: list[TunedTable | str]) -> dict[str, Any]:
    """How many tables have the decisions of most, and in which rows the others differ."""
    made = [t for t in tables if isinstance(t, TunedTable)]
    digests = Counter(t.digest for t in made)
    most = digests.most_common(1)[0][0] if digests else None
    chosen = next((t for t in made if t.digest == most), None)
    other = [_differences(chosen, t) for t in made if chosen is not None and t.digest != most]
    return {
        "runs": len(tables),
        "alike": digests[most] if most else 0,
        "digests": [t.digest[:12] if isinstance(t, TunedTable) else t for t in tables],
        "others": other,
        "differ in ties alone": all(d["tie"] for rows in other for d in rows),
        "rows": [] if chosen is None else [_shown(r) for r in chosen.rows],
        "failed": len(tables) - len(made),
    }


def is_met(found: dict[str, Any]) -> bool:
    return found["alike"] >= ALIKE * found["runs"] and found["differ in ties alone"] and not found["failed"]


def _differences(chosen: TunedTable, other: TunedTable) -> list[dict[str, Any]]:
    """A row that one of them lacks is no tie."""
    ours, theirs = ({r.name: r for r in t.rows} for t in (chosen, other))
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(name), theirs.get(name)
        if a == b:
            continue
        tie = a is not None and b is not None and (a.tie or b.tie)
        found.append({"row": name, "tie": tie, "most": a and _shown(a), "this": b and _shown(b)})
    return found


def _shown(row: TunedRow) -> dict[str, Any]:
    decision = None if row.decision is None else asdict(row.decision)
    return {"kernel": row.function.qualname, "status": row.status, "tie": row.tie, "decision": decision}


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["(no output)"])[-1][:200]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each improve")
    asked = parser.parse_args()
    out, end = asked.out.resolve(), time.monotonic() + MOST_SECONDS
    interpreted = asked.device == "interpreter"
    if interpreted:
        os.environ["TRITON_INTERPRET"] = "1"
    out.mkdir(parents=True, exist_ok=True)
    path = captured(out, interpreted)
    tables: list[TunedTable | str] = []
    for n in range(asked.rounds):
        folder = out / f"round-{n}"
        folder.mkdir(exist_ok=True)
        tables += improved(path, folder, asked.device, asked.processes, asked.seconds, end)
        (out / "decisions.json").write_text(json.dumps(compare(tables), indent=1) + "\n")
    found = compare(tables)
    for row in found["rows"]:
        print(f"{row['kernel']:<24} {row['status']:<9} {'tie' if row['tie'] else '   '} {row['decision']}")
    for rows in found["others"]:
        print("one differs:", ", ".join(f"{(d['most'] or d['this'])['kernel']} ({_tie(d)})" for d in rows))
    for reason in [t for t in tables if isinstance(t, str)]:
        print(f"failed: {reason}")
    met = is_met(found)
    print(f"{found['alike']} of {found['runs']} tables have the same decisions: {'met' if met else 'missed'}")
    return 0 if met else 1


def _tie(difference: dict[str, Any]) -> str:
    return "a tie" if difference["tie"] else "no tie"


if __name__ == "__main__":
    sys.exit(main())
