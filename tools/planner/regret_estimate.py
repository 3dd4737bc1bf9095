"""Estimates how far the best config measured may lie behind the best of the space.

The surrogate's posterior is joint: what it does not know of one config it does not know of its neighbours either. Whole
functions are drawn from it, over the configs that were measured and those untried that may win. In each draw the regret
is what the incumbent loses against the best config that works. A part of it is the readings' noise: which of two
configs measured is faster, timing the finalists against one another decides, not the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.planner.cost.resources import Floats
from tools.planner.surrogate import Surrogate

DRAWS = 1000
CONFIDENCE = 0.95
RIVALS = 128
"""Untried configs that are drawn: those with the most expected improvement."""
READ = 32
"""Measured configs that are drawn: those with the best posterior means."""
STRETCH = 1.4
"""Least factor of the standard deviations: the surrogate's uncertainty takes its hyper-parameters as known. On the
landscapes of docs/PLANNER.md, 85 % of the stops held with 1, 93 % with 1.3, 94 % with 1.4."""
JITTER = 1e-6
"""Relative: of the largest variance, added to all of them, so that equal configs do not spoil the square root."""


@dataclass(frozen=True)
class Regret:
    """Relative, each with a probability of CONFIDENCE."""

    bound: float
    """The incumbent is at most this much slower than the best config."""
    untried: float
    """So is the best of the configs measured, whichever it is: all that further search could gain."""


def estimate_regret(
    model: Surrogate, points: Floats, mean: Floats, odds: Floats, measured: Sequence[int], untried: Sequence[int],
    stretch: float = 1.0,
) -> Regret:  # fmt: skip
    """Of the first config of `measured`, the incumbent. Arrays run over the space: encoded `points` (n, columns),
    predicted `mean` of log(ms) and probability of success `odds` (n,) of what is untried. Standard deviations are
    multiplied by `stretch`."""
    places = [*measured, *untried]
    covariance = model.covariance(points[places]) * stretch**2
    spread = max(float(covariance.diagonal().max()), 1e-12)
    root = np.linalg.cholesky(covariance + JITTER * spread * np.eye(len(places)))
    rng = np.random.default_rng(0)
    drawn = mean[places] + rng.standard_normal((DRAWS, len(places))) @ root.T
    drawn[:, len(measured) :][rng.random((DRAWS, len(untried))) >= odds[untried]] = np.inf
    best = drawn.min(1)
    return Regret(
        bound=float(np.quantile(np.expm1(drawn[:, 0] - best), CONFIDENCE)),
        untried=float(np.quantile(np.expm1(drawn[:, : len(measured)].min(1) - best), CONFIDENCE)),
    )
