"""Intervals from pairs of runs: one with, one without, close in time, so that what changes slowly falls on both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

Word = Literal["faster", "slower", "no difference"]

STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""0.975 quantile of Student's t by degrees of freedom, from 1 to 30 (Student 1908). More are taken as 30."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and Student's interval of it. Raises ValueError for fewer than two values."""
    if len(values) < 2:
        raise ValueError("an interval needs two pairs")
    mean = fmean(values)
    half = STUDENT[min(len(values) - 1, len(STUDENT)) - 1] * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def speedup_interval(without: Sequence[float], with_: Sequence[float], higher_is_better: bool = False) -> Interval:
    """Geometric mean of the pairs' ratios, above 1 if the table helps, with its interval. All figures are above 0."""
    ratios = [b / a if higher_is_better else a / b for a, b in zip(without, with_, strict=True)]
    logs = mean_interval([math.log(r) for r in ratios])
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))


def saving_interval(without: Sequence[float], with_: Sequence[float]) -> Interval:
    """Mean of the pairs' differences, above 0 if the table helps, with its interval."""
    return mean_interval([a - b for a, b in zip(without, with_, strict=True)])


def word_of(interval: Interval, equal: float = 1.0) -> Word:
    """What the interval shows: only one that leaves out `equal` shows a difference."""
    return "faster" if interval.low > equal else "slower" if interval.high < equal else "no difference"
