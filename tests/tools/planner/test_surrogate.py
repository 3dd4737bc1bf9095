"""What measurements and failures teach, and how batches are picked."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from kernels.spec import Config
from tests.bench.planner_spaces import load
from tests.tools.planner.problems import STRANGE, StrangeConfig, measured
from tools.planner import surrogate
from tools.planner.batch import draw_balanced, pick_batch
from tools.planner.evidence import Evidence
from tools.planner.features import CATEGORY_SIDE, Encoder
from tools.planner.surrogate import one_thread

pytestmark = pytest.mark.process

CONVOLUTION = Path(__file__).parents[2] / "bench" / "spaces" / "c_conv_7x7.json.gz"


class ZeroConfig(Config):
    hint: int
    tile: int
    flag: int
    warps: int


def test_encoding_spaces_powers_of_two_evenly_and_keeps_categories_equally_far():
    encoder = Encoder(STRANGE)
    a, b, c = encoder.encode([StrangeConfig(block_size_x=32, unroll=u, cache="none", vector=False) for u in (1, 2, 16)])
    assert np.linalg.norm(b - a) == pytest.approx(0.25)
    assert np.linalg.norm(c - a) == pytest.approx(1.0)
    caches = encoder.encode(
        [StrangeConfig(block_size_x=32, unroll=1, cache=k, vector=False) for k in ("none", "read", "write")]
    )
    assert [np.linalg.norm(caches[i] - caches[j]) for i, j in ((0, 1), (0, 2), (1, 2))] == pytest.approx([1, 1, 1])


def test_a_useless_cost_model_is_flattened_by_the_data():
    rng = np.random.default_rng(0)
    cost = rng.normal(0, 1, 60)
    useless, _ = surrogate.calibrate(cost, rng.normal(0, 0.2, 60), surrogate.PRIOR_SPREAD)
    right, offset = surrogate.calibrate(cost, cost + 0.3, surrogate.PRIOR_SPREAD)
    assert abs(useless) < 0.15
    assert right == pytest.approx(1, abs=0.02)
    assert offset == pytest.approx(0.3, abs=0.02)


def test_failures_lower_the_odds_of_what_resembles_them():
    points = np.array([[0.0], [0.1], [1.0]])
    odds = surrogate.success_odds(points, points[:1], np.array([False]), np.full(3, 0.9))
    assert odds[0] < 0.5
    assert odds[0] < odds[1] < odds[2]
    assert odds[2] > 0.75


def test_failures_that_one_value_explains_are_not_held_against_others():
    """Column 0 fails always; column 1 was only ever tried with it."""
    seen = np.array([[1.0, 1.0]] * 5 + [[0.0, 0.0]] * 5)
    worked = np.array([False] * 5 + [True] * 5)
    odds = surrogate.success_odds(np.array([[1.0, 0.0], [0.0, 1.0]]), seen, worked, np.full(2, 0.9))
    assert odds[0] < 0.35
    assert odds[1] > 0.6


def test_failures_of_two_values_together_are_not_held_against_either_alone():
    """Configs fail if both columns are 1; each value alone works."""
    seen = np.array([[1.0, 1.0]] * 4 + [[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4)
    worked = np.array([False] * 4 + [True] * 8)
    both, one, other = surrogate.success_odds(
        np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), seen, worked, np.full(3, 0.9)
    )
    assert both < 0.2
    assert min(one, other) > 0.6


def test_pairs_of_values_foretell_the_failures_of_a_strangers_space():
    """Log loss on what was not tried; 0.20 and more without pairs."""
    space = load(CONVOLUTION, "raw")
    points = Encoder(space.configs).encode(space.configs)
    works = np.array([c in space.times for c in space.configs])
    losses = []
    for seed in range(4):
        tried = np.random.default_rng(seed).permutation(len(points))[:50]
        odds = surrogate.success_odds(points, points[tried], works[tried], np.full(len(points), 0.9))
        odds = np.delete(np.clip(odds, 0.01, 0.99), tried)
        worked = np.delete(works, tried)
        losses.append(-np.log(np.where(worked, odds, 1 - odds)).mean())
    assert np.mean(losses) < 0.15


def test_many_points_are_thinned_to_the_fastest_and_a_spread():
    rng = np.random.default_rng(1)
    points = rng.random((900, 2))
    log_ms = points.sum(1)
    model = surrogate.fit(points, np.zeros(900), log_ms, informed=False)
    found = model.predict(np.array([[0.05, 0.05], [0.95, 0.95]]), np.zeros(2))
    means = [model.stretched(*pair)[0] for pair in zip(*map(list, found), strict=True)]
    assert means == pytest.approx([0.1, 1.9], abs=0.1)


def test_how_slow_the_slow_are_does_not_blur_the_fast():
    points = np.linspace(0, 1, 12)[:, None]
    log_ms = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 3, 4, 4.0])
    model = surrogate.fit(points, np.zeros(12), log_ms, informed=False)
    mean, deviation = model.predict(points, np.zeros(12))
    back = [model.stretched(float(m), float(d))[0] for m, d in zip(mean, deviation, strict=True)]
    assert back[:4] == pytest.approx(log_ms[:4], abs=0.02)
    assert back[-1] == pytest.approx(4.0, rel=0.25)


def test_a_batch_does_not_bet_twice_on_the_same_doubt():
    model = surrogate.fit(np.zeros((0, 1)), np.zeros(0), np.zeros(0), informed=True)
    apart, raw = np.array([[0.0], [50.0], [100.0]]), np.array([[0.0], [0.0], [9.0]])
    mean = np.array([0.0, 0.01, 0.02])
    doubtful, sure = np.full(3, 0.2), np.full(3, 1.0)
    assert pick_batch(model, apart, raw, mean, doubtful, 0.0, 2) == [0, 2]
    assert pick_batch(model, apart, raw, mean, sure, 0.0, 2) == [0, 1]


def test_a_batch_prefers_another_config_to_a_twin_of_its_first():
    model = surrogate.fit(np.zeros((0, 1)), np.zeros(0), np.zeros(0), informed=True)
    points, mean = np.array([[0.0], [0.1], [4.0]]), np.array([0.0, 0.01, 0.05])
    assert pick_batch(model, points, points, mean, np.ones(3), 0.0, 3) == [0, 2, 1]


def test_extremity_counts_the_numbers_that_have_a_middle():
    corner, edge, middle = (
        StrangeConfig(block_size_x=x, unroll=u, cache="none", vector=v)
        for x, u, v in [(512, 1, True), (32, 4, False), (272, 4, True)]
    )
    assert Encoder(STRANGE).extremity([corner, edge, middle]) == pytest.approx([1, 0.5, 0])
    names = [StrangeConfig(block_size_x=32, unroll=1, cache=c, vector=True) for c in ("none", "read", "write")]
    assert Encoder(names).extremity(names) == pytest.approx([0, 0, 0])


def test_a_zero_among_other_numbers_may_be_something_else():
    hint, tile, flag = (0, 1, 2, 1), (0, 512, 1024, 0), (0, 1, 0, 1)
    configs = [ZeroConfig(hint=h, tile=t, flag=f, warps=4 * 2**h) for h, t, f in zip(hint, tile, flag, strict=True)]
    side = CATEGORY_SIDE
    assert Encoder(configs).off(configs) == pytest.approx(np.array([[side, side], [0, 0], [0, 0], [0, side]]))
    assert Encoder(STRANGE).off(STRANGE).shape == (len(STRANGE), 0)


@pytest.mark.parametrize("seed", range(5))
def test_balanced_draws_try_each_value_once_before_any_twice(seed):
    levels = np.array(list(itertools.product(range(4), repeat=3)))
    free = np.ones(64, bool)
    free[levels[:, 0] == levels[:, 1]] = False  # a space with gaps
    picks = draw_balanced(levels, np.zeros(64), [], free, 4, [5], seed)
    assert picks[0] == 5
    assert free[picks[1:]].all()
    assert min(len(set(column)) for column in levels[picks].T) >= 3
    free[:] = True
    picks = draw_balanced(levels, np.zeros(64), [5], free, 3, [], seed)
    assert [set(column) for column in levels[[5, *picks]].T] == [{0, 1, 2, 3}] * 3
    assert picks == draw_balanced(levels, np.zeros(64), [5], free, 3, [], seed)


def test_balanced_draws_avoid_the_edges_where_values_are_in_balance():
    levels = np.array(list(itertools.product(range(5), repeat=2)))
    extremity = ((levels / 2 - 1) ** 2).mean(1)
    picks = draw_balanced(levels, extremity, [], np.ones(25, bool), 3, [], 0)
    assert levels[picks[0]].tolist() == [2, 2]
    assert [len(set(column)) for column in levels[picks].T] == [3, 3]
    assert extremity[picks].max() <= 0.25


def test_balanced_draws_take_what_is_left():
    free = np.array([True, False, True])
    assert sorted(draw_balanced(np.zeros((3, 1), np.intp), np.zeros(3), [1], free, 8, [], 0)) == [0, 2]


def test_scipy_is_not_imported_before_the_first_decision():
    code = "import sys, tools.suggest_configs; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_reading_with_a_wide_interval_counts_less():
    points, log_ms = np.linspace(0, 1, 9)[:, None], np.zeros(9)
    log_ms[4] = -0.05  # a lucky reading, which its own samples contradict
    wide = np.zeros(9)
    wide[4] = 0.05**2
    trusted, doubted = (
        surrogate.fit(points, np.zeros(9), log_ms, informed=True, variances=v).predict(points, np.zeros(9))[0][4]
        for v in (np.zeros(9), wide)
    )
    assert trusted < 2 * doubted < 0


def test_the_variance_of_a_time_is_that_of_its_interval():
    sure, doubtful, silent = STRANGE[:3]
    seen = {
        sure: measured(sure, 1.0).model_copy(update={"ci_ms": (1.0, 1.0)}),
        doubtful: measured(doubtful, 1.0).model_copy(update={"ci_ms": (np.exp(-0.0196), np.exp(0.0196))}),
        silent: measured(silent, 1.0),
    }
    assert list(Evidence(measured=seen).variances().values()) == pytest.approx([0.0, 0.01**2, 0.0])


def test_who_leaves_first_leaves_the_others_on_one_thread():
    """Searches of several launches go on at once, each in a thread of its own."""

    def of_blas():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    first, second = one_thread(), one_thread()
    with one_thread():
        pass  # the library is loaded
    with threadpool_limits(2, "blas"):
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert of_blas() == {1}
        second.__exit__(None, None, None)
        assert of_blas() == {2}
