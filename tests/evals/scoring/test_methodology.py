"""The score, against worked examples and against the community's reference implementation."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import pytest

from evals.scoring.methodology import Scale


def space(seed: int, size: int) -> list[float]:
    rng = random.Random(seed)
    return [round(1 + rng.lognormvariate(0, 0.6), 6) for _ in range(size)]


def walk(scale: Scale, seed: int, length: int) -> list[float]:
    """Best so far of a search that draws at random."""
    drawn = random.Random(seed).sample(scale.times, length)
    return [min(drawn[: i + 1]) for i in range(length)]


def test_the_optimum_at_once_scores_one_and_the_expected_random_search_zero():
    scale = Scale.of(space(0, 300))
    span = scale.span()
    assert scale.score([scale.optimum], span) == pytest.approx(1)
    assert scale.score([scale.random(k) for k in range(1, span[-1] + 1)], span) == pytest.approx(0, abs=1e-12)


def test_the_score_is_the_mean_of_the_worked_example():
    scale = Scale.of([1.0, 2.0, 3.0, 4.0, 5.0])  # worst first 5 4 3 2 1, so random(1) = d[3] = 2, random(2) = d[4] = 1
    assert (scale.optimum, scale.median, scale.random(1), scale.random(2)) == (1.0, 3.0, 2.0, 1.0)
    assert scale.standing(1, 1.5) == pytest.approx(0.5)
    assert scale.standing(2, 1.5) is None
    assert scale.score([1.5], range(1, 6)) == pytest.approx(0.5)


def test_a_run_that_holds_nothing_is_worse_than_random_and_more_so_the_longer_it_goes():
    scale = Scale.of(space(1, 300))
    nothing, late = scale.score([], scale.span()), scale.score([scale.median] * 10 + [scale.optimum], scale.span())
    assert nothing < -1
    assert nothing < late < 1


def test_a_space_in_which_all_are_equal_has_no_score():
    assert Scale.of([2.0] * 9).score([2.0], range(1, 10)) is None


def test_a_space_of_one_config_is_not_an_error():
    scale = Scale.of([2.0])
    assert scale.score([2.0], scale.span()) is None
    assert scale.score([], scale.short_span()) is None


def test_a_space_without_a_time_has_no_scale():
    with pytest.raises(ValueError, match="no scale"):
        Scale.of([])


@pytest.mark.parametrize(("seed", "size"), [(1, 60), (2, 300), (3, 1009), (4, 4000)])
def test_it_equals_the_reference_implementation(tmp_path, seed, size):
    """Per run, over evaluations. Runs of several seeds are not compared: the reference takes the median rank over them
    and scores that one curve, here every run is scored and the mean taken, so that runs can be paired."""
    pytest.importorskip("autotuning_methodology", reason="pip install 'triton-autokernel[evals]'")
    from autotuning_methodology.baseline import RandomSearchCalculatedBaseline
    from autotuning_methodology.curves import StochasticOptimizationAlgorithm
    from autotuning_methodology.searchspace_statistics import SearchspaceStatistics

    scale = Scale.of(space(seed, size))
    path = tmp_path / "space_T4.json"
    path.write_text(json.dumps(t4(scale)))
    theirs = SearchspaceStatistics("toy", "toy", True, ["compilation"], ["time"], path, full_validate=False)
    start, stop, _, _ = theirs.cutoff_point_fevals_time_start_end(0.01, 0.95)
    assert scale.span() == range(start, stop + 1)
    for runs in range(5):
        curve = walk(scale, runs, min(size, scale.span()[-1]))
        fevals = np_column(range(1, len(curve) + 1))
        results = SimpleNamespace(
            fevals_results=fevals, objective_time_results=fevals.astype(float),
            objective_time_results_per_key=fevals[None].astype(float),
            objective_performance_best_results=np_column(curve),
            objective_performance_results_per_key=np_column(curve)[None],
        )  # fmt: skip
        described = SimpleNamespace(
            group_name="toy", device_name="toy", application_name="toy", stochastic=True, minimization=True,
            get_results=lambda results=results: results,
        )  # fmt: skip
        wanted = np_column(scale.span())[:, 0]
        dist = theirs.objective_performances_total_sorted
        _, _, found, _, _ = StochasticOptimizationAlgorithm(described).get_curve_over_fevals(
            wanted, dist=dist, return_split=False
        )
        points = RandomSearchCalculatedBaseline(theirs).get_standardised_curve(wanted, found, "fevals")
        assert scale.score(curve, scale.span()) == pytest.approx(float(points.mean()), abs=1e-6)


def np_column(values):
    import numpy as np

    return np.array([[v] for v in values])


def t4(scale: Scale) -> dict:
    times = {"compilation": 1.5, "runtimes": [1], "framework": 0, "search_algorithm": 0, "validation": 0}
    return {
        "schema_version": "1.0.0",
        "metadata": {"timeunit": "seconds"},
        "results": [
            {"configuration": {"x": i}, "times": times, "invalidity": "correct", "correctness": 1,
             "measurements": [{"name": "time", "value": t, "unit": "s"}], "objectives": ["time"], "timestamp": ""}
            for i, t in enumerate(scale.times)
        ],
    }  # fmt: skip
