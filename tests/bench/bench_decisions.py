"""Whether many processes decide alike: ``python -m tests.bench.bench_decisions OUT``, on a GPU, ``--seconds`` at most.

A program is captured once. Then three times eight processes improve one of its kernels at the same time, each with a
memory of its own, as ranks would that do not share a file. All are on one GPU and name one lock file
(``AUTOKERNEL_GPU_LOCK``), so they wait for each other whenever they time. A search of 36 configs with its proof holds
the GPU for some eight seconds; its time limit is long enough for all eight to go through all of them. The goal: at
least 22 of 24 tables have the same decisions, and the others differ from them only in rows that are marked as ties. A
decision is what a row applies: its status, its config, and the configs that serve between it and a neighbour. The mark
of a tie is none.

``OUT/decisions.json`` holds every table's decisions and differences. It is written after each table. A round that is
not done in time is ended, and its tables count as failed; a round that is not begun does not count, and the goal is
missed. Exit code 1 if the goal is missed. It has not been run on a GPU yet. ``--device interpreter`` runs it without
one; nothing is timed then, so the tables say nothing about timing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kernels.tuned.tuned_file import NotATable, read_table
from kernels.tuned.tuned_table import TunedRow, TunedTable, digest_of
from tools.harness.process.gpu_lock import VARIABLE as LOCK

PROCESSES, ROUNDS, IMPROVE_SECONDS = 8, 3, 75.0
SECONDS = 270.0
"""Of the whole bench; what still runs then is ended and counts as failed."""
END_S = 5.0
"""What a process is given to end by itself."""
ALIKE = 22 / 24
POLL_S = 0.05
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "kernels" / "tuned" / "gpu_program.py"
KERNEL = "in_place"
EXAMPLE = ROOT / "examples" / "captured_program.py"
"""In place of PROGRAM without a GPU."""


def captured(out: Path, interpreted: bool) -> Path:
    path = out / "run.capture"
    path.unlink(missing_ok=True)
    program = [str(EXAMPLE)] if interpreted else [str(PROGRAM), str(out / "saved.pt")]
    command = [sys.executable, "-m", "agent", "capture", "-o", str(path), "--", sys.executable, *program]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return path


class Improving:
    """One process that makes a table."""

    def __init__(self, path: Path, out: Path, number: int, asked: argparse.Namespace) -> None:
        self._table, self._log = out / f"tuned-{number}.json", out / f"improve-{number}.log"
        memory = out / f"memory-{number}.db"
        for old in (self._table, memory):
            old.unlink(missing_ok=True)
        given = [
            "--device",
            asked.device,
            "--max-seconds",
            str(asked.improve_seconds),
            "--cold",
            "--memory",
            str(memory),
        ]
        command = [sys.executable, "-m", "agent", "improve", str(path), "-o", str(self._table), *given]
        cores = cores_of(number, asked.processes)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, LOCK: str(path.with_name("gpu-lock"))},
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        if not self.ended():
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def made(self) -> TunedTable | str:
        """The table, or why there is none, once it has ended."""
        code = self._process.wait()
        if code not in (0, 3):
            return f"exit code {code}: {_last_line(self._log)}"
        try:
            return read_table(self._table)
        except NotATable as e:
            return str(e)


def cores_of(number: int, processes: int) -> set[int]:
    """The cores of one of so many processes: as ranks on one host are bound, so that they start no more helpers than
    there are cores for."""
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // processes)
    return {cores[(number * each + i) % len(cores)] for i in range(each)}


def improved(started: list[Improving], end: float) -> Iterator[TunedTable | str]:
    """What each process has made, as soon as it ends. `end`: a time of time.monotonic."""
    waiting = list(started)
    while waiting:
        late = time.monotonic() > end
        for process in list(waiting):
            if late:
                process.end()
            if process.ended():
                waiting.remove(process)
                made = process.made()
                yield "it was not done in time" if late else made
        time.sleep(POLL_S)


def compare(tables: list[TunedTable | str]) -> dict[str, Any]:
    """How many tables have the decisions of most, and in which rows the others differ."""
    made = [t for t in tables if isinstance(t, TunedTable)]
    decided = Counter(map(_decided, made))
    most = decided.most_common(1)[0][0] if decided else None
    chosen = next((t for t in made if _decided(t) == most), None)
    other = [_differences(chosen, t) for t in made if chosen is not None and _decided(t) != most]
    return {
        "runs": len(tables),
        "alike": decided[most] if most else 0,
        "decisions": [_decided(t)[:12] if isinstance(t, TunedTable) else t for t in tables],
        "digests, marks of ties included": [t.digest[:12] if isinstance(t, TunedTable) else t for t in tables],
        "others": other,
        "differ in ties alone": all(d["tie"] for rows in other for d in rows),
        "rows": [] if chosen is None else [_shown(r) for r in chosen.rows],
        "failed": len(tables) - len(made),
    }


def _decided(table: TunedTable) -> str:
    """A digest of what the rows apply."""
    return digest_of([{n: v for n, v in row.items() if n != "tie"} for row in table.decisions])


def is_met(found: dict[str, Any]) -> bool:
    return found["alike"] >= ALIKE * found["runs"] and found["differ in ties alone"] and not found["failed"]


def _differences(chosen: TunedTable, other: TunedTable) -> list[dict[str, Any]]:
    """A row that one of them lacks is no tie."""
    ours, theirs = ({r.name: r for r in t.rows} for t in (chosen, other))
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(name), theirs.get(name)
        if a is not None and b is not None and replace(a, tie=False) == replace(b, tie=False):
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
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole bench (%(default)g)")
    parser.add_argument("--improve-seconds", type=float, default=IMPROVE_SECONDS, help="of each (%(default)g)")
    parser.add_argument("--kernel", default=KERNEL, help="of the program; all of them if it is empty (%(default)s)")
    asked = parser.parse_args()
    out, began = asked.out.resolve(), time.monotonic()
    interpreted = asked.device == "interpreter"
    if interpreted:
        os.environ["TRITON_INTERPRET"] = "1"
        asked.kernel = ""
    out.mkdir(parents=True, exist_ok=True)
    path = captured(out, interpreted)
    print(f"captured, {time.monotonic() - began:.1f} s", flush=True)
    tables: list[TunedTable | str] = []
    took: list[float] = []
    for n in range(asked.rounds):
        now = time.monotonic()
        if took and now - began + 0.8 * took[-1] > asked.seconds:
            print(f"no time is left for round {n}", flush=True)
            break
        folder = out / f"round-{n}"
        folder.mkdir(exist_ok=True)
        started = [Improving(path, folder, i, asked) for i in range(asked.processes)]
        for made in improved(started, began + asked.seconds):
            tables.append(made)
            found = compare(tables) | {"rounds, s": [*took, time.monotonic() - now]}
            (out / "decisions.json").write_text(json.dumps(found, indent=1) + "\n")
            seen = _decided(made)[:12] if isinstance(made, TunedTable) else made
            print(f"round {n}: {seen}, {time.monotonic() - now:.1f} s", flush=True)
        took.append(time.monotonic() - now)
    return show(compare(tables), asked.processes * asked.rounds)


def show(found: dict[str, Any], wanted: int) -> int:
    """Print what was found; the exit code. `wanted`: the number of tables."""
    for row in found["rows"]:
        print(f"{row['kernel']:<24} {row['status']:<9} {'tie' if row['tie'] else '   '} {row['decision']}")
    for rows in found["others"]:
        print("one differs:", ", ".join(f"{(d['most'] or d['this'])['kernel']} ({_tie(d)})" for d in rows))
    met = is_met(found) and found["runs"] == wanted
    alike = f"{found['alike']} of {found['runs']} tables have the same decisions, {wanted} were wanted"
    print(f"{alike}: {'met' if met else 'missed'}")
    return 0 if met else 1


def _tie(difference: dict[str, Any]) -> str:
    return "a tie" if difference["tie"] else "no tie"


if __name__ == "__main__":
    sys.exit(main())
