"""What more GPUs bring: ``python -m tests.bench.bench_fleet gpus|simulate [--json FILE]``.

gpus: the 4096^3 space screened through Ray by one GPU and by all of this host, first while it is compiled (each GPU
brings its share of the cores; the compilers' start is included), then, by two GPUs as well, by new workers with the
code at hand, so that each config is loaded once by whoever measures it, however many there are; configs a minute, and
how far the cards are apart.
simulate: see :mod:`tests.bench.simulated_fleet`.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.stats import spearmanr

from kernels.registry import get
from kernels.spec import Config
from tools.fleet.address import FleetAddress
from tools.fleet.device import FleetDevice, released, spread
from tools.fleet.fleet import Job
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.measuring.telemetry import gpus_present


@click.group()
def main() -> None:
    """Benchmarks of many GPUs."""


@main.command()
@click.option("--kernel", default="fused_matmul")
@click.option("--limit", type=int, help="Only so many configs, drawn at random.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def gpus(kernel: str, limit: int | None, out: Path | None) -> None:
    """One GPU against all of this host."""
    there, cores = gpus_present(), len(os.sched_getaffinity(0))
    share = max(1, cores // there - 1)
    figures: dict[str, Any] = {"gpus": there, "cores": cores, "compilers_per_gpu": share, "runs": []}
    counts = sorted({there, min(2, there), 1}, reverse=True)
    times: dict[int, dict[Config, float]] = {}
    for count in counts:
        if count in (there, 1):
            cache = Path(tempfile.mkdtemp(prefix="autokernel-cold-"))
            with fleet_of(kernel, cache, count, there, figures) as fleet:
                run, found = compiling(fleet, cache, share * count, limit)
                keep(figures, {"gpus": count, "what": "compile and screen", **run})
        with fleet_of(kernel, cache, count, there, figures) as fleet:
            run, times[count] = screening(fleet, list(found))
            keep(figures, {"gpus": count, "what": "screen", **run})
    figures["compiling_speedup"] = round(
        rate(figures, there, "compile and screen") / rate(figures, 1, "compile and screen"), 3
    )
    figures["speedup"] = [
        {"gpus": count, "screen": round(rate(figures, count, "screen") / rate(figures, 1, "screen"), 3)}
        for count in counts[:-1]
    ]
    pairs = [[times[n][c] for c in times[1] if c in times[there]] for n in (there, 1)]
    ratios = np.array(pairs[0]) / np.array(pairs[1])
    apart = ratios / np.median(ratios) - 1
    figures["spearman_of_all_gpus_and_one"] = round(float(spearmanr(*pairs)[0]), 4)
    figures["apart_p50_p95"] = [round(float(q), 4) for q in np.quantile(np.abs(apart), [0.5, 0.95])]
    show(figures, out)


@contextmanager
def fleet_of(kernel: str, cache: Path, count: int, there: int, figures: dict[str, Any]) -> Iterator[FleetDevice]:
    """New workers on `count` of `there` GPUs, warm; what there is to know of the host goes into `figures`."""
    began = time.perf_counter()
    spec = get(kernel)
    fleet = FleetDevice.open(FleetAddress(None, None), spec, spec.default_problem(), cache=cache, limit=count)
    try:
        cards = warmed(fleet)
        keep(figures, {"gpus": count, "what": "open", "seconds": round(time.perf_counter() - began, 1)})
        if count == there:
            figures |= {
                "device": fleet.info.name,
                "torch": fleet.info.torch,
                "triton": fleet.info.triton,
                "reference_ms": cards,
                "slowest_card_over_median": round(spread(cards), 4),
            }
        yield fleet
    finally:
        fleet.close()
        released(fleet.ray, there)


@main.command()
@click.option("--workers", default="1,2,4,8,16,32,64", metavar="N,N,...", help="Simulated GPUs.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def simulate(workers: str, out: Path | None) -> None:
    """The recorded space on many simulated GPUs that take their recorded times."""
    from tests.bench.simulated_fleet import report

    show(report(tuple(int(n) for n in workers.split(",")), lambda line: click.echo(line, err=True)), out)


def keep(figures: dict[str, Any], run: dict[str, Any]) -> None:
    figures["runs"].append(run)
    click.echo(json.dumps(run), err=True)


def rate(figures: dict[str, Any], count: int, what: str) -> float:
    """Configs a minute of one run."""
    return next(float(r["configs_per_minute"]) for r in figures["runs"] if (r["gpus"], r["what"]) == (count, what))


def warmed(fleet: FleetDevice) -> dict[str, float]:
    """Contexts made, tensors allocated, reference read; ms of the reference by card."""
    config = fleet.spec.default_config(fleet.problem, fleet.hardware).model_dump(mode="json")
    fleet.fleet.on_each(Job("measure", (config, "burst", None, None), 240.0))
    return fleet.calibrate("burst")


def compiling(fleet: FleetDevice, cache: Path, compilers: int, limit: int | None) -> tuple[dict[str, Any], set[Config]]:
    """The space compiled and screened, each config as soon as it is compiled; figures, and what can be launched."""
    space = fleet.spec.space(fleet.problem, fleet.hardware)
    random.Random(0).shuffle(space)
    space = space[:limit]
    refused: Counter[str] = Counter()
    pool = LocalCompilePool(fleet.hardware, compilers, cache)

    def ready() -> Iterator[Config]:
        for config, compiled in pool.compile_iter(fleet.spec, fleet.problem, space):
            if compiled.status == "correct":
                yield config
            else:
                refused[compiled.status] += 1

    try:
        figures, times = timed(fleet, ready())
    finally:
        pool.close()
    figures["statuses"] = dict(refused + Counter(figures["statuses"]))
    figures["configs_per_minute"] = round(60 * len(space) / figures["seconds"])
    return {"configs": len(space), "compilers": compilers, **figures}, set(times)


def screening(fleet: FleetDevice, configs: list[Config]) -> tuple[dict[str, Any], dict[Config, float]]:
    """Configs whose code is at hand; figures, and ms by config."""
    random.Random(1).shuffle(configs)
    figures, times = timed(fleet, configs)
    return {"configs": len(configs), **figures}, times


def timed(fleet: FleetDevice, configs: Iterable[Config]) -> tuple[dict[str, Any], dict[Config, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = dict(fleet.measure_iter(configs))
    seconds, spent = time.perf_counter() - wall, time.process_time() - cpu
    by_card = Counter((m.how or "").removeprefix("read on ").split(" and ")[0] for m in found.values() if m.how)
    figures = {
        "statuses": dict(Counter(m.status for m in found.values())),
        "seconds": round(seconds, 2),
        "configs_per_minute": round(60 * len(found) / seconds),
        "busy_share": round(sum(m.seconds for m in found.values()) / seconds / len(fleet.fleet.workers), 3),
        "driver_cpu_ms_per_config": round(1e3 * spent / max(1, len(found)), 2),
        "by_card": dict(by_card),
    }
    return figures, {c: m.ms for c, m in found.items() if m.status == "correct" and m.ms is not None}


def show(figures: dict[str, Any], out: Path | None) -> None:
    """Into the file, and for people."""
    text = json.dumps(figures, indent=1)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    click.echo(text)


if __name__ == "__main__":
    main()
