"""Picking a batch: greedy expected improvement, each pick taken for measured at its prediction (kriging believer)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.planner.cost.resources import Floats
from tools.planner.surrogate import Surrogate, expected_improvement, nearness


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
    """Up to `count` indices into the arrays, in the order of picking; `first` lead, whatever they promise.

    All arrays run over the shortlist: `points` and `raw` parameters (n, columns), predicted `mean` of log(ms) and
    `odds` of success (n,); `best` is the log(ms) to beat. Near twins of a pick lose their uncertainty and with it their
    turn. Source: Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization"."""
    covariance = model.covariance(points)
    shared_fate = nearness(raw, raw)
    hope = odds.copy()
    left = np.ones(len(points), bool)
    picks: list[int] = []
    while len(picks) < min(count, len(points)):
        if len(picks) < len(first):
            j = first[len(picks)]
        else:
            deviation = np.sqrt(np.maximum(0.0, covariance.diagonal()))
            value = expected_improvement(mean, deviation, best) * hope
            j = int(np.argmax(np.where(left, value, -np.inf)))
        picks.append(j)
        left[j] = False
        best = min(best, float(mean[j]))
        column = covariance[:, j].copy()
        covariance -= np.outer(column, column) / (column[j] + model.noise)
        # Whatever would make this pick fail would fail its neighbours too: they wait for its outcome.
        hope *= 1 - (1 - odds[j]) * shared_fate[:, j]
    return picks


def shortlist(ranking: Floats, size: int, first: Sequence[int], seed: int) -> list[int]:
    """`first`, then the `size` best by `ranking`; minus infinity is out, ties are broken by `seed`."""
    shuffled = np.random.default_rng(seed).permutation(len(ranking))
    ranked = shuffled[np.argsort(-ranking[shuffled], kind="stable")]
    rest = [int(i) for i in ranked[: size + len(first)] if np.isfinite(ranking[i]) and i not in first]
    return [*first, *rest[:size]]
