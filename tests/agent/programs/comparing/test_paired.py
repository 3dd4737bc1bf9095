from __future__ import annotations

import math
import random

import pytest

from agent.programs.comparing.paired import mean_interval, saving_interval, speedup_interval, word_of


def test_the_interval_holds_the_mean_in_95_of_100_samples():
    rng = random.Random(0)
    for n in (5, 12, 40):
        held = 0
        for _ in range(1500):
            found = mean_interval([rng.gauss(3.0, 2.0) for _ in range(n)])
            held += found.low <= 3.0 <= found.high
        assert held / 1500 == pytest.approx(0.95, abs=0.017)


def test_a_drift_that_falls_on_both_runs_of_a_pair_is_no_difference_and_hides_none():
    drift = [1.0, 1.3, 1.7, 2.2, 3.0]
    found = speedup_interval([d * 1.10 for d in drift], drift)
    assert (found.value, found.low, found.high) == pytest.approx((1.1, 1.1, 1.1))
    assert word_of(found) == "faster"
    assert word_of(speedup_interval(drift, drift)) == "no difference"


def test_a_rate_is_better_if_it_is_higher():
    assert speedup_interval([100.0] * 5, [120.0] * 5, higher_is_better=True).value == pytest.approx(1.2)
    assert word_of(speedup_interval([100.0] * 5, [120.0] * 5)) == "slower"


def test_a_saving_is_in_the_unit_of_the_times():
    found = saving_interval([5.0, 6.0, 5.0, 6.0, 5.0], [4.0, 4.0, 4.0, 4.0, 4.0])
    assert found.value == pytest.approx(1.4)
    half = 2.776 * math.sqrt(0.3) / math.sqrt(5)
    assert (found.low, found.high) == pytest.approx((1.4 - half, 1.4 + half))
    assert word_of(found, 0.0) == "faster"


def test_one_pair_has_no_interval():
    with pytest.raises(ValueError, match="two pairs"):
        mean_interval([1.0])
