"""The estimate of what the best config measured may lack, and the stop that rests on it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tools.planner.problems import H200, SPEC, STRANGE, StrangeProblem, measured, strange
from tools.planner import surrogate
from tools.planner.evidence import Evidence
from tools.planner.propose import Planner
from tools.planner.regret_estimate import CONFIDENCE, Regret, estimate_regret
from tools.planner.stopping import TOLERANCE, Advice, advise, confirm
from tools.session.task import Task

LINE = np.linspace(0, 1, 101)[:, None]


def truth(seed: int, spread: float = 0.1):
    """A function drawn from the prior of an informed surrogate, log(ms) over 101 configs."""
    gaps = np.abs(LINE - LINE.T) * np.sqrt(5) / surrogate.LENGTH
    covariance = surrogate.PRIOR_SPREAD**2 * (1 + gaps + gaps**2 / 3) * np.exp(-gaps)
    return np.random.default_rng(seed).multivariate_normal(np.zeros(101), covariance + 1e-9 * np.eye(101))


def regret_after(values, rows, noise=0.0, odds=1.0, stretch=1.0, seed=0):
    """The estimate after readings at `rows`, the incumbent, and its true regret."""
    read = values[rows] + np.random.default_rng(seed).normal(0, noise, len(rows))
    model = surrogate.fit(LINE[rows], np.zeros(len(rows)), read, informed=True)
    mean, _ = model.predict(LINE, np.zeros(101))
    order = np.argsort(read)
    measured_ = [int(rows[i]) for i in order]
    untried = np.setdiff1d(np.arange(101), rows)
    found = estimate_regret(model, LINE, mean, np.full(101, odds), measured_, untried, stretch)
    return found, float(np.expm1(values[measured_[0]] - values.min()))


def test_bounds_hold_as_often_as_they_claim():
    """Of functions drawn from the prior, searched at eight random places."""
    held = []
    for seed in range(60):
        rows = np.random.default_rng(seed + 1000).choice(101, 8, replace=False)
        found, true = regret_after(truth(seed), rows, noise=0.003, seed=seed)
        held.append(true <= found.bound + 1e-9)
    assert np.mean(held) >= CONFIDENCE - 0.07


def test_more_readings_leave_less_to_gain():
    values = truth(3)
    few, many = (regret_after(values, np.linspace(0, 100, n).astype(int))[0] for n in (4, 50))
    assert many.untried < 0.2 * few.untried


def test_noise_of_two_readings_counts_for_the_incumbent_and_not_for_the_search():
    """Everything is measured but one slow config: what is unknown is which reading was lucky."""
    values = np.r_[np.zeros(100), 0.5]
    found, _ = regret_after(values, np.arange(100), noise=0.02)
    assert found.untried < 0.001 < found.bound


def test_configs_that_fail_cannot_win():
    values = truth(3)
    rows = np.array([0, 30, 60, 90])
    sure, doubtful = (regret_after(values, rows, odds=odds)[0] for odds in (1.0, 0.0))
    assert doubtful.untried == 0 < sure.untried


def test_an_uncertainty_that_was_too_small_is_stretched():
    values, rows = truth(3), np.array([0, 20, 40, 60, 80, 100])
    assert regret_after(values, rows, stretch=3.0)[0].bound > 2 * regret_after(values, rows)[0].bound


def test_equal_configs_do_not_spoil_the_estimate():
    points = np.repeat(LINE[:10], 3, axis=0)
    model = surrogate.fit(points[:6], np.zeros(6), np.linspace(0, 0.1, 6), informed=True)
    mean, _ = model.predict(points, np.zeros(30))
    found = estimate_regret(model, points, mean, np.ones(30), [0, 1], list(range(6, 30)))
    assert np.isfinite([found.bound, found.untried]).all()


def test_the_estimate_is_the_same_every_time():
    assert regret_after(truth(1), np.arange(0, 101, 9)) == regret_after(truth(1), np.arange(0, 101, 9))


def test_a_stop_says_how_near_the_best_is_and_with_what_probability():
    said = confirm(Advice(True, "enough"), Regret(bound=0.0042, untried=0.001))
    assert said.stop
    assert said.why == "enough; with 95% probability the best one measured is within 1.0% of the best config"
    assert "within 1.4% of" in confirm(Advice(True, "enough"), Regret(0.014, 0.001)).why


@pytest.mark.parametrize(("untried", "stops"), [(TOLERANCE, True), (1.5 * TOLERANCE, False)])
def test_a_search_that_may_still_gain_more_than_one_per_cent_goes_on(untried, stops):
    said = confirm(Advice(True, "enough"), Regret(bound=0.02, untried=untried))
    assert said.stop is stops
    assert ("may gain up to 1.5%" in said.why) is not stops


def test_many_small_chances_are_no_reason_to_stop():
    """No config alone is expected to gain much; one of a hundred that are each little known is."""
    seen = Evidence(measured={c: measured(c, 1.0) for c in STRANGE[:80]})
    assert advise(seen, 1.0, 0.0, blind=False, taught=False).stop
    values = np.zeros(101)
    model = surrogate.fit(LINE[:2], np.zeros(2), values[:2], informed=True)
    mean, deviation = np.full(101, 0.25), model.predict(LINE, np.zeros(101))[1]
    alone = surrogate.expected_improvement(mean, deviation, 0.0).max()
    apart = np.arange(101.0)[:, None] * 50  # a hundred configs that tell nothing of one another
    together = estimate_regret(model, apart, np.r_[0.0, np.full(100, 0.25)], np.ones(101), [0], list(range(1, 101)))
    assert alone < 0.01 < together.untried


def test_the_planner_states_the_estimate_where_it_stops():
    seen = {c: m for c in STRANGE[:-2] if (m := strange(c))}
    plan = Planner(Task(SPEC, StrangeProblem(), H200), STRANGE).propose(Evidence(measured=seen), 8)
    assert plan.stop
    assert plan.regret.untried <= TOLERANCE
    assert "with 95% probability" in plan.why
    early = Planner(Task(SPEC, StrangeProblem(), H200), STRANGE).propose(Evidence(), 8)
    assert early.regret is None
