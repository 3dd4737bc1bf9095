"""Whether many processes decide alike: ``python -m tests.bench.bench_decisions OUT``, on a GPU, ``--seconds`` at most.

A program is captured once. Then eight processes improve one of its kernels at the same time, each three times, and each
time with a memory of its own, as ranks would that do not share a file. All are on one GPU and name one lock file
(``AUTOKERNEL_GPU_LOCK``), so they wait for each other whenever they time. The goal: at least 22 of 24 tables have the
same decisions, and the others differ from them only in rows that are marked as ties. A decision is what a row applies:
its status, its config, and the configs that serve between it and a neighbour. The mark of a tie is none.

The kernel is by default that of a mixture-of-experts layer (``moe_layer.py``, TOKENS tokens), of which several configs
are faster than the owner's. ``in_place`` and ``tuned`` of ``gpu_program.py`` can be named instead. Rows that are all
``stock`` say little: that no run takes noise for a gain, and nothing about whether runs prove the same config.

``OUT/decisions.json`` holds every table's decisions and differences. It is written after each table. A run that is not
done in time is ended and counts as failed; if one is not begun, the goal is missed. Exit code 1 if the goal is missed.
``--device interpreter`` runs it without a GPU; nothing is timed then, so the tables say nothing about timing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kernels.tuned.tuned_file import NotATable, read_table
from kernels.tuned.tuned_table import TunedRow, TunedTable, digest_of
from tools.harness.process.gpu_lock import VARIABLE as LOCK

PROCESSES, ROUNDS, IMPROVE_SECONDS = 8, 3, 90.0
SECONDS = 280.0
"""Of the whole bench; what still runs then is ended and counts as failed."""
END_S = 5.0
"""What a process is given to end by itself."""
ALIKE = 22 / 24
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "kernels" / "tuned" / "gpu_program.py"
KERNEL, TOKENS = "grouped", 4096
EXAMPLE = ROOT / "examples" / "captured_program.py"
"""In place of PROGRAM without a GPU."""


def captured(out: Path, interpreted: bool, kernel: str) -> Path:
    path = out / "run.capture"
    path.unlink(missing_ok=True)
    if interpreted:
        program = [str(EXAMPLE)]
    elif kernel == KERNEL:
        program = ["-m", "tests.bench.moe_layer", str(TOKENS)]
    else:
        program = [str(PROGRAM), str(out / "saved.pt")]
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
        given = f"--device {asked.device} --max-seconds {asked.improve_seconds} --cold".split()
        given += ["--kernel", asked.kernel] if asked.kernel else []
        command = [sys.executable, "-m", "agent", "improve", str(path), "-o", str(self._table), *given]
        environment = {**os.environ, LOCK: str(path.with_name("gpu-lock"))}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--memory", str(memory)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        os.sched_setaffinity(self._process.pid, cores_of(number, asked.processes))

    def made(self, end: float) -> TunedTable | str:
        """The table, or why there is none. `end`: a time of ``time.monotonic()``."""
        try:
            code = self._process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._end()
            return "it was not done in time"
        if code not in (0, 3):
            return f"exit code {code}: {_last_line(self._log)}"
        try:
            return read_table(self._table)
        except NotATable as e:
            return str(e)

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def improve_again(
    path: Path, number: int, asked: argparse.Namespace, end: float, say: Callable[[str, TunedTable | str | None], None]
) -> None:
    """All runs of one of the processes, each told to `say` with its table, or None if there was no time to begin it."""
    longest = 0.0
    for n in range(asked.rounds):
        began = time.monotonic()
        if began + 0.9 * longest > end:
            say(f"process {number}, run {n}: no time is left for it", None)
            continue
        folder = path.with_name(f"round-{n}")
        folder.mkdir(exist_ok=True)
        made = Improving(path, folder, number, asked).made(end)
        longest = max(longest, time.monotonic() - began)
        seen = _decided(made)[:12] if isinstance(made, TunedTable) else made
        say(f"process {number}, run {n}: {seen}, {time.monotonic() - began:.1f} s", made)


def cores_of(number: int, processes: int) -> set[int]:
    """The cores of one of so many processes: as ranks on one host are bound, so that they start no more helpers than
    there are cores for."""
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // processes)
    return {cores[(number * each + i) % len(cores)] for i in range(each)}


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
        "proven rows": 0 if chosen is None else sum(r.status == "proven" for r in chosen.rows),
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
    parser.add_argument(
        "--kernel", default=KERNEL, help="of the program; all of gpu_program.py if it is empty (%(default)s)"
    )
    asked = parser.parse_args()
    out, began = asked.out.resolve(), time.monotonic()
    interpreted = asked.device == "interpreter"
    if interpreted:
        os.environ["TRITON_INTERPRET"] = "1"
        asked.kernel = ""
    out.mkdir(parents=True, exist_ok=True)
    path = captured(out, interpreted, asked.kernel)
    print(f"captured, {time.monotonic() - began:.1f} s", flush=True)
    tables: list[TunedTable | str] = []
    lock = threading.Lock()

    def say(line: str, made: TunedTable | str | None) -> None:
        with lock:
            print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)
            if made is not None:
                tables.append(made)
                found = compare(tables) | {"seconds": time.monotonic() - began}
                (out / "decisions.json").write_text(json.dumps(found, indent=1) + "\n")

    end = began + asked.seconds
    with ThreadPoolExecutor(asked.processes) as pool:
        for runs in [pool.submit(improve_again, path, i, asked, end, say) for i in range(asked.processes)]:
            runs.result()
    return show(compare(tables), asked.processes * asked.rounds)


def show(found: dict[str, Any], wanted: int) -> int:
    """Print what was found; the exit code. `wanted`: the number of tables."""
    for row in found["rows"]:
        print(f"{row['kernel']:<24} {row['status']:<9} {'tie' if row['tie'] else '   '} {row['decision']}")
    for rows in found["others"]:
        print("one differs:", ", ".join(f"{(d['most'] or d['this'])['kernel']} ({_tie(d)})" for d in rows))
    if not found["proven rows"]:
        print("No row is proven, so this says nothing about whether proven rows repeat.")
    met = is_met(found) and found["runs"] == wanted
    alike = f"{found['alike']} of {found['runs']} tables have the same decisions"
    print(f"{alike}; the goal is {math.ceil(ALIKE * wanted)} of {wanted}: {'met' if met else 'missed'}")
    return 0 if met else 1


def _tie(difference: dict[str, Any]) -> str:
    return "a tie" if difference["tie"] else "no tie"


if __name__ == "__main__":
    sys.exit(main())
