"""What measurements teach: a Gaussian process on what the cost model gets wrong, and the odds that a config works.

scikit-learn's GaussianProcessRegressor, because it is the most widely kept Gaussian process there is, needs no second
deep-learning stack, gives joint covariances (which diverse batches need) and is exact for the tens to hundreds of
points a tuning run has. It is imported on first use: the import takes longer than any decision.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.planner.cost.resources import Flags, Floats

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

PRIOR_SPREAD = 0.15
"""Standard deviation of log(ms) around an uncalibrated cost model: what 15 % off means. Of 0.1, 0.15 and 0.25 the best
over the landscapes (docs/PLANNER.md)."""
PRIOR_SPREAD_UNKNOWN = 0.7
"""The same where nothing predicts: a factor of two either way."""
PRIOR_SPREAD_TAUGHT = 0.05
"""The same around a prediction that near problems have corrected."""
SQUEEZE = 0.2
"""Where nothing predicts, log(ms) beyond this above the best counts by its logarithm: how slow a slow config is must
not set the scale on which fast ones are told apart. 10 % slower stays 8 %, twice as slow becomes 30 %."""
SLOPE_SPREAD = 0.3
"""How far the cost model's log scale may be from the truth's before data says so (prior of the slope around 1)."""
AMPLITUDES = (0.01**2, 2.0**2)
LENGTH = 0.7
"""Distance over which times stay alike, at the start; one parameter's full range is 1."""
NOISE = 0.005
"""Relative noise of a reading at the start; the fit may move it between 0.1 % and 5 %."""
FIT_FROM = 6
"""Measurements below which hyper-parameters stay at the prior: fewer cannot tell a length scale from noise."""
MAX_POINTS = 200
"""Measurements a fit uses: the fastest half of that number, and the rest spread evenly over the slower ones, as what is
slow need not be known exactly. Keeps a decision under 0.2 s."""
TUNE_POINTS = 80
"""Of these, how many the hyper-parameters are tuned on."""
FIT_STEPS = 15
PRIOR_FACTOR = 1.0
"""Standard deviation of each hyper-parameter's logarithm around its start: a factor of 2.7 either way. Keeps a length
scale per column from chasing a handful of points."""
NEIGHBOURHOOD = 0.5
"""Distance over which a failure makes its neighbours suspect; one parameter's full range is 1."""
DOUBT = 1.0
"""Weight of the prior odds, in observations."""
LEVEL_DOUBT = 2.0
"""The same when one value of one parameter is judged by itself."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one thread: at this size a second one costs five times what it saves, and its sums differ."""
    with _thread_pools().limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _thread_pools() -> Any:
    import sklearn.gaussian_process  # noqa: F401 - loads the libraries whose pools are to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@dataclass(frozen=True)
