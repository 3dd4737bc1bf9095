"""The oracle of set A, the regret by set B and its interval, evaluations until it is small."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from evals.contest.ledger import Ledger, Row
from evals.scoring.regret import regret_interval, resample_time
from evals.scoring.score import Board, Score
from evals.scoring.score_tables import COLUMNS, as_json, overall_cells, standing
from evals.scoring.summary import aggregate
from tests.evals.scoring.test_summary import score
from tests.evals.spaces import BEST, LUCKY, hills, honest
from tools.harness.landscapes.readings import ReadingSet, config_key

NEXT_BEST = {"BLOCK": 64, "num_warps": 4, "order": "column"}


def played(board: Board, *configs: dict, seed: int = 0) -> Score:
    rows = [Row(config_key(c), "correct", board.seen[config_key(c)], float(i)) for i, c in enumerate(configs)]
    name = board.landscape.name
    return board.score(Ledger("a", name, name, "", "plain", seed, 50, rows))


def noisy(spread: float):
    """Hills whose sittings have seven readings within ± `spread`."""
    made, rng = honest(), random.Random(0)
    for entry in made.entries.values():
        for name, readings in list(entry.sets.items()):
            ms = readings.raw_ms
            drawn = sorted(ms * (1 + rng.uniform(-spread, spread)) for _ in range(6))
            entry.sets[name] = ReadingSet(samples_ms=[*drawn[:3], ms, *drawn[3:]])
    return made


def test_the_oracle_trusts_a_lucky_reading_and_is_valued_by_set_b():
    board = Board(hills())
    assert board.oracle_regret == pytest.approx(board.true[config_key(LUCKY)] - 1)
    assert board.oracle_P == pytest.approx(played(board, LUCKY).P)
    assert Board(honest()).oracle_P == pytest.approx(1)
    assert Board(honest()).oracle_regret == 0


def test_p_is_a_share_of_the_oracles_and_none_where_the_oracle_is_no_better_than_random():
    assert replace(score(P=0.6)).of_oracle == pytest.approx(0.75)
    assert replace(score(P=0.6), oracle_P=-0.1).of_oracle is None
    assert replace(score(), P=None).of_oracle is None


def test_the_share_overall_is_of_the_means_and_has_an_interval():
    runs = [replace(score(landscape=x, seed=s, P=p + s / 100), oracle_P=o)
            for x, p, o in (("x", 0.9, 1.0), ("y", 0.3, 0.6)) for s in range(3)]  # fmt: skip
    found = aggregate(runs)
    assert found.of_oracle == pytest.approx((0.91 + 0.31) / 1.6)
    low, high = found.of_oracle_ci
    assert 0.5 < low < found.of_oracle < high < 0.93
    # Resampling may draw the landscape on which the oracle has nothing to share, alone.
    poor = aggregate([*runs, replace(score(landscape="z", P=0.1), oracle_P=-0.2)])
    assert (poor.of_oracle is not None, poor.of_oracle_ci) == (True, None)


@pytest.mark.parametrize(("order", "evaluations"), [((BEST,), 1), ((NEXT_BEST, LUCKY, BEST), 3), ((NEXT_BEST,), None)])
def test_evaluations_until_the_regret_is_at_most_one_per_cent(order, evaluations):
    assert played(Board(honest()), *order).evals_to_near == evaluations


def test_the_interval_of_a_regret_is_as_wide_as_its_readings_scatter():
    spans = []
    for spread in (0.001, 0.02):
        found = aggregate([played(Board(noisy(spread)), NEXT_BEST, seed=s) for s in range(5)])
        low, high = found.regret_ci
        assert low <= found.regret <= high
        spans.append(high - low)
    assert spans[1] > 5 * spans[0] > 0


def test_the_best_config_has_no_regret_however_its_readings_scatter():
    assert aggregate([played(Board(noisy(0.02)), BEST)]).regret_ci == (0, 0)


def test_sittings_that_disagree_widen_the_interval_more_than_readings_within_one_do():
    steady, drifting = noisy(0.0005), noisy(0.0005)
    for i, entry in enumerate(drifting.entries.values()):
        if "A" in entry.sets:
            entry.sets["A"] = ReadingSet(samples_ms=[t * (1.03 if i % 2 else 0.97) for t in entry.sets["A"].samples_ms])
    widths = [np.std(resample_time(x, x.entries[config_key(BEST)])) for x in (steady, drifting)]
    assert widths[1] > 10 * widths[0]


def test_readings_are_resampled_the_same_way_every_time():
    one, other = (Board(noisy(0.02)) for _ in range(2))
    other.resample_regret(config_key(LUCKY))  # what else was asked for changes nothing
    assert (one.resample_regret(config_key(NEXT_BEST)) == other.resample_regret(config_key(NEXT_BEST))).all()


def test_the_interval_resamples_landscapes_runs_and_readings():
    rng = np.random.default_rng(3)
    level = [[np.full(2000, 0.01)] * 4] * 3
    assert regret_interval(level) == pytest.approx((0.01, 0.01))
    for varied in (
        [[np.full(2000, x)] * 4 for x in (0.0, 0.01, 0.02)],
        [[np.full(2000, x) for x in (0.0, 0.01, 0.02)]],
        [[rng.normal(0.01, 0.01, 2000)] * 4] * 3,
    ):
        low, high = regret_interval(varied)
        assert low < 0.009 < 0.011 < high


def test_a_stated_time_has_no_scatter():
    made = honest()
    for entry in made.entries.values():
        if entry.sets:
            entry.stated_ms, entry.sets = entry.sets["A"].raw_ms, {}
    assert aggregate([played(Board(made), NEXT_BEST)]).regret_ci == pytest.approx((0.1, 0.12), abs=0.011)


def test_tables_and_json_lead_with_share_regret_and_evaluations():
    board = Board(honest())
    rows = [Row(config_key(BEST), "correct", 1.0, 0.0)]
    s = standing([Ledger("a", "honest", "honest", "", "plain", 0, 50, rows)], {"honest": board})
    cells = dict(zip(COLUMNS, overall_cells(s.overall()[0]), strict=True))
    assert list(cells)[:6] == ["agent", "of oracle", "of oracle 95 %", "regret", "regret 95 %", "to 1 %"]
    assert list(cells.values())[:6] == ["a", "100%", "100 … 100 %", "0.00%", "0.00 … 0.00 %", "1"]
    overall = as_json(s)["overall"][0]
    assert (overall["P_of_oracle"], overall["regret_ci"], overall["evals_to_1_percent"]) == (1.0, [0.0, 0.0], 1.0)
