"""When it advises a stop, and when not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tools.planner.problems import H200, SPEC, SQUARE, STRANGE, StrangeProblem, measured, ms, strange, task
from tools.planner import surrogate
from tools.planner.evidence import Evidence
from tools.planner.propose import Planner
from tools.planner.stopping import WORTH_A_MEASUREMENT, advise
from tools.session.task import Task


def test_an_exhausted_or_empty_space_stops():
    seen = {c: measured(c, 1.0) for c in STRANGE}
    t = Task(SPEC, StrangeProblem(), H200)
    assert Planner(t, STRANGE).propose(Evidence(measured=seen), 8).stop
    empty = Planner(t, []).propose(Evidence(), 8)
    assert empty.stop
    assert not empty.proposals


def test_it_stops_when_the_rest_cannot_win_and_not_while_it_may():
    space = SPEC.space(SQUARE, H200)
    ranked = sorted(space, key=ms)
    planner = Planner(task(), space)
    settled = planner.propose(Evidence(measured={c: measured(c, ms(c)) for c in ranked[:80] + ranked[80::20]}), 4)
    assert settled.stop, settled.why
    assert settled.proposals, "a caller may go on"
    unsettled = planner.propose(Evidence(measured={c: measured(c, ms(c)) for c in ranked[-80:]}), 4)
    assert not unsettled.stop


def timed(*readings):
    return Evidence(measured={c: measured(c, ms) for c, ms in zip(STRANGE, readings, strict=False)})


FALLING = [2 - i / 200 for i in range(80)]
"""The last is the best."""
FOUND_EARLY = [1.0, *(2.0 for _ in range(79))]


def test_a_search_that_still_finds_better_does_not_stop_where_only_data_teach():
    assert not advise(timed(*FALLING), 1.0, 0.0, blind=True, taught=False).stop
    assert advise(timed(*FOUND_EARLY), 1.0, 0.0, blind=True, taught=False).stop
    assert advise(timed(*FALLING), 1.0, 0.0, blind=False, taught=False).stop


def test_few_measurements_are_no_reason_to_stop():
    assert not advise(timed(*FOUND_EARLY[:20]), 1.0, 0.0, blind=True, taught=False).stop
    assert advise(timed(*FOUND_EARLY[:20]), 1.0, 0.0, blind=False, taught=False).stop
    assert not advise(timed(*FOUND_EARLY[:8]), 1.0, 0.0, blind=False, taught=False).stop
    assert advise(timed(*FOUND_EARLY[:8]), 1.0, 0.0, blind=False, taught=True).stop
    assert not advise(Evidence(), 1.0, 0.0, blind=False, taught=False).stop


def test_an_uncertainty_that_was_too_small_counts_as_too_small():
    small = 0.5 * WORTH_A_MEASUREMENT
    assert advise(timed(*FOUND_EARLY), 1.0, small, blind=False, taught=False).stop
    assert not advise(timed(*FOUND_EARLY), 3.0, small, blind=False, taught=False).stop


@pytest.mark.parametrize("gain", [0.0, 0.02])
def test_the_advice_says_why(gain):
    why = advise(timed(*FOUND_EARLY), 1.0, gain, blind=True, taught=False).why
    assert f"{gain:.2%}" in why
    assert ("the last 79 of 80 found nothing better" in why) == (gain == 0)


def test_surprise_tells_an_honest_uncertainty_from_one_that_is_too_small():
    rng = np.random.default_rng(2)
    points = rng.random((40, 2))
    smooth, noise = np.sin(3 * points[:, 0]), rng.normal(0, 1.0, 40)
    honest = surrogate.fit(points, np.zeros(40), smooth, informed=True)
    wrong = surrogate.fit(points, np.zeros(40), noise, informed=True)  # noise of at most 5 % is believed
    assert honest.surprise < 1.5
    assert wrong.surprise > honest.surprise


def test_it_goes_on_after_a_stop():
    seen = {c: strange(c) for c in STRANGE[:-2]}
    plan = Planner(Task(SPEC, StrangeProblem(), H200), STRANGE).propose(Evidence(measured=seen), 8)
    assert len(plan.proposals) == 2
