"""Many scores as few: per landscape, overall, and one agent against another.

Intervals are 95 % percentile bootstraps. Runs on one landscape are not independent draws of "a landscape", so overall
intervals resample landscapes first and seeds within them (cluster bootstrap; Field and Welsh 2007). With one landscape
they hold the seeds' scatter alone, and say nothing of other landscapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np

from evals.contest.ledger import FAILED
from evals.scoring.regret import regret_interval
from evals.scoring.score import SHARES, Score
from tools.harness.measuring.statistics import RESAMPLES

LEAST_PAIRS = 5
"""Paired runs below which no agent is called better: the bootstrap of a few runs knows only those few. Runs of one
landscape that all differ by the same number are one run repeated, and count once."""
Interval = tuple[float, float]
Cluster = Sequence[float]
"""One figure of every seed on one landscape."""


@dataclass(frozen=True)
class Aggregate:
    """An agent on one landscape (``landscape`` given) or on all."""

    agent: str
    variant: str
    landscape: str | None
    runs: int
    landscapes: int
    P: float | None
    P_ci: Interval | None
    P50: float | None
    P50_ci: Interval | None
    oracle_P: float | None
    """Of an oracle that names set A's best config at once."""
    of_oracle: float | None
    """P as a share of the oracle's; ``None`` where the oracle itself is no better than random search."""
    of_oracle_ci: Interval | None
    evals_to_near: float | None
    """Until the regret is at most 1 %: median over runs, ``None`` where fewer than half got there."""
    evals_to: dict[int, float | None]
    """Median over runs, ``None`` where fewer than half got there."""
    seconds_to: dict[int, float | None]
    regret: float | None
    """Mean over the runs that found anything."""
    regret_ci: Interval | None
    """Over landscapes, seeds and set B's readings."""
    invalid_share: float
    duplicates: float
    seconds: float
    tokens: float
    dollars: float
    pass_rate: float
    """Share of runs within 5 %."""
    pass_all: float
    """pass^k: share of landscapes on which every run came within 5 %."""
    failed: int
    """Runs that ended by a failure of the agent (:data:`evals.contest.ledger.FAILED`). They are scored by what they had
    measured."""


def aggregate(scores: Sequence[Score], landscape: str | None = None) -> Aggregate:
    """Of one agent's scores; overall figures are means over landscapes, each landscape counting once."""
    places = dict.fromkeys(s.landscape for s in scores)
    grouped = [[s for s in scores if s.landscape == name] for name in places]
    p, p_ci = _mean(grouped, lambda s: s.P)
    p50, p50_ci = _mean(grouped, lambda s: s.P50)
    share, share_ci = _share_of_oracle(grouped)
    resampled = [[s.resampled_regret for s in group if s.resampled_regret is not None] for group in grouped]
    return Aggregate(
        agent=scores[0].agent,
        variant=scores[0].variant,
        landscape=landscape,
        runs=len(scores),
        landscapes=len(grouped),
        P=p,
        P_ci=p_ci,
        P50=p50,
        P50_ci=p50_ci,
        oracle_P=_mean(grouped, lambda s: s.oracle_P)[0],
        of_oracle=share,
        of_oracle_ci=share_ci,
        evals_to_near=_median([s.evals_to_near for s in scores]),
        evals_to={share: _median([s.evals_to[share] for s in scores]) for share in SHARES},
        seconds_to={share: _median([s.seconds_to[share] for s in scores]) for share in SHARES},
        regret=_mean(grouped, lambda s: s.regret)[0],
        regret_ci=regret_interval(found) if (found := [runs for runs in resampled if runs]) else None,
        invalid_share=_level(grouped, lambda s: s.invalid_share),
        duplicates=_level(grouped, lambda s: float(s.duplicates)),
        seconds=_level(grouped, lambda s: s.seconds),
        tokens=_level(grouped, lambda s: float(s.tokens)),
        dollars=_level(grouped, lambda s: s.dollars),
        pass_rate=_level(grouped, lambda s: float(s.passed)),
        pass_all=fmean(float(all(s.passed for s in group)) for group in grouped),
        failed=sum(s.end in FAILED for s in scores),
    )


@dataclass(frozen=True)
class Difference:
    """First agent less the second, over the runs (landscape, seed and allowed evaluations) that both made."""

    first: str
    second: str
    pairs: int
    distinct: int
    """Of the pairs, without repeated runs."""
    landscapes: int
    P: float
    P_ci: Interval
    better: bool | None
    """Whether the first is better: its interval excludes 0. ``None`` where that cannot be told, also by fewer than
    LEAST_PAIRS runs, or by an interval without width: runs that all differ by the same number are one run repeated."""

    @property
    def enough(self) -> bool:
        """Whether there are enough runs to say anything."""
        return self.distinct >= LEAST_PAIRS and self.P_ci[0] < self.P_ci[1]


