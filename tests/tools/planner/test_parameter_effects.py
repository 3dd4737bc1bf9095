"""What each parameter changes near the best: against known times, and against the whole of a recorded space."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tests.tools.planner.problems import H200, SPEC, STRANGE, StrangeProblem, measured
from tools.harness.landscapes.named import named_landscape
from tools.planner.evidence import Evidence
from tools.planner.features import Encoder
from tools.planner.parameter_effects import LEAST, estimate_effects
from tools.planner.propose import Planner
from tools.session.task import Task

GRID = np.array(list(itertools.product(range(3), range(3), range(3))))
LEVELS = {name: GRID[:, k] for k, name in enumerate("abc")}
ALL = np.ones(len(GRID), bool)


def by_name(log_ms, known=ALL, works=ALL):
    return {e.name: e for e in estimate_effects(LEVELS, np.asarray(log_ms, float), known, works)}


def test_independent_parameters_have_their_own_effects_and_no_pair():
    found = by_name(0.10 * GRID[:, 0] + 0.02 * GRID[:, 1])
    assert found["a"].change == pytest.approx(np.expm1(0.15))  # 10 % one step from the best, 20 % two
    assert found["b"].change == pytest.approx(np.expm1(0.03))
    assert found["c"].change == 0
    assert set(found) == {"a", "b", "c"}


def test_a_pair_whose_best_values_depend_on_each_other_is_named():
    """The best b depends on a, so that neither is worth anything in the mean."""
    found = by_name(0.1 * (GRID[:, 0] != GRID[:, 1]))
    assert max(found, key=lambda name: found[name].change) in ("a x b", "a", "b")
    assert found["a x b"].change > LEAST
    assert "a x c" not in found
    assert "b x c" not in found


def test_what_only_the_slow_corner_does_is_no_effect():
    """With the largest a, which is three times slower, b matters; near the best it does not."""
    found = by_name(np.log(3) * (GRID[:, 0] == 2) + 0.5 * (GRID[:, 0] == 2) * GRID[:, 1])
    assert found["b"].change == 0


def test_a_parameter_that_changes_along_with_another_is_not_credited():
    along = {
        "family": np.array([0, 0, 0, 1, 1, 1]),
        "group": np.array([0, 0, 0, 1, 1, 1]),
        "n": np.array([0, 1, 2] * 2),
    }
    log_ms = np.array([0.0, 0.01, 0.02, 0.3, 0.31, 0.32])
    known = np.zeros(6, bool)
    found = {e.name: e.change for e in estimate_effects(along, log_ms, known, ~known)}
    assert found["n"] == pytest.approx(np.expm1(0.015))
    assert found["family"] == pytest.approx(np.expm1(0.3))  # never alone: the fastest of each
    assert "family x group" not in found


def test_measured_configs_go_before_predictions():
    """The predictions say that c matters, and three measurements say that b does."""
    known = (GRID[:, 0] == 0) & (GRID[:, 2] == 0)
    log_ms = np.where(known, 0.07 * GRID[:, 1], 0.5 * GRID[:, 2] + 0.2 * GRID[:, 0])
    found = by_name(log_ms, known)
    assert (found["b"].change, found["b"].measured) == (pytest.approx(np.expm1(0.105)), 2)
    assert found["c"].measured == 0


def test_failed_configs_are_left_out():
    log_ms = np.where(GRID[:, 0] == 2, -5.0, 0.1 * GRID[:, 1])
    assert by_name(log_ms, works=GRID[:, 0] != 2)["a"].change == 0


def test_one_config_and_no_config_have_no_effects():
    one = {"a": np.array([0])}
    assert estimate_effects(one, np.zeros(1), np.ones(1, bool), np.ones(1, bool)) == []
    assert estimate_effects(one, np.zeros(1), np.ones(1, bool), np.zeros(1, bool)) == []
    assert estimate_effects({}, np.zeros(0), np.ones(0, bool), np.ones(0, bool)) == []


def test_the_planners_effects_are_those_of_its_measured_pairs():
    """Every effect that is called measured is the mean over measured configs that differ in this alone."""
    rng = random.Random(0)
    seen = {c: measured(c, 1.0 + 0.1 * c.vector + 0.01 * rng.random()) for c in rng.sample(STRANGE, 150)}
    effects = Planner(Task(SPEC, StrangeProblem(), H200), STRANGE).propose(Evidence(measured=seen), 1).effects
    vector = next(e for e in effects if e.name == "vector")
    pairs = [
        seen[c.model_copy(update={"vector": True})].ms / m.ms
        for c, m in seen.items()
        if not c.vector and c.model_copy(update={"vector": True}) in seen
    ]
    assert 0 < vector.measured <= len(pairs)  # of them those near the best
    assert min(pairs) - 1 <= vector.change <= max(pairs) - 1
    assert effects[0].name == "vector"


@pytest.mark.parametrize("name", ["rms_norm-32768x4096-fp16-h200", "attention-4x32x4096x128-fp16-h200"])
def test_forty_measurements_find_what_matters_in_a_recorded_space(name):
    """Of the five largest effects in the whole recording, most are among the planner's eight largest."""
    from evals.contest.briefing import briefing_of
    from kernels.registry import get

    landscape = named_landscape(name)
    spec, rng = get(landscape.kernel), random.Random(0)
    times = {
        spec.config_type.model_validate(e.config): e.sets["A"].raw_ms
        for e in landscape.entries.values()
        if e.status == "correct"
    }
    space = list(times)
    problem = spec.problem_type.model_validate(briefing_of(landscape).problem)
    whole = np.log(np.array(list(times.values())))
    known = np.ones(len(space), bool)
    true = [e.name for e in estimate_effects(Encoder(space).level_indices(space), whole, known, known)]
    seen = {c: measured(c, times[c]) for c in rng.sample(space, 40)}
    plan = Planner(Task(spec, problem, H200), space).propose(Evidence(measured=seen), 1)
    assert len({e.name for e in plan.effects[:8]} & set(true[:5])) >= 3
