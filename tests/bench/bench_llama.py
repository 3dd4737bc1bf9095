"""A small Llama's training step with Liger's layers, unchanged: ``python -m tests.bench.bench_llama OUT [--pairs N]``.

On a GPU with ``transformers`` and ``liger-kernel``. The program (``llama_step.py``) is captured and improved, and then
runs without and with the table under PyTorch's profiler, each run a process of its own, all with one warm compile
cache. The runs use the GPU one after the other (``--turns`` of the program). The imports, which take most of a run's
time, are made beside the runs before it. Nothing else may use the GPU meanwhile.

``OUT/llama.json`` is written after each step. It holds what ``agent compare`` finds, and beside it what the table
promises: for each row, launches of a run x what one launch saves. That was read outside the program: in one process
with a cold and with a warm L2 (``side_by_side`` of the evidence), and without those by the proof, with a cold L2. The
interval of a promise holds all of these, and what two processes read of the same code. Two savings are compared with
the sum of the promises: that of the kernels with rows, and that of all kernels. Beside each row stands what a launch
takes in the proof, between two events, and in the program, by the profiler, a mean over all launches of that name.

``--seconds`` bounds everything. Pairs of runs are made until ``--pairs`` are there, or no time is left for another.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.errors import AgentError
from agent.loop.progress import LineWatch
from agent.programs.capturing import capture_program
from agent.programs.comparing.comparison import Comparison, compare_pairs, render_comparison
from agent.programs.comparing.paired import Interval, saving_interval
from agent.programs.comparing.program_runs import (
    Plan,
    ProgramFailed,
    ProgramRun,
    metric_of,
    order_of,
    run_once,
)
from agent.programs.improvement.improve_request import Improved, Request
from agent.programs.improvement.improving import improve
from agent.programs.improvement.tuned_rows import TWO_PROCESSES
from kernels.tuned.tuned_table import TunedTable

PROGRAM = [sys.executable, str(Path(__file__).with_name("llama_step.py"))]
METRIC = r"step ([\d.]+) ms"
SECONDS, IMPROVE_SECONDS = 210.0, 80.0
AHEAD = 5
"""Pairs whose processes run at once."""
WARM = 3
"""Steps of a run before its clock starts."""
Json = dict[str, Any]
Pair = tuple[ProgramRun, ProgramRun]


def saved_in_a_launch(evidence: Json, owner: Json) -> tuple[list[float], str]:
    """(value and interval in ms, how it was read)."""
    beside = {n: times for n, times in evidence.get("side_by_side", {}).items() if n != "missing"}
    readings = [times["saved_ms"] for times in beside.values()]
    if not readings:
        readings = [[evidence["best"]["ms"] * (ratio - 1) for ratio in (owner["speedup"], *owner["ci"])]]
    value = fmean(r[0] for r in readings)
    apart = TWO_PROCESSES * owner["ms"]
    low, high = min(r[1] for r in readings), max(r[2] for r in readings)
    how = f"in one process, L2 {' and '.join(beside)}" if beside else "by the proof, L2 cold"
    return [value, value - math.hypot(value - low, apart), value + math.hypot(high - value, apart)], how


def launches_of(kernel: str, found: Comparison) -> float:
    """Launches of all that have this name, in a run."""
    rows = [*found.rows_used["used"], *found.rows_used["missed"]]
    return sum(float(r["launches"]) for r in rows if r["kernel"] == kernel) / found.pairs


def promises(table: TunedTable, found: Comparison) -> list[Json]:
    """What each row saves in a run with the table, in ms with its interval, by readings outside the program."""
    rows = []
    in_program = {change.kernel: change.without for change in found.kernels}
    for used in found.rows_used["used"]:
        evidence = table.evidence.get(used["row"], {})
        owner = next((b for b in evidence.get("baselines", ()) if b["name"] == "owner" and b["ci"]), None)
        if used["status"] != "proven" or owner is None:
            continue
        launches = used["launches"] / found.pairs
        saved, how = saved_in_a_launch(evidence, owner)
        row = {"kernel": used["kernel"], "row": used["row"], "launches": launches, "read": how}
        row |= {"saved_ms": [launches * ms for ms in saved], "a launch in the proof, ms": owner["ms"]}
        if used["kernel"] in in_program:
            all_of_it = in_program[used["kernel"]]
            row["a launch in the program, ms"] = all_of_it / launches_of(used["kernel"], found)
        rows.append(row)
    return rows


def total_of(rows: Sequence[Json]) -> Interval:
    """The sum of the promises. Each launch was proven by itself, so half widths add in quadrature."""
    value = sum(r["saved_ms"][0] for r in rows)
    below, above = (math.hypot(*(r["saved_ms"][0] - r["saved_ms"][i] for r in rows)) for i in (1, 2))
    return Interval(value, value - below, value + above)


def savings(pairs: Sequence[Pair], kernels: set[str] | None = None) -> Interval:
    """GPU time that a run saves with the table, ms: in all kernels, or in those of these names."""
    sums = [
        [sum(ms for name, ms in run.kernels.items() if kernels is None or name in kernels) for run in pair]
        for pair in pairs
    ]
    return saving_interval([a for a, _ in sums], [b for _, b in sums])


def overlap(a: Interval, b: Interval) -> bool:
    return a.low <= b.high and b.low <= a.high


def compared(made: Improved, pairs: Sequence[Pair], plan: Plan, steps: int) -> tuple[Json, Comparison]:
    """What so many pairs show. `steps`: of a run, those before its own clock among them, because the profiler sees
    all."""
    found = compare_pairs(pairs, plan, False, 0.0)
    rows = promises(made.table, found)
    total, everything = total_of(rows), savings(pairs)
    own = savings(pairs, {r["kernel"] for r in rows})
    return {
        "pairs": len(pairs),
        "steps of a run": steps,
        "promised": rows,
        "promised in a run, ms": asdict(total),
        "saved by the kernels with rows, ms": asdict(own),
        "saved by all kernels, ms": asdict(everything),
        "promised in a step, ms": total.value / steps,
        "saved in a step by the kernels with rows, ms": own.value / steps,
        "the promise lies in the interval of": {
            "the kernels with rows": own.low <= total.value <= own.high,
            "all kernels": everything.low <= total.value <= everything.high,
        },
        "the intervals overlap": {
            "the kernels with rows": overlap(total, own),
            "all kernels": overlap(total, everything),
        },
        "seconds of a run": [run.seconds for pair in pairs for run in pair],
        "comparison": found.as_json(),
    }, found


def each_pair(plan: Plan, folder: Path, end: float) -> Iterator[Pair | str]:
    """(without, with) of each pair in order, or why one of its runs failed; AHEAD pairs run at once. A pair that would
    end after `end`, by ``time.monotonic()``, is not begun. Raises AgentError if a warm-up fails."""
    pattern, waiting = metric_of(plan), deque(enumerate(order_of(plan.pairs)))
    running: deque[dict[bool, Future[ProgramRun]]] = deque()
    with ThreadPoolExecutor(2 * AHEAD) as pool:
        for warm_up in [pool.submit(run_once, plan, t, None, folder / f"warm-up-{t}") for t in (False, True)]:
            warm_up.result()
        longest = 0.0
        while waiting or running:
            while waiting and len(running) < AHEAD:
                if time.monotonic() + longest > end:
                    waiting.clear()
                    break
                i, order = waiting.popleft()
                running.append({t: pool.submit(run_once, plan, t, pattern, folder / f"{i}-{t}") for t in order})
            if running:
                runs = running.popleft()
                try:
                    pair = runs[False].result(), runs[True].result()
                except ProgramFailed as e:
                    yield str(e)
                    continue
                longest = max(longest, *(run.seconds for run in pair))
                yield pair


def run_all(options: argparse.Namespace, report: Json, write: Callable[[], None]) -> None:
    """Capture, improve, pairs. `write` writes `report`, after each of them."""
    folder, began = options.out, time.monotonic()
    path, tuned, memory = folder / "llama.capture", folder / "tuned-llama.json", folder / "memory-llama.db"
    for old in (path, memory):
        old.unlink(missing_ok=True)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    if code := capture_program([*PROGRAM, "--warm", "1", "--steps", "1"], path, "summary"):
        raise AgentError(f"the program ended with code {code}")
    report["capture, s"] = time.monotonic() - began
    write()
    say("captured")
    request = Request(path, tuned, max_seconds=options.improve_seconds, share=0.99, memory=memory, cold=True)
    made = improve(request, LineWatch(say))
    report |= {
        "gpu": made.environment.gpu,
        "triton": made.environment.triton,
        "improve, s": made.seconds,
        "rows": [
            {"kernel": job.launch.name, "status": judged.status, "why": judged.why, "launches": job.launch.count}
            for job, judged, _ in made.rows
        ],
        "not tuned": [{"kernel": u.kernel, "reason": u.reason} for u in made.untuned],
    }
    write()
    say("improved")
    parts = (folder / "parts").resolve()
    parts.write_text("")
    turns = ("--turns", str(parts.with_name("turns")), "--parts", str(parts))
    program = (*PROGRAM, "--warm", str(WARM), "--steps", str(options.steps), *turns)
    plan = Plan(program, tuned, options.pairs, METRIC, kernels=True)
    pairs: list[Pair] = []
    found = None
    with tempfile.TemporaryDirectory() as kept:
        for pair in each_pair(plan, Path(kept), began + options.seconds):
            if isinstance(pair, str):
                report.setdefault("failed pairs", []).append(pair)
                say(f"a pair failed: {pair}")
                write()
                continue
            pairs.append(pair)
            without, with_ = (f"{run.figure:.4f} ms, {run.seconds:.1f} s" for run in pair)
            say(f"pair {len(pairs)} of {options.pairs}: without {without}, with {with_}")
            if len(pairs) > 1:
                part, found = compared(made, pairs, plan, WARM + options.steps)
                report |= part
            report |= {"seconds": time.monotonic() - began, "parts of each run": parts.read_text().splitlines()}
            write()
    if found is None:
        return
    print(render_comparison(found))
    for r in report["promised"]:
        value, low, high = r["saved_ms"]
        about = f"{r['kernel']} {r['launches']:g} launches a run, {value:.4f} [{low:.4f}, {high:.4f}] ms ({r['read']})"
        proof, program = r["a launch in the proof, ms"], r.get("a launch in the program, ms", nan)
        print(f"promised: {about}; a launch takes {proof:.4f} ms in the proof, {program:.4f} ms in the program")
    for name in ("promised in a run, ms", "saved by the kernels with rows, ms", "saved by all kernels, ms"):
        i = report[name]
        print(f"{name}: {i['value']:.4f} [{i['low']:.4f}, {i['high']:.4f}]")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20, help="of a run, beside three to warm up (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole bench (%(default)g)")
    parser.add_argument("--improve-seconds", type=float, default=IMPROVE_SECONDS, help="(%(default)g)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    report: Json = {}

    def write() -> None:
        (options.out / "llama.json").write_text(json.dumps(report, indent=1))

    try:
        run_all(options, report, write)
    except AgentError as e:
        report["failed"] = str(e)
        write()
        print(f"failed: {e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
