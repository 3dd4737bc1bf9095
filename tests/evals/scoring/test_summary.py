"""Intervals, pairs, pass^k."""

from __future__ import annotations

import math
import random

import pytest

from evals.scoring.score import SHARES, Score
from evals.scoring.score_tables import difference_lines
from evals.scoring.summary import aggregate, compare, interval


def score(agent="a", landscape="x", seed=0, P=0.5, passed=True, evals=10, max_evals=40) -> Score:
    return Score(
        agent=agent, landscape=landscape, variant="plain", seed=seed, max_evals=max_evals, P=P, P50=P, oracle_P=0.8,
        evals_to_near=evals, evals_to=dict.fromkeys(SHARES, evals),
        seconds_to=dict.fromkeys(SHARES, None), regret=0.01, evaluations=20, invalid_share=0.1, duplicates=0,
        seconds=1.0, tokens=0, dollars=0.0, end="budget", passed=passed,
    )  # fmt: skip


def test_every_landscape_counts_once_however_many_runs_it_has():
    many = [score(seed=i, P=1.0) for i in range(9)] + [score(landscape="y", P=0.0)]
    assert pytest.approx(0.5) == aggregate(many).P


def test_the_interval_is_clustered_by_landscape():
    """Ten seeds that agree on each of three landscapes are three observations, not thirty."""
    clustered = [[p] * 10 for p in (0.0, 0.5, 1.0)]
    low, high = interval(clustered)
    assert high - low > 0.6
    low, high = interval([[v for c in clustered for v in c]])
    assert high - low < 0.4


def test_clusters_of_different_sizes_have_an_interval_too():
    low, high = interval([[0.0, 1.0], [0.5]])
    assert 0 <= low < 0.5 < high <= 1


def test_the_interval_is_the_same_every_time():
    assert interval([[0.1, 0.7], [0.3, 0.4]]) == interval([[0.1, 0.7], [0.3, 0.4]])


def test_pass_all_asks_for_every_run_on_a_landscape():
    runs = [score(seed=0), score(seed=1, passed=False), score(landscape="y", seed=0), score(landscape="y", seed=1)]
    assert (aggregate(runs).pass_rate, aggregate(runs).pass_all) == (0.75, 0.5)


def test_runs_that_never_got_there_count_as_infinitely_late():
    assert aggregate([score(evals=4), score(seed=1, evals=None), score(seed=2, evals=8)]).evals_to[95] == 8
    assert aggregate([score(evals=4), score(seed=1, evals=None), score(seed=2, evals=None)]).evals_to[95] is None


def test_pairing_tells_apart_what_the_landscapes_scatter_hides():
    hard = {"x": 0.1, "y": 0.5, "z": 0.9}
    first = [score("a", x, s, P + 0.05 + s / 1000) for x, P in hard.items() for s in range(4)]
    second = [score("b", x, s, P) for x, P in hard.items() for s in range(4)]
    found = compare(first, second)
    assert pytest.approx(0.0515) == found.P
    assert found.better is True
    assert compare(second, first).better is False
    low, high = aggregate(first).P_ci
    assert low < aggregate(second).P < high


def test_what_cannot_be_told_apart_is_said_so():
    first = [score("a", x, 0, p) for x, p in (("x", 0.0), ("y", 1.0))]
    second = [score("b", x, 0, 0.5) for x in ("x", "y")]
    assert compare(first, second).better is None


@pytest.mark.parametrize(("pairs", "step", "told"), [(1, 0.1, False), (4, 0.1, False), (5, 0.1, True), (9, 0.0, False)])
def test_better_needs_five_paired_runs_and_an_interval_with_a_width(pairs, step, told):
    first = [score("a", seed=i, P=0.9 + i * step) for i in range(pairs)]
    found = compare(first, [score("b", seed=i, P=0.1) for i in range(pairs)])
    assert found.better is (True if told else None)
    [said] = difference_lines([found])
    assert (", better," in said) is told
    assert ("too few runs" in said) is (pairs < 5)


def runs(agent, scores, landscape="x", **fields) -> list[Score]:
    """One run for each score."""
    return [score(agent, landscape, seed, P, **fields) for seed, P in enumerate(scores)]


RISING = (0.90, 0.91, 0.92, 0.93, 0.94)
LOW = (0.1,) * 5


def test_runs_of_other_seeds_landscapes_or_budgets_are_not_paired():
    assert compare([score("a", seed=0)], [score("b", seed=1)]) is None
    assert compare(runs("a", RISING, "x"), runs("b", LOW, "y")) is None
    assert compare(runs("a", RISING, max_evals=40), runs("b", LOW, max_evals=20)) is None


def test_a_run_that_stands_twice_counts_once():
    again = compare(runs("a", RISING[:3]) * 2, runs("b", LOW[:3]) * 2)
    assert (again.pairs, again.better) == (3, None)
    other_budget = runs("a", RISING[:3], max_evals=20)
    assert compare(runs("a", RISING[:3]) + other_budget, runs("b", LOW[:3])).pairs == 3


def test_runs_that_an_agent_repeats_on_a_landscape_are_one():
    first = runs("a", (0.9,) * 10, "x") + runs("a", (0.8,) * 10, "y")
    found = compare(first, runs("b", (0.1,) * 10, "x") + runs("b", (0.1,) * 10, "y"))
    assert (found.pairs, found.distinct, found.better) == (20, 2, None)
    assert "too few different runs" in difference_lines([found])[0]


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, None])
def test_a_run_without_a_score_is_not_paired_and_spoils_no_other(broken):
    found = compare(runs("a", (*RISING, broken)), runs("b", (*LOW, 0.1)))
    assert (found.pairs, found.better) == (5, True)
    assert all(math.isfinite(x) for x in (found.P, *found.P_ci))
    assert compare(runs("a", (*RISING[:4], broken)), runs("b", LOW)).better is None
    assert compare(runs("a", (broken,) * 5), runs("b", LOW)) is None


def test_the_order_of_the_runs_does_not_matter():
    first = [s for x in "xyz" for s in runs("a", RISING, x)]
    second = [s for x in "zyx" for s in runs("b", (0.9, 0.2, 0.95, 0.93, 0.94), x)]
    found = compare(first, second)
    for seed in range(5):
        random.Random(seed).shuffle(first)
        random.Random(seed + 9).shuffle(second)
        assert compare(first, second) == found
