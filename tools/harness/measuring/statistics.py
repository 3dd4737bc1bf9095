"""Medians with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
Z = 1.96
"""Half the width of a normal's 95 % interval, in standard deviations."""


def median_ci(samples: Sequence[float], seed: int = 0, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Median of `samples` and its percentile-bootstrap interval (Efron 1979), in the samples' unit.

    One sample has no interval: it is returned as (x, x)."""
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no samples")
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(values, (RESAMPLES, values.size)), axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(np.median(values)), (float(low), float(high))
