"""What rounds of interleaved readings say: ratios round by round, so that drift slower than a round divides out."""

from __future__ import annotations

import math
from typing import Any

from kernels.spec import Baseline
from memory.terms import Regime
from tools.harness.measuring.statistics import Z, median_ci
from tools.harness.results import Comparison, Figure, Measurement

SITTING = 0.0012
"""Relative standard deviation of a ratio from sitting to sitting, which the rounds of one sitting do not show: that of
four main jobs from fresh caches on one H200 (docs/BENCHMARKS.md)."""
NARROW = 0.004
"""A proof stops early once every interval is narrower than this (relative), or than PART of the gain or loss."""
PART = 0.02
"""Nobody needs to know 2.35x to 0.01."""


def ratios(ours: list[Measurement], theirs: list[Measurement], figure: Figure = "ms") -> list[float]:
    """Their time (or joules) over ours in each round that both finished: above 1 where ours is better."""
    pairs = ((getattr(o, figure), getattr(t, figure)) for o, t in zip(ours, theirs, strict=False))
    return [t / o for o, t in pairs if o and t]


def worse(ours: list[Measurement], leaders: list[Measurement], figure: Figure = "ms") -> bool:
    """Whether the whole 95 % interval says that the leader is better."""
    _, (_, high) = median_ci(ratios(ours, leaders, figure))
    return high < 1


def narrow(ours: list[Measurement], theirs: dict[str, list[Measurement]], figure: Figure = "ms") -> bool:
    """Whether every ratio is known to within NARROW, or to within PART of what it is away from 1."""
    intervals = [median_ci(ratios(ours, t, figure)) for t in theirs.values()]
    return all((high - low) / middle < max(NARROW, PART * abs(middle - 1)) for middle, (low, high) in intervals)


def with_sittings(middle: float, ci: tuple[float, float]) -> tuple[float, float]:
    """The interval of a sitting's ratio, widened by the scatter of sittings: half widths of logarithms add in
    quadrature."""
    if min(middle, *ci) <= 0:
        return ci
    low, high = (math.hypot(math.log(end / middle), Z * SITTING) for end in ci)
    return middle * math.exp(-low), middle * math.exp(high)


def merged(rounds: list[Measurement]) -> Measurement:
    """One measurement of all rounds' samples, or the round that failed."""
    failed = next((m for m in rounds if m.status != "correct"), None)
    if failed is not None:
        return failed
    samples = [s for m in rounds for s in m.samples_ms]
    ms, ci = median_ci(samples)
    errors = [m.error for m in rounds if m.error is not None]
    update = {"samples_ms": samples, "ms": ms, "ci_ms": ci, "seconds": sum(m.seconds for m in rounds)}
    joules = joules_of(rounds)
    update["joules"] = joules[0] if joules else None
    return rounds[-1].model_copy(update=update | {"error": max(errors, default=None)})


def joules_of(rounds: list[Measurement]) -> tuple[float, tuple[float, float]] | None:
    """Median and interval of the rounds' joules per launch; ``None`` where there are none."""
    found = [m.joules for m in rounds if m.joules is not None]
    return median_ci(found) if found else None


def comparison(
    b: Baseline[Any], missing: str | None, regime: Regime, ours: list[Measurement], theirs: list[Measurement]
) -> Comparison:
    """The config's speed-up over one baseline."""
    about = {"name": b.name, "title": b.title, "equivalent": b.equivalent, "regime": regime}
    if missing is not None:
        return Comparison(**about, missing=missing)
    speedup, ci = median_ci(ratios(ours, theirs))
    ci = with_sittings(speedup, ci)
    found = Comparison(**about, ms=merged(theirs).ms, speedup=speedup, ci=ci, rounds=len(theirs))
    if spent := ratios(ours, theirs, "joules"):
        found.joules = merged(theirs).joules
        found.saving, ci = median_ci(spent)
        found.saving_ci = with_sittings(found.saving, ci)
    return found
