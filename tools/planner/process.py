"""The Gaussian process of the surrogate: its covariance, its fit to a few dozen points, and its posterior.

The covariance of two points is a sum of one-column effects, if asked for, and a Matern term (nu = 5/2) with a length
for each column. A decision evaluates the likelihood some twenty times. The gradient over all lengths is written as
products of matrices, (n, n) by (n, columns), and not as one matrix for each column. With 40 points and 12 columns a fit
takes a fifth of the time of scikit-learn's GaussianProcessRegressor, whose import alone takes a second.

Source of the formulas: Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", algorithm 2.1 and
sections 4.2 and 5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tools.planner.cost.resources import Floats

LENGTHS = (0.1, 20.0)
"""Bounds of a column's length: the distance over which times stay similar."""
AMPLITUDES = (0.01**2, 2.0**2)
"""Bounds of each term's variance of log(ms)."""
NOISES = (0.001**2, 0.05**2)
"""Bounds of the variance of a reading's log(ms)."""
FIT_STEPS = 15
PRIOR_FACTOR = 1.0
"""Standard deviation of each hyper-parameter's logarithm around its initial value: a factor of 2.7 either way. Keeps
the lengths of the columns from overfitting a few points."""


@dataclass(frozen=True)
class Covariance:
    """``effects * (1 - mean_i |x_i - y_i|) + variance * matern(|(x - y) / lengths|)`` for points in the unit cube.

    The first term's functions are sums of one piecewise linear function per column (Duvenaud et al. 2011, "Additive
    Gaussian processes", first order): a few measurements can teach these, but no interactions yet."""

    variance: float
    lengths: Floats
    effects: float | None = None
    """Variance of the sum of one-column effects; ``None`` leaves the term out."""

    def between(self, points: Floats, others: Floats) -> Floats:
        """(n, m) of `points` (n, columns) and `others` (m, columns)."""
        root = np.sqrt(5 * _squared(points / self.lengths, others / self.lengths))
        found = self.variance * (1 + root + root**2 / 3) * np.exp(-root)
        return found if self.effects is None else found + self.effects * _main_effects(points, others)

    @property
    def at_a_point(self) -> float:
        """The variance before any measurement."""
        return self.variance + (self.effects or 0.0)


@dataclass(frozen=True)
class Process:
    """The posterior of a function of mean 0, given its values at some points; without points, the prior."""

    covariance_of: Covariance
    points: Floats
    """(k, columns)."""
    root: Floats = field(default_factory=lambda: np.empty((0, 0)))
    """Lower Cholesky factor (k, k) of the covariance of the readings."""
    weights: Floats = field(default_factory=lambda: np.empty(0))
    """(k,): that covariance's inverse times the values."""

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n,) at `points` (n, columns)."""
        if not len(self.weights):
            return np.zeros(len(points)), np.full(len(points), np.sqrt(self.covariance_of.at_a_point))
        across = self.covariance_of.between(self.points, points)
        solved = _solve_lower(self.root, across)
        variance = self.covariance_of.at_a_point - (solved**2).sum(0)
        return across.T @ self.weights, np.sqrt(np.maximum(variance, 0.0))

    def covariance(self, points: Floats) -> Floats:
        """Joint covariance (n, n) at `points` (n, columns)."""
        prior = self.covariance_of.between(points, points)
        if not len(self.weights):
            return prior
        solved = _solve_lower(self.root, self.covariance_of.between(self.points, points))
        return np.asarray(prior - solved.T @ solved)

    def left_out(self) -> Floats:
        """Each reading's residual from the others' prediction of it, in standard deviations (k,): equations 5.10 to
        5.12."""
        if not len(self.weights):
            return np.empty(0)
        inverse = _solve_lower(self.root, np.eye(len(self.root)))
        return np.asarray(self.weights / np.sqrt((inverse**2).sum(0)))


def condition(covariance: Covariance, points: Floats, values: Floats, noise: Floats) -> Process:
    """The posterior given `values` (k,) at `points` (k, columns), each read with a variance of `noise` (k,)."""
    if not len(points):
        return Process(covariance, points)
    from scipy.linalg import cho_solve

    root = np.asarray(np.linalg.cholesky(covariance.between(points, points) + np.diag(noise)), float)
    return Process(covariance, points, root, np.asarray(cho_solve((root, True), values, check_finite=False)))


def tune(start: Covariance, noise: float, points: Floats, values: Floats, own: Floats) -> tuple[Covariance, float]:
    """The covariance and the noise that best explain `values` (k,) at `points` (k, columns): the maximum of marginal
    likelihood times a log-normal prior around `start` and `noise`. `own` (k,) is each reading's known variance."""
    from scipy.optimize import minimize

    objective = _Objective(start, noise, points, values, own)
    found = minimize(
        objective, objective.start, jac=True, method="L-BFGS-B", bounds=objective.bounds, options={"maxiter": FIT_STEPS}
    )
    return objective.read(found.x)


