"""Learns from measurements: a Gaussian process on the cost model's error, and the probability that a config works.

The process (:mod:`tools.planner.process`) gives joint covariances, which diverse batches need, and is exact for the
tens to hundreds of points of a tuning run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tools.planner.cost.resources import Flags, Floats
from tools.planner.process import Covariance, Process, condition, tune

PRIOR_SPREAD = 0.15
"""Standard deviation of log(ms) around an uncalibrated cost model: about 15 %. Of 0.1, 0.15 and 0.25 it did best over
the landscapes (docs/PLANNER.md)."""
PRIOR_SPREAD_UNKNOWN = 0.7
"""The same if there is no cost model: a factor of two either way."""
PRIOR_SPREAD_TAUGHT = 0.05
"""The same around a prediction that near problems have corrected."""
SQUEEZE = 0.2
"""If there is no cost model, differences of log(ms) from the best are compressed: those well above this value grow only
with their logarithm. Otherwise the slowest configs would set the scale, and the fast ones would look alike. 10 % slower
stays 8 %, twice as slow becomes 30 %."""
SLOPE_SPREAD = 0.3
"""Prior standard deviation, around 1, of the slope of measured log(ms) over the cost model's."""
GUESS_SPREAD = 1.0
"""The same without a cost model, for the slope over a first guess."""
LENGTH = 0.7
"""Initial length of every column, the distance over which times stay similar. One parameter's full range is 1."""
NOISE = 0.005
"""Initial relative noise of a reading. The fit may move it between 0.1 % and 5 %."""
FIT_FROM = 6
"""Measurements from which hyper-parameters are fitted: fewer cannot tell a length scale from noise."""
MAX_POINTS = 200
"""Most measurements that a fit uses. Half of them are the fastest; the others are spread evenly over the slower ones,
which need not be known exactly. Keeps a decision under 0.2 s."""
TUNE_POINTS = 80
"""How many of these are used to tune the hyper-parameters."""
NEIGHBOURHOOD = 0.5
"""Distance over which a failure lowers its neighbours' probability of success. One parameter's full range is 1."""
DOUBT = 1.0
"""Weight of the prior probability, in observations."""
LEVEL_DOUBT = 2.0
"""The same for the success rate of one value of one parameter."""


class _OneThread:
    """BLAS on one thread while at least one thread of this process is inside: its number of threads is the process's,
    and the first to leave must not give the others theirs back."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limits = _thread_pools().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *about: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limits.restore_original_limits()


_ONE_THREAD = _OneThread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run linear algebra on one thread. At this size a second thread costs five times what it saves, and it changes the
    order of sums and so their last digits."""
    with _ONE_THREAD, _thread_pools().limit(limits=1, user_api="openmp"):  # OpenMP's number is each thread's own
        yield


@lru_cache(maxsize=1)
def _thread_pools() -> Any:
    import scipy.linalg  # noqa: F401 - loads the library whose pool is to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@dataclass(frozen=True)