def compare(first: Sequence[Score], second: Sequence[Score]) -> Difference | None:
    """``None`` where no run of both can be paired. Runs without a finite score are not paired, and a run that stands
    twice counts once. The order of the runs does not matter."""
    ours, theirs = _finite_scores(first), _finite_scores(second)
    clusters: dict[str, list[float]] = {}
    for run in sorted(ours.keys() & theirs.keys()):
        clusters.setdefault(run[0], []).append(ours[run] - theirs[run])
    if not clusters:
        return None
    groups = list(clusters.values())
    low, high = interval(groups)
    found = Difference(
        first=first[0].agent,
        second=second[0].agent,
        pairs=sum(map(len, groups)),
        distinct=sum(len(g) if len(set(g)) > 1 else 1 for g in groups),
        landscapes=len(groups),
        P=fmean(map(fmean, groups)),
        P_ci=(low, high),
        better=True if low > 0 else False if high < 0 else None,
    )
    return found if found.enough else replace(found, better=None)


def _finite_scores(scores: Sequence[Score]) -> dict[tuple[str, str, int, int], float]:
    """P by run: landscape, variant, seed and allowed evaluations."""
    found = {(s.landscape, s.variant, s.seed, s.max_evals): s.P for s in scores}
    return {run: P for run, P in found.items() if P is not None and math.isfinite(P)}


def interval(clusters: Sequence[Cluster]) -> Interval:
    """Of the mean over clusters of their means."""
    rng = np.random.default_rng(0)
    if len({len(c) for c in clusters}) == 1:
        table = np.asarray(clusters, float)
        places = rng.integers(len(table), size=(RESAMPLES, len(table)))
        seeds = rng.integers(table.shape[1], size=(RESAMPLES, *table.shape))
        means = table[places[:, :, None], seeds].mean((1, 2))
    else:
        means = np.array([_resampled(clusters, rng) for _ in range(RESAMPLES)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _resampled(clusters: Sequence[Cluster], rng: np.random.Generator) -> float:
    drawn = [clusters[i] for i in rng.integers(len(clusters), size=len(clusters))]
    return fmean(float(np.mean(rng.choice(c, len(c)))) for c in drawn)


def _mean(
    grouped: Sequence[Sequence[Score]], figure: Callable[[Score], float | None]
) -> tuple[float | None, Interval | None]:
    clusters = [[v for s in group if (v := figure(s)) is not None] for group in grouped]
    clusters = [c for c in clusters if c]
    return (fmean(map(fmean, clusters)), interval(clusters)) if clusters else (None, None)


def _share_of_oracle(grouped: Sequence[Sequence[Score]]) -> tuple[float | None, Interval | None]:
    """Mean P over the oracle's mean P, and its interval. Neither if the oracle is no better than random search; no
    interval if it is not on landscapes that resampling may draw."""
    scored = [group for group in grouped if group[0].oracle_P is not None and any(s.P is not None for s in group)]
    clusters = [np.array([s.P for s in group if s.P is not None]) for group in scored]
    oracles = np.array([group[0].oracle_P for group in scored], float)
    if not clusters or oracles.mean() <= 0:
        return None, None
    rng = np.random.default_rng(0)
    found, against = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for places in rng.integers(len(clusters), size=(len(clusters), RESAMPLES)):
        against += oracles[places] / len(clusters)
        for i, cluster in enumerate(clusters):
            here = np.flatnonzero(places == i)
            seeds = rng.integers(len(cluster), size=(len(here), len(cluster)))
            found[here] += cluster[seeds].mean(1) / len(clusters)
    whole = fmean(float(c.mean()) for c in clusters) / float(oracles.mean())
    if against.min() <= 0:
        return whole, None
    low, high = np.quantile(found / against, [0.025, 0.975])
    return whole, (float(low), float(high))


def _level(grouped: Sequence[Sequence[Score]], figure: Callable[[Score], float]) -> float:
    return fmean(fmean(map(figure, group)) for group in grouped)


def _median(values: Sequence[float | None]) -> float | None:
    """Runs that never got there count as infinitely late."""
    middle = median([math.inf if v is None else v for v in values])
    return None if math.isinf(middle) else float(middle)