class _Objective:
    """Minus the log posterior of the hyper-parameters' logarithms: the variances, the lengths, the noise."""

    def __init__(self, start: Covariance, noise: float, points: Floats, values: Floats, own: Floats) -> None:
        self._points, self._values, self._own = points, values, own
        self._effects = None if start.effects is None else _main_effects(points, points)
        amplitudes = [start.variance] if start.effects is None else [start.effects, start.variance]
        self._terms = len(amplitudes)
        bounds = [AMPLITUDES] * self._terms + [LENGTHS] * points.shape[1] + [NOISES]
        self.bounds = np.log(np.array(bounds))
        self.start = np.clip(np.log(np.array([*amplitudes, *start.lengths, noise])), *self.bounds.T)

    def read(self, theta: Floats) -> tuple[Covariance, float]:
        """The covariance and the noise at `theta`."""
        values = np.exp(theta)
        effects = None if self._effects is None else float(values[0])
        return Covariance(float(values[self._terms - 1]), values[self._terms : -1], effects), float(values[-1])

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        from scipy.linalg.lapack import dpotri

        covariance, noise = self.read(theta)
        scaled = self._points / covariance.lengths
        root = np.sqrt(5 * _squared(scaled, scaled))
        decay = np.exp(-root)
        matern = covariance.variance * (1 + root + root**2 / 3) * decay
        terms = [matern] if self._effects is None else [(covariance.effects or 0.0) * self._effects, matern]
        total = sum(terms) + np.diag(self._own + noise)
        try:
            lower = np.linalg.cholesky(total)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros_like(theta)
        half, _ = dpotri(lower, lower=1)
        inverse = np.tril(half) + np.tril(half, -1).T
        weights = inverse @ self._values
        value = 0.5 * float(self._values @ weights) + float(np.log(lower.diagonal()).sum())
        # Half the trace of (weights weights' - inverse) times the derivative of the covariance: equation 5.9.
        inner = np.outer(weights, weights) - inverse
        pull = inner * (covariance.variance * 5 / 3) * (1 + root) * decay
        by_length = pull.sum(1) @ scaled**2 - np.einsum("ij,ij->j", scaled, pull @ scaled)
        by_amplitude = [0.5 * float((inner * term).sum()) for term in terms]
        gradient = np.array([*by_amplitude, *by_length, 0.5 * noise * float(inner.trace())])
        away = (theta - self.start) / PRIOR_FACTOR
        return value + 0.5 * float(away @ away), away / PRIOR_FACTOR - gradient


def _squared(points: Floats, others: Floats) -> Floats:
    """Squared distances (n, m)."""
    found = (points**2).sum(1)[:, None] + (others**2).sum(1)[None, :] - 2 * points @ others.T
    return np.asarray(np.maximum(found, 0.0))


def _main_effects(points: Floats, others: Floats) -> Floats:
    """``1 - mean_i |x_i - y_i|`` (n, m)."""
    from scipy.spatial.distance import cdist

    return np.asarray(1 - cdist(points, others, "cityblock") / points.shape[1])


def _solve_lower(root: Floats, right: Floats) -> Floats:
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(root, right, lower=True, check_finite=False))
