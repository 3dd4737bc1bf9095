"""What the harness delivers: ``python -m tests.bench.bench_harness throughput|repeatability|finalists [--json FILE]``.

throughput: the whole space of a problem compiled, verified and screened from a cold compile cache, configs a minute.
repeatability: a config and the eager baseline read in turn for some minutes; spread per regime, raw and as a ratio.
finalists (no GPU): screenings redrawn from the landscape; whether the true best is among those looked at twice.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.stats import spearmanr

from kernels.registry import get
from kernels.spec import KernelSpec
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.devices.live import BLOCK, SCREEN_SAMPLES, LiveDevice
from tools.harness.landscapes.named import find_landscape
from tools.harness.results import Measurement
from tools.session.session import CLOSE, CONTENDERS


@click.command()
@click.argument("what", type=click.Choice(["throughput", "repeatability", "finalists"]))
@click.option("--kernel", default="fused_matmul")
@click.option("--device", default="cuda:0")
@click.option("--limit", type=int, help="Only so many configs, drawn at random.")
@click.option("--minutes", default=5.0, help="Length of the repeatability run.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here as well.")
def main(what: str, kernel: str, device: str, limit: int | None, minutes: float, out: Path | None) -> None:
    spec = get(kernel)
    problem = spec.default_problem()
    if what == "finalists":
        show(finalists(spec, problem), out)
        return
    cache = Path(tempfile.mkdtemp(prefix="autokernel-cold-"))
    live = LiveDevice.open(device, spec, problem, cache=cache)
    try:
        figures = throughput(live, cache, limit) if what == "throughput" else repeatability(live, minutes)
    finally:
        live.close()
    show({"device": live.info.name, "torch": live.info.torch, "triton": live.info.triton, **figures}, out)


def show(figures: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(figures, indent=1)
    if out:
        out.write_text(text + "\n")
    print(text)


def finalists(spec: KernelSpec[Any, Any], problem: Any, screenings: int = 500) -> dict[str, Any]:
    """Screenings of SCREEN_SAMPLES readings drawn from set A; the true best is set B's."""
    landscape = find_landscape(None, spec.name, problem)
    entries = [e for e in landscape.entries.values() if e.status == "correct"]
    truth = [landscape.ms(e, "B") or float("inf") for e in entries]
    best = int(np.argmin(truth))
    draw = np.random.default_rng(0)
    ranks, found = [], 0
    for _ in range(screenings):
        drawn = (draw.choice(e.sets["A"].samples_ms, SCREEN_SAMPLES, replace=False) for e in entries)
        screened = np.array([np.median(samples) for samples in drawn])
        ranks.append(int((screened < screened[best]).sum()) + 1)
        found += ranks[-1] <= CONTENDERS and screened[best] <= CLOSE * screened.min()
    first = [landscape.ms(e, "A") or float("inf") for e in entries]
    return {
        "landscape": landscape.name,
        "spearman_of_sets": round(float(spearmanr(first, truth)[0]), 4),
        "screenings": screenings,
        "rank_of_true_best": {"median": float(np.median(ranks)), "worst": max(ranks)},
        "share_with_true_best_among_finalists": found / screenings,
    }


def throughput(live: LiveDevice, cache: Path, limit: int | None) -> dict[str, Any]:
    """Two screenings; the first is timed from the first compilation to the last verdict."""
    space = live.spec.space(live.problem, live.hardware)
    random.Random(0).shuffle(space)
    space = space[:limit]
    pool = LocalCompilePool(live.hardware, cache=cache)
    started = time.perf_counter()
    statuses: Counter[str] = Counter()
    first: dict[Any, float] = {}
    busy = 0.0
    for config, compiled in pool.compile_iter(live.spec, live.problem, space):
        if compiled.status != "correct":
            statuses[compiled.status] += 1
            continue
        [m] = live.measure([config])
        statuses[m.status] += 1
        busy += m.seconds
        if m.ms is not None and m.status == "correct":
            first[config] = m.ms
    seconds = time.perf_counter() - started
    pool.close()
    again = {c: m.ms for c in first for m in live.measure([c]) if m.ms is not None}
    both = [c for c in first if c in again]
    best = min(again, key=lambda c: again[c])
    return {
        "configs": len(space),
        "statuses": dict(statuses),
        "seconds": round(seconds, 1),
        "configs_per_minute": round(60 * len(space) / seconds),
        "worker_busy_share": round(busy / seconds, 3),
        "worker_ms_per_config": round(1e3 * busy / max(1, len(first)), 1),
        "compile_cache_hits": live.workers.cache_hits,
        "spearman_of_two_screenings": round(float(spearmanr([first[c] for c in both], [again[c] for c in both])[0]), 4),
        "best": best.model_dump(),
        "best_ms": again[best],
        "rank_of_second_best_in_first": sorted(first.values()).index(first[best]) + 1,
    }


READINGS = {"burst": 6, "sustained": 3}
"""Pairs of config and baseline behind one reading of a regime; each pair is a block in a proof."""


def repeatability(live: LiveDevice, minutes: float) -> dict[str, Any]:
    """The default config and the eager baseline in turn, burst and sustained, until `minutes` are over: at least six
    readings of each regime. `raw` is the spread of the config's own times, drift of the card included; `ratio` that of
    its time over the baseline's beside it, which is what the project claims."""
    config = live.spec.default_config(live.problem, live.hardware)
    eager = live.spec.baselines(live.problem)[0]
    found: dict[str, dict[str, list[float]]] = {r: {"raw": [], "ratio": []} for r in READINGS}
    began = time.monotonic()
    cards: list[dict[str, Any] | None] = []
    last: Measurement | None = None
    while time.monotonic() - began < minutes * 60 or len(cards) < 6:
        for regime, pairs in READINGS.items():
            ours, theirs = list[float](), list[float]()
            for i in range(2 * pairs):
                samples = BLOCK[regime]  # type: ignore[index]
                first = (i // 2 + i) % 2 == 0  # ours, theirs, theirs, ours, ...
                m = (
                    live.measure([config], regime, samples)[0]  # type: ignore[arg-type]
                    if first
                    else live.measure_baseline(eager, regime, samples)  # type: ignore[arg-type]
                )
                if not m.ms:
                    raise click.ClickException(f"a reading failed: {m.reason}")
                (ours if first else theirs).append(m.ms)
                last = m if first else last
            found[regime]["raw"].append(float(np.median(ours)))
            found[regime]["ratio"].append(float(np.median([t / o for o, t in zip(ours, theirs, strict=True)])))
        cards.append(last.telemetry.model_dump() if last and last.telemetry else None)
    return {
        "config": config.model_dump(),
        "baseline": eager.title,
        "minutes": round((time.monotonic() - began) / 60, 2),
        "readings": len(cards),
        "median": {r: {k: round(float(np.median(v)), 5) for k, v in d.items()} for r, d in found.items()},
        "spread_p95_p5_percent": {r: {k: spread(v) for k, v in d.items()} for r, d in found.items()},
        "readings_by_regime": {r: {k: [round(x, 5) for x in v] for k, v in d.items()} for r, d in found.items()},
        "card": cards,
    }


def spread(values: list[float]) -> float:
    """95th less 5th percentile over the median, per cent."""
    return round(100 * float(np.subtract(*np.percentile(values, [95, 5])) / np.median(values)), 3)


if __name__ == "__main__":
    main()