class Surrogate:
    """Posterior of log(ms) after some measurements: the calibrated cost model plus the process.

    Without a cost model the posterior is of the compressed log(ms) (``SQUEEZE``), which equals log(ms) at the best and
    is smaller above it."""

    process: Process
    noise: float
    """Variance of a reading's log(ms), beside what its own interval shows."""
    slope: float
    offset: float
    best: float | None = None
    """The least log(ms) if the values are compressed towards it, else ``None``."""

    @cached_property
    def surprise(self) -> float:
        """How far each measurement lies from the others' prediction of it, in standard deviations (root mean square of
        the leave-one-out residuals): 1 if the uncertainty is right, more if it is too small.

        Source: Rasmussen and Williams 2006, equations 5.10 to 5.12."""
        residuals = self.process.left_out()
        return float(np.sqrt(np.mean(residuals**2))) if len(residuals) else 1.0

    def stretched(self, mean: float, deviation: float) -> tuple[float, float]:
        """Mean and standard deviation of log(ms), from those of the compressed log(ms)."""
        if self.best is None:
            return mean, deviation
        factor = float(np.exp(min(4.0, (mean - self.best) / SQUEEZE)))
        return self.best + SQUEEZE * (factor - 1), deviation * factor

    def predict(self, points: Floats, log_cost: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of log(ms) at `points` (n, columns); `log_cost` (n,) from the cost model."""
        mean, deviation = self.process.predict(points)
        return self.offset + self.slope * log_cost + mean, deviation

    def covariance(self, points: Floats) -> Floats:
        """Joint covariance (n, n) of log(ms) at `points`, without reading noise."""
        return self.process.covariance(points)


def fit(
    points: Floats,
    log_cost: Floats,
    log_ms: Floats,
    informed: bool,
    taught: bool = False,
    variances: Floats | None = None,
) -> Surrogate:
    """Fit to measurements: `points` (n, columns), `log_cost` and `log_ms` (n,); n may be 0. `variances` (n,) of log(ms)
    are what each reading's own interval shows; the noise that all readings share is fitted and added.

    `informed` tells whether `log_cost` is a prediction; otherwise it is a first guess of the compressed log(ms), up to
    a constant, and zeros if there is none. `taught` tells whether near problems have corrected the prediction."""
    own = np.zeros(len(log_ms)) if variances is None else variances
    if len(log_ms) > MAX_POINTS:
        order = np.argsort(log_ms, kind="stable")
        spread_out = np.linspace(MAX_POINTS // 2, len(order) - 1, MAX_POINTS - MAX_POINTS // 2).round().astype(int)
        keep = np.concatenate([order[: MAX_POINTS // 2], order[spread_out]])
        points, log_cost, log_ms, own = points[keep], log_cost[keep], log_ms[keep], own[keep]
    best = None if informed or not len(log_ms) else float(log_ms.min())
    if best is not None:
        own = own / (1 + (log_ms - best) / SQUEEZE) ** 2
        log_ms = best + SQUEEZE * np.log1p((log_ms - best) / SQUEEZE)
    spread = PRIOR_SPREAD_TAUGHT if taught else PRIOR_SPREAD if informed else PRIOR_SPREAD_UNKNOWN
    if not informed and len(log_ms) >= FIT_FROM:
        spread = max(0.05, float(log_ms.std()))
    slope, offset = calibrate(log_cost, log_ms, spread, None if informed else GUESS_SPREAD)
    if not informed:
        offset = _median(log_ms - slope * log_cost)
    residual = log_ms - offset - slope * log_cost
    # With a cost model, that covers the main effects.
    covariance = Covariance(spread**2, np.full(points.shape[1], LENGTH), None if informed else spread**2)
    noise = NOISE**2
    if len(log_ms) >= FIT_FROM:
        some = np.linspace(0, len(residual) - 1, min(len(residual), TUNE_POINTS)).round().astype(int)
        covariance, noise = tune(covariance, noise, points[some], residual[some], own[some])
    return Surrogate(condition(covariance, points, residual, noise + own), noise, slope, offset, best)


def calibrate(
    log_cost: Floats, log_ms: Floats, spread: float, slope_spread: float | None = None
) -> tuple[float, float]:
    """Slope and offset of log(ms) over the cost model's log time: least squares with a prior of the slope around 1, of
    standard deviation `slope_spread` (``SLOPE_SPREAD`` if not given).

    If the cost model is right up to a constant factor, the slope stays 1. If its estimates do not correlate with the
    times of this kernel, the data draw the slope towards 0. With no data: slope 1, offset 0."""
    if not len(log_ms):
        return 1.0, 0.0
    x, y = log_cost - log_cost.mean(), log_ms - log_ms.mean()
    weight = (spread / (slope_spread or SLOPE_SPREAD)) ** 2
    slope = float((x @ y + weight) / (x @ x + weight))
    return slope, float(log_ms.mean() - slope * log_cost.mean())


def success_odds(points: Floats, seen: Floats, worked: Flags, prior: Floats) -> Floats:
    """Probability (n,) that each of `points` compiles, runs and is correct.

    `seen` (k, columns) are the configs tried, and `worked` (k,) tells which of them succeeded. Nearer configs count
    more. `prior` (n,) counts as one observation. The result is a kernel-smoothed Bernoulli estimate (Nadaraya-Watson)
    times a factor for the values and pairs of values that explain failures: most depend on a switch or two sizes."""
    if not len(seen):
        return prior
    near = nearness(points, seen)
    return np.asarray((DOUBT * prior + near @ worked) / (DOUBT + near.sum(1))) * _level_factor(points, seen, worked)


def nearness(points: Floats, others: Floats) -> Floats:
    """1 for equal configs, falling to 0 with distance; shape (n, k)."""
    squared = (points**2).sum(1)[:, None] + (others**2).sum(1)[None, :] - 2 * points @ others.T
    return np.asarray(np.exp(-np.maximum(0, squared) / (2 * NEIGHBOURHOOD**2)))


def _level_factor(points: Floats, seen: Floats, worked: Flags) -> Floats:
    """Success rate of the worst value, or pair of values, among a point's parameters, divided by that of all configs
    tried; at most 1.

    The value or pair with the lowest success rate is found first. The failures that it explains then no longer count
    against the other values of the same configs. If a value and a pair explain the same failures equally well, the
    value comes first."""
    overall = (worked.sum() + DOUBT) / (len(worked) + DOUBT)
    causes, has = _causes(seen, worked)
    factor, unexplained = np.ones(len(points)), np.ones(len(seen), bool)
    while not worked[unexplained].all():
        tried = has & unexplained
        rates = ((tried & worked).sum(1) + LEVEL_DOUBT * overall) / (tried.sum(1) + LEVEL_DOUBT)
        worst = int(np.argmin(rates))
        if rates[worst] >= overall or worked[tried[worst]].all():
            break
        alike = np.all([points[:, column] == value for column, value in causes[worst]], axis=0)
        factor[alike] = np.minimum(factor[alike], rates[worst] / overall)
        unexplained &= ~(tried[worst] & ~worked)
    return factor


def _causes(seen: Floats, worked: Flags) -> tuple[list[tuple[tuple[int, float], ...]], Flags]:
    """Values, as (column, value), and pairs of values that a failed config has, and which of `seen` has each (causes,
    k). A config that asks for too much of something mostly does so by two parameters together."""
    values = [(column, value) for column in range(seen.shape[1]) for value in np.unique(seen[~worked, column])]
    has = np.array([seen[:, column] == value for column, value in values], bool).reshape(len(values), len(seen))
    i, j = np.triu_indices(len(values), 1)
    together = has[i] & has[j]
    failed = (together & ~worked).any(1)  # two values of one column are never together
    pairs = [(values[a], values[b]) for a, b in zip(i[failed], j[failed], strict=True)]
    return [*((value,) for value in values), *pairs], np.vstack([has, together[failed]])


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Expected drop of log(ms) below `best`, i.e. the expected relative gain. Source: Jones et al. 1998, eq. 15."""
    from scipy.special import ndtr

    deviation = np.maximum(deviation, 1e-9)
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray((best - mean) * ndtr(z) + deviation * density)


def _median(log_ms: Floats) -> float:
    return float(np.median(log_ms)) if len(log_ms) else 0.0
