"""What a search of one problem is worth to another: ``python -m tests.bench.bench_transfer [FILE…] [--seeds 5]``.

Every ordered pair of recorded landscapes of one kernel (without FILE: of all that come with the project) is one
transfer: the source is searched until the planner stops, then the target with what that left. ``known``: through the
real memory, warm start and tools, with the kernel's cost model (:mod:`tests.bench.bench_warm_start`). ``hidden``: names
are hidden as in a stranger's file, and the planner has the source's times alone, as of a kernel without a cost model.

A row has the regret by the set of readings that no search sees, after 1, 4, 8 and 16 evaluations, cold and warm, means
over the seeds, and what differs between the two problems. ``misled`` counts the seeds in which the warm search held a
config more than 1 % slower than the cold one's after 16 evaluations. Nothing is compiled or run.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from memory.queries import distance
from memory.store import Memory
from tests.bench import bench_warm_start
from tests.bench.bench_planner import plan_search
from tests.bench.planner_rivals import Ledger
from tests.bench.planner_spaces import PLAIN, Space, load
from tools.harness.landscapes.files import SUFFIXES
from tools.harness.landscapes.named import folder
from tools.planner.surrogate import one_thread
from tools.planner.transfer import NearProblem

AFTER = (1, 4, 8, 16)
SOURCE_EVALS = 40
"""Evaluations of the source when names are hidden; with a cost model the planner's stop ends it."""
MISLED = 0.01
WAYS = ("known", "hidden")


def pairs_of(files: Sequence[Path]) -> list[tuple[Path, Path]]:
    """(source, target) of one kernel."""
    kernels = {path: _space(path, PLAIN).landscape.kernel for path in files}
    return [(a, b) for a, b in permutations(files, 2) if kernels[a] == kernels[b]]


def differs(source: Path, target: Path) -> str:
    """``M 4096 to 8192, dtype fp16 to bf16``, ``triton 3.6.0 to 3.9.0``."""
    landscapes = [_space(p, PLAIN).landscape for p in (source, target)]
    there, here = ({**(x.problem or {}), "triton": x.device.triton} for x in landscapes)
    return ", ".join(f"{n} {there.get(n)} to {v}" for n, v in here.items() if there.get(n) != v)


def transfer(job: tuple[str, Path, Path, int]) -> dict[str, Any]:
    """One transfer with one seed: regrets of the target after ``AFTER`` evaluations, cold and warm."""
    way, source, target, seed = job
    cold, warm = (_known if way == "known" else _hidden)(source, target, seed)
    optimum = _space(target, PLAIN).optimum
    found = {
        name: [round(curve[min(k, len(curve)) - 1] / optimum - 1, 5) for k in AFTER]
        for name, curve in (("cold", cold), ("warm", warm))
    }
    return {"way": way, "source": source.name, "target": target.name, "seed": seed} | found


def _known(source: Path, target: Path, seed: int) -> tuple[list[float], list[float]]:
    there, here = (bench_warm_start.recorded(path, seed) for path in (source, target))
    with tempfile.TemporaryDirectory(prefix="autokernel-transfer-") as where, one_thread():
        cold = bench_warm_start.search(here, Memory.open(Path(where) / "cold.db"), "cold", True)
        memory = Memory.open(Path(where) / "warm.db")
        bench_warm_start.search(there, memory, "before", True)
        warm = bench_warm_start.search(here, memory, "warm", True)
    return cold.curve or [cold.best], warm.curve or [warm.best]


def _hidden(source: Path, target: Path, seed: int) -> tuple[list[float], list[float]]:
    there, here = (_space(path, "raw") for path in (source, target))
    before = Ledger(there, seed, SOURCE_EVALS)
    plan_search(there, before, seed)
    times = {c: m.ms for c, m in before.measured.items() if m.status == "correct" and m.ms is not None}
    problems = [_space(path, PLAIN).task.problem.model_dump(mode="json") for path in (target, source)]
    near = NearProblem(there.task.problem, there.task.hardware, times, distance(*problems))
    curves = []
    for known in ((), (near,)):
        ledger = Ledger(here, seed, AFTER[-1])
        plan_search(here, ledger, seed, known)
        curves.append(ledger.curve)
    return curves[0], curves[1]


@lru_cache(maxsize=32)
def _space(path: Path, view: str) -> Space:
    return load(path, view)


def table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each way and pair: means over the seeds."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: (r["way"], r["target"], r["source"], r["seed"])):
        groups.setdefault((row["way"], row["target"], row["source"]), []).append(row)
    return [
        {
            "way": way,
            "target": target,
            "source": source,
            "seeds": len(own),
            "cold": _means([r["cold"] for r in own]),
            "warm": _means([r["warm"] for r in own]),
            "misled": sum(r["warm"][-1] > r["cold"][-1] + MISLED for r in own),
        }
        for (way, target, source), own in groups.items()
    ]


def _means(regrets: Sequence[Sequence[float]]) -> list[float]:
    return [round(fmean(column), 4) for column in zip(*regrets, strict=True)]


def render(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: regrets in per cent, cold to warm."""
    head = "| names | target | source | " + " | ".join(f"after {k}" for k in AFTER) + " | misled |\n"
    head += "|---|---|---|" + "--:|" * (len(AFTER) + 1)
    lines = [head]
    for row in rows:
        cells = [f"{100 * c:.1f} to {100 * w:.1f}" for c, w in zip(row["cold"], row["warm"], strict=True)]
        names = [row[n].partition(".json")[0] for n in ("target", "source")]
        lines.append(f"| {row['way']} | {' | '.join([*names, *cells])} | {row['misled']} of {row['seeds']} |")
    return "\n".join(lines)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--way", "ways", multiple=True, type=click.Choice(WAYS), help="Only this one.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here as well.")
def main(files: tuple[Path, ...], seeds: int, ways: tuple[str, ...], workers: int, out: Path | None) -> None:
    paths = list(files) or sorted(p for p in folder().glob("*") if p.name.endswith(SUFFIXES))
    pairs = pairs_of(paths)
    if not pairs:
        raise click.UsageError("a transfer needs two landscapes of one kernel")
    jobs = [(way, a, b, seed) for seed in range(seeds) for way in ways or WAYS for a, b in pairs]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        rows = list(pool.imap_unordered(transfer, jobs))
    found = table(rows)
    for row in found:
        row["differs"] = next(differs(a, b) for a, b in pairs if (a.name, b.name) == (row["source"], row["target"]))
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")
    print(render(found))


if __name__ == "__main__":
    main()
