"""Picks a batch by greedy expected improvement. Each pick counts as measured at its prediction (kriging believer).
Before anything can be predicted, configs are drawn at random, away from the edges of the space and with each
parameter's values in balance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.planner.cost.resources import Flags, Floats, Indices
from tools.planner.surrogate import Surrogate, expected_improvement, nearness

DRAWN_FROM = 64
"""Random configs of which a balanced draw keeps one."""
CENTRAL = 0.5
"""How much an extreme value counts against a config that is drawn; a value not drawn before counts 1 for it."""


def pick_batch(
    model: Surrogate,
    points: Floats,
    raw: Floats,
    mean: Floats,
    odds: Floats,
    best: float,
    count: int,
    first: Sequence[int] = (),
) -> list[int]:
    """Up to `count` indices into the arrays, in the order of picking. The indices in `first` are picked first, whatever
    their expected improvement.

    All arrays run over the shortlist: `points` and `raw` parameters (n, columns), predicted `mean` of log(ms) and
    probability of success `odds` (n,). `best` is the log(ms) to beat. A pick lowers the uncertainty of configs near it,
    and so their expected improvement.
    Source: Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization"."""
    covariance = model.covariance(points)
    similarity = nearness(raw, raw)
    success = odds.copy()
    available = np.ones(len(points), bool)
    picks: list[int] = []
    while len(picks) < min(count, len(points)):
        if len(picks) < len(first):
            j = first[len(picks)]
        else:
            deviation = np.sqrt(np.maximum(0.0, covariance.diagonal()))
            value = expected_improvement(mean, deviation, best) * success
            j = int(np.argmax(np.where(available, value, -np.inf)))
        picks.append(j)
        available[j] = False
        best = min(best, float(mean[j]))
        column = covariance[:, j].copy()
        covariance -= np.outer(column, column) / (column[j] + model.noise)
        # If this pick fails, its neighbours probably fail for the same reason, so they are picked after its outcome.
        success *= 1 - (1 - odds[j]) * similarity[:, j]
    return picks


def shortlist(ranking: Floats, size: int, first: Sequence[int], seed: int) -> list[int]:
    """`first`, then the `size` best by `ranking`. Configs ranked minus infinity are left out; `seed` breaks ties."""
    shuffled = np.random.default_rng(seed).permutation(len(ranking))
    ranked = shuffled[np.argsort(-ranking[shuffled], kind="stable")]
    rest = [int(i) for i in ranked[: size + len(first)] if np.isfinite(ranking[i]) and i not in first]
    return [*first, *rest[:size]]


def draw_balanced(
    levels: Indices, extremity: Floats, tried: Sequence[int], free: Flags, count: int, first: Sequence[int], seed: int
) -> list[int]:
    """Up to `count` indices: `first`, then random `free` ones (n,). `levels` (n, parameters): each value's rank.
    `extremity` (n,): how far a config lies from the middle of the ordered parameters.

    Of a few random configs each draw keeps one whose values the configs `tried` and drawn so far have least, and which
    lies near the middle. The values of a parameter are then tried about equally often, as in a Latin hypercube (McKay
    et al. 1979), but in a space that may have gaps and whose edges are seldom good."""
    rng = np.random.default_rng([seed, len(tried)])
    picks, left = list(first), free.copy()
    left[picks] = False
    while len(picks) < count and left.any():
        drawn = rng.choice(np.flatnonzero(left), min(DRAWN_FROM, int(left.sum())), replace=False)
        before = levels[[*tried, *picks]]
        uses = (levels[drawn][:, None, :] == before[None, :, :]).sum(1)
        merit = (1 / (1 + uses)).mean(1) - CENTRAL * extremity[drawn]
        picks.append(int(drawn[np.argmax(merit)]))
        left[picks[-1]] = False
    return picks
