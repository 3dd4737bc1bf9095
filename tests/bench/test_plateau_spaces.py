"""Made-up spaces: the same ones each time, with many configs near the best."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.plateau_spaces import plateau, rows


@pytest.mark.parametrize("make", [lambda: plateau(0), lambda: rows("softmax", 16384, 2048)])
def test_a_space_is_the_same_each_time_and_has_many_configs_near_the_best(make):
    landscape = make()
    assert landscape == make()
    pairs = np.array(landscape.pairs())
    assert len(pairs) > 100
    assert 0.1 < (pairs[:, 0] < 1.05 * pairs[:, 0].min()).mean() < 0.5
    assert 0.001 < landscape.scatter < 0.006
