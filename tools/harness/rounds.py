"""What rounds of interleaved readings say: ratios round by round, so that drift slower than a round divides out."""

from __future__ import annotations

from typing import Any

from kernels.spec import Baseline
from tools.harness.results import Comparison, Measurement, Regime
from tools.harness.statistics import median_ci

NARROW = 0.004
"""A proof stops early once every interval is narrower than this (relative)."""


def ratios(ours: list[Measurement], theirs: list[Measurement]) -> list[float]:
    """Their time over ours in each round that both finished: above 1 where ours is faster."""
    return [t.ms / o.ms for o, t in zip(ours, theirs, strict=False) if o.ms and t.ms]


def slower(ours: list[Measurement], leaders: list[Measurement]) -> bool:
    """Whether the whole 95 % interval says that the leader is faster."""
    _, (_, high) = median_ci(ratios(ours, leaders))
    return high < 1


def narrow(ours: list[Measurement], theirs: dict[str, list[Measurement]]) -> bool:
    """Whether every ratio is known to within NARROW."""
    intervals = [median_ci(ratios(ours, t)) for t in theirs.values()]
    return all((high - low) / middle < NARROW for middle, (low, high) in intervals)


def merged(rounds: list[Measurement]) -> Measurement:
    """One measurement of all rounds' samples, or the round that failed."""
    failed = next((m for m in rounds if m.status != "correct"), None)
    if failed is not None:
        return failed
    samples = [s for m in rounds for s in m.samples_ms]
    ms, ci = median_ci(samples)
    errors = [m.error for m in rounds if m.error is not None]
    update = {"samples_ms": samples, "ms": ms, "ci_ms": ci, "seconds": sum(m.seconds for m in rounds)}
    return rounds[-1].model_copy(update=update | {"error": max(errors, default=None)})


def comparison(
    b: Baseline[Any], missing: str | None, regime: Regime, ours: list[Measurement], theirs: list[Measurement]
) -> Comparison:
    """The config's speed-up over one baseline."""
    about = {"name": b.name, "title": b.title, "equivalent": b.equivalent, "regime": regime}
    if missing is not None:
        return Comparison(**about, missing=missing)
    speedup, ci = median_ci(ratios(ours, theirs))
    return Comparison(**about, ms=merged(theirs).ms, speedup=speedup, ci=ci, rounds=len(theirs))
