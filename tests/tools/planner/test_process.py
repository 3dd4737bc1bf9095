"""The Gaussian process against scikit-learn's, and its gradient against differences."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from tools.planner.process import AMPLITUDES, LENGTHS, NOISES, Covariance, Process, condition, tune
from tools.planner.process import _Objective as Objective

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)
POINTS = RNG.integers(0, 4, (40, 6)) / 3
VALUES = POINTS[:, 0] ** 2 - POINTS[:, 1] * POINTS[:, 2] + 0.01 * RNG.normal(size=40)
OWN = np.full(40, 1e-6)
ELSEWHERE = RNG.integers(0, 4, (50, 6)) / 3
PLAIN = Covariance(0.3, np.linspace(0.5, 2, 6))
SUMS = Covariance(0.3, np.linspace(0.5, 2, 6), 0.2)


def test_the_posterior_is_scikit_learns():
    kernel = ConstantKernel(PLAIN.variance) * Matern(PLAIN.lengths, nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=1e-4, optimizer=None).fit(POINTS, VALUES)
    ours = condition(PLAIN, POINTS, VALUES, np.full(40, 1e-4))
    for found, expected in zip(ours.predict(ELSEWHERE), theirs.predict(ELSEWHERE, return_std=True), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    expected = theirs.predict(ELSEWHERE, return_cov=True)[1]
    np.testing.assert_allclose(ours.covariance(ELSEWHERE), expected, atol=1e-9)


@pytest.mark.parametrize("start", [PLAIN, SUMS], ids=["matern", "with main effects"])
def test_the_gradient_is_that_of_the_likelihood(start):
    objective = Objective(start, 1e-4, POINTS, VALUES, OWN)
    theta = objective.start + 0.1 * RNG.normal(size=len(objective.start))
    step = 1e-6 * np.eye(len(theta))
    differences = [(objective(theta + e)[0] - objective(theta - e)[0]) / 2e-6 for e in step]
    np.testing.assert_allclose(objective(theta)[1], differences, atol=1e-5)


def test_the_likelihood_is_scikit_learns():
    kernel = ConstantKernel(PLAIN.variance, AMPLITUDES) * Matern(PLAIN.lengths, LENGTHS, nu=2.5)
    theirs = GaussianProcessRegressor(kernel + WhiteKernel(1e-4, NOISES), alpha=OWN, optimizer=None).fit(POINTS, VALUES)
    objective = Objective(PLAIN, 1e-4, POINTS, VALUES, OWN)
    moved = objective.start + 0.3
    apart = theirs.log_marginal_likelihood(moved) - theirs.log_marginal_likelihood(objective.start)
    prior = 0.5 * 0.3**2 * len(moved)
    assert objective(objective.start)[0] - objective(moved)[0] + prior == pytest.approx(apart, abs=1e-6)


def test_a_column_that_changes_nothing_gets_a_long_length():
    found, noise = tune(SUMS, 1e-4, POINTS, VALUES, OWN)
    assert found.lengths[[3, 4, 5]].min() > 1.5 * found.lengths[[1, 2]].max()
    assert NOISES[0] <= noise <= NOISES[1]


def test_a_sum_of_effects_is_learnt_from_one_change_at_a_time():
    """Two columns each changed alone: the sum of both changes is predicted where both are changed."""
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    values = np.array([0.0, 0.3, 0.2])
    additive = condition(Covariance(1e-6, np.ones(2), 1.0), points, values, np.full(3, 1e-8))
    assert additive.predict(np.array([[1.0, 1.0]]))[0][0] == pytest.approx(0.5, abs=1e-3)


def test_readings_left_out_are_predicted_by_the_others():
    process = condition(SUMS, POINTS, VALUES, np.full(40, 1e-4))
    others = np.arange(1, 40)
    mean, deviation = condition(SUMS, POINTS[others], VALUES[others], np.full(39, 1e-4)).predict(POINTS[:1])
    expected = (VALUES[0] - mean[0]) / np.sqrt(deviation[0] ** 2 + 1e-4)
    assert process.left_out()[0] == pytest.approx(expected)


def test_without_points_the_prior_is_predicted():
    prior = Process(SUMS, np.empty((0, 6)))
    mean, deviation = prior.predict(ELSEWHERE)
    assert not mean.any()
    np.testing.assert_allclose(deviation, np.sqrt(0.5))
    np.testing.assert_allclose(prior.covariance(ELSEWHERE).diagonal(), 0.5)
    assert len(prior.left_out()) == 0