class Surrogate:
    """Posterior of log(ms) after some measurements: ``trend`` of the calibrated cost model plus the process.

    Without a cost model it speaks of squeezed log(ms), which is the same at the best and less above it."""

    process: GaussianProcessRegressor
    noise: float
    """Variance of a reading's log(ms)."""
    slope: float
    offset: float
    best: float | None = None
    """The least log(ms), where others are squeezed towards it."""

    @cached_property
    def surprise(self) -> float:
        """How far measurements lie from what the others predict of them, in standard deviations (root mean square of
        the leave-one-out residuals): 1 where the uncertainty is honest, more where it is too small.

        Source: Rasmussen and Williams 2006, equations 5.10 to 5.12."""
        from scipy.linalg import cho_solve

        if not hasattr(self.process, "L_"):
            return 1.0
        inverse = cho_solve((self.process.L_, True), np.eye(len(self.process.L_))).diagonal()
        return float(np.sqrt(np.mean(np.asarray(self.process.alpha_).ravel() ** 2 / inverse)))

    def stretched(self, mean: float, deviation: float) -> tuple[float, float]:
        """Mean and standard deviation of log(ms) itself."""
        if self.best is None:
            return mean, deviation
        factor = float(np.exp(min(4.0, (mean - self.best) / SQUEEZE)))
        return self.best + SQUEEZE * (factor - 1), deviation * factor

    def predict(self, points: Floats, log_cost: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of log(ms) at `points` (n, columns); `log_cost` (n,) from the cost model."""
        mean, deviation = self.process.predict(points, return_std=True)
        return self.offset + self.slope * log_cost + mean, deviation

    def covariance(self, points: Floats) -> Floats:
        """Joint covariance (n, n) of log(ms) at `points`, without reading noise."""
        return np.asarray(self.process.predict(points, return_cov=True)[1])


def fit(points: Floats, log_cost: Floats, log_ms: Floats, informed: bool, taught: bool = False) -> Surrogate:
    """Fit to measurements: `points` (n, columns), `log_cost` and `log_ms` (n,); n may be 0.

    `informed` says whether `log_cost` predicts something; where nothing does pass zeros. `taught`: by near problems."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    from tools.planner.main_effects import MainEffects

    if len(log_ms) > MAX_POINTS:
        order = np.argsort(log_ms, kind="stable")
        spread_out = np.linspace(MAX_POINTS // 2, len(order) - 1, MAX_POINTS - MAX_POINTS // 2).round().astype(int)
        keep = np.concatenate([order[: MAX_POINTS // 2], order[spread_out]])
        points, log_cost, log_ms = points[keep], log_cost[keep], log_ms[keep]
    best = None if informed or not len(log_ms) else float(log_ms.min())
    if best is not None:
        log_ms = best + SQUEEZE * np.log1p((log_ms - best) / SQUEEZE)
    spread = PRIOR_SPREAD_TAUGHT if taught else PRIOR_SPREAD if informed else PRIOR_SPREAD_UNKNOWN
    if not informed and len(log_ms) >= FIT_FROM:
        spread = max(0.05, float(log_ms.std()))
    slope, offset = calibrate(log_cost, log_ms, spread) if informed else (0.0, _middle(log_ms))
    residual = log_ms - offset - slope * log_cost
    kernel: Any = ConstantKernel(spread**2, AMPLITUDES) * Matern(np.full(points.shape[1], LENGTH), (0.1, 20.0), nu=2.5)
    if not informed:  # a cost model knows the main effects
        kernel = ConstantKernel(spread**2, AMPLITUDES) * MainEffects() + kernel
    noise = NOISE**2
    if len(log_ms) >= FIT_FROM:
        noisy = kernel + WhiteKernel(noise, (0.001**2, 0.05**2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound that binds is the prior at work
            some = np.linspace(0, len(residual) - 1, min(len(residual), TUNE_POINTS)).round().astype(int)
            tuned = GaussianProcessRegressor(noisy, alpha=0.0, optimizer=_most_plausible)
            tuned.fit(points[some], residual[some])
        kernel, noise = tuned.kernel_.k1, tuned.kernel_.k2.noise_level
    process = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    if len(log_ms):
        process.fit(points, residual)
    return Surrogate(process, float(noise), slope, offset, best)


def calibrate(log_cost: Floats, log_ms: Floats, spread: float) -> tuple[float, float]:
    """Slope and offset of log(ms) over the cost model's log time: least squares with the slope drawn towards 1.

    A cost model that is right up to a constant keeps slope 1; one that has nothing to say about this kernel is
    flattened by the data. With no data: slope 1, offset 0."""
    if not len(log_ms):
        return 1.0, 0.0
    x, y = log_cost - log_cost.mean(), log_ms - log_ms.mean()
    weight = (spread / SLOPE_SPREAD) ** 2
    slope = float((x @ y + weight) / (x @ x + weight))
    return slope, float(log_ms.mean() - slope * log_cost.mean())


def success_odds(points: Floats, seen: Floats, worked: Flags, prior: Floats) -> Floats:
    """Odds (n,) that each of `points` compiles, runs and is correct.

    `seen` (k, columns) are the configs tried and `worked` (k,) what became of them; near ones count more. `prior` (n,)
    counts as one observation. A kernel-smoothed Bernoulli estimate (Nadaraya-Watson), times what single values of
    parameters are guilty of: most compiler failures hang on one switch."""
    if not len(seen):
        return prior
    near = nearness(points, seen)
    return np.asarray((DOUBT * prior + near @ worked) / (DOUBT + near.sum(1))) * _innocence(points, seen, worked)


def nearness(points: Floats, others: Floats) -> Floats:
    """1 for equal configs, falling to 0 with distance; shape (n, k)."""
    squared = (points**2).sum(1)[:, None] + (others**2).sum(1)[None, :] - 2 * points @ others.T
    return np.asarray(np.exp(-np.maximum(0, squared) / (2 * NEIGHBOURHOOD**2)))


def _innocence(points: Floats, seen: Floats, worked: Flags) -> Floats:
    """Success rate of the worst value among a point's parameters, over that of all configs tried; at most 1.

    The guiltiest value is found first, and the failures that it explains are no longer held against the others it was
    tried with."""
    overall = (worked.sum() + DOUBT) / (len(worked) + DOUBT)
    levels = [(column, value) for column in range(seen.shape[1]) for value in np.unique(seen[:, column])]
    has = [seen[:, column] == value for column, value in levels]
    innocent, unexplained = np.ones(len(points)), np.ones(len(seen), bool)
    while not worked[unexplained].all():
        tried = np.array([mask & unexplained for mask in has])
        rates = ((tried & worked).sum(1) + LEVEL_DOUBT * overall) / (tried.sum(1) + LEVEL_DOUBT)
        guiltiest = int(np.argmin(rates))
        if rates[guiltiest] >= overall or worked[tried[guiltiest]].all():
            break
        column, value = levels[guiltiest]
        alike = points[:, column] == value
        innocent[alike] = np.minimum(innocent[alike], rates[guiltiest] / overall)
        unexplained &= ~(tried[guiltiest] & ~worked)
    return innocent


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Expected drop of log(ms) below `best`, i.e. the expected relative gain. Source: Jones et al. 1998, eq. 15."""
    from scipy.special import ndtr

    deviation = np.maximum(deviation, 1e-9)
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray((best - mean) * ndtr(z) + deviation * density)


def _middle(log_ms: Floats) -> float:
    return float(np.median(log_ms)) if len(log_ms) else 0.0


def _most_plausible(objective: Callable[..., Any], start: Floats, bounds: Floats) -> tuple[Floats, float]:
    """Maximum a posteriori hyper-parameters: marginal likelihood and a log-normal prior around `start`, by L-BFGS."""
    from scipy.optimize import minimize

    def penalised(theta: Floats) -> tuple[float, Floats]:
        value, gradient = objective(theta)
        away = (theta - start) / PRIOR_FACTOR
        return value + 0.5 * float(away @ away), gradient + away / PRIOR_FACTOR

    found = minimize(penalised, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": FIT_STEPS})
    return found.x, float(found.fun)
