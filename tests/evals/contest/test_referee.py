"""The ledger, and what is read from it."""

from __future__ import annotations

import pytest

from evals.contest.ledger import PATIENCE, Ledger, Over, Referee
from evals.errors import EvalsError
from evals.scoring.score import Board
from tests.evals.spaces import BEST, BROKEN, LUCKY, hills, honest
from tools.harness.landscapes.readings import config_key

pytestmark = pytest.mark.process

SLOW = {"BLOCK": 16, "num_warps": 32, "order": "column"}


def referee(landscape=None, max_evals=10) -> Referee:
    landscape = landscape or honest()
    return Referee(landscape, Ledger("someone", landscape.name, "file", "file", "plain", 0, max_evals))


def scored(r: Referee):
    return Board(r.landscape).score(r.ledger)


def test_the_clock_charges_what_was_recorded_and_revisits_are_free():
    r = referee()
    assert r.measure(BEST).ms == 1.0
    assert r.ledger.seconds == 1.5
    again = r.measure(BEST)
    assert (again.ms, r.ledger.seconds, len(r.ledger.rows), r.ledger.duplicates) == (1.0, 1.5, 1, 1)


def test_compiling_first_costs_the_same_and_is_no_evaluation():
    r = referee()
    r.compile([BEST])
    assert (r.ledger.seconds, r.ledger.rows) == (1.0, [])
    r.measure(BEST)
    assert (r.ledger.seconds, len(r.ledger.rows)) == (1.5, 1)


def test_a_failed_compilation_is_an_evaluation():
    r = referee()
    assert [e.status for e in r.compile([BROKEN])] == ["compile"]
    assert [row.status for row in r.ledger.rows] == ["compile"]
    assert scored(r).invalid_share == 1.0


def test_a_config_outside_the_space_is_no_evaluation():
    r = referee()
    assert r.measure({"BLOCK": 7}).status == "constraints"
    assert (r.compile([{"BLOCK": 7}]), r.check([{"BLOCK": 7}])) == ([None], ["constraints"])
    assert (r.ledger.rows, r.ledger.seconds, r.ledger.refused) == ([], 0.0, 3)


def test_a_check_that_passes_is_no_evaluation_and_one_that_fails_is():
    r = referee()
    assert r.check([BEST, BROKEN, BEST]) == ["correct", "compile", "correct"]
    assert [row.status for row in r.ledger.rows] == ["compile"]
    assert scored(r).regret is None, "a check is no measurement"
    r.measure(BROKEN)
    assert len(r.ledger.rows) == 1


def test_the_budget_ends_the_run():
    r = referee(max_evals=2)
    r.measure(SLOW)
    r.measure(BROKEN)
    r.measure(SLOW)
    with pytest.raises(Over, match="all 2 evaluations"):
        r.measure(BEST)
    assert (r.ledger.end, len(r.ledger.rows)) == ("budget", 2)


def test_asking_for_the_same_for_ever_ends_the_run():
    r = referee()
    for _ in range(PATIENCE + 1):
        r.measure(BEST)
    with pytest.raises(Over, match="taught nothing"):
        r.measure(BEST)
    assert r.ledger.end == "stalled"


def test_a_lucky_reading_earns_nothing():
    r = referee(hills())
    r.measure(BEST)
    before = scored(r)
    r.measure(LUCKY)
    after = scored(r)
    assert (before.regret, before.passed) == (0.0, True)
    assert after.regret == pytest.approx(0.4, abs=0.02)
    assert not after.passed
    assert after.P < before.P


def test_evaluations_and_seconds_to_a_share_of_the_optimum():
    r = referee()
    for config in (SLOW, {**BEST, "order": "column"}, BEST):
        r.measure(config)
    s = scored(r)
    assert s.evals_to == {90: 2, 95: 3, 99: 3}
    assert s.seconds_to == {90: 3.0, 95: 4.5, 99: 4.5}
    assert s.regret == 0.0


def test_a_run_without_a_valid_config_reached_nothing():
    r = referee()
    r.measure(BROKEN)
    s = scored(r)
    assert (s.evals_to[90], s.regret, s.passed) == (None, None, False)
    assert s.P < 0


def test_the_ledger_is_scored_by_its_configs_not_by_its_numbers():
    r = referee()
    r.measure(SLOW)
    honest_score = scored(r)
    forged = Ledger.from_json(r.ledger.as_json())
    forged.rows[0] = type(forged.rows[0])(config_key(SLOW), "correct", 1e-9, 0.0)
    assert Board(r.landscape).score(forged).regret == honest_score.regret


def test_a_landscape_without_a_valid_config_is_refused():
    empty = honest()
    for key in [k for k, e in empty.entries.items() if e.status == "correct"]:
        del empty.entries[key]
    with pytest.raises(EvalsError, match="no valid config"):
        Board(empty)
