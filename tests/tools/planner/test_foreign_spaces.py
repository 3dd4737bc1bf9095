"""The planner on other people's recordings, and the views in which the bench shows a space."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from evals.scoring.methodology import Scale
from tests.bench.bench_planner import constants, plan_search, search
from tests.bench.planner_rivals import Ledger
from tests.bench.planner_spaces import VIEWS, load
from tools.harness.landscapes.named import folder
from tools.planner import surrogate

SPACES = sorted((Path(__file__).parents[2] / "bench" / "spaces").glob("*.json.gz"))
MATMUL = next(p for p in SPACES if "gemm" in p.name)


@pytest.mark.parametrize("view", [v for v in VIEWS if v != "plain"])
def test_a_view_hides_names_and_keeps_times(view):
    raw, space = load(MATMUL, "raw"), load(MATMUL, view)
    assert set(space.times.values()) <= set(raw.times.values())
    assert space.free(space.configs[0]) is None
    sizes = {"half": len(raw.configs) // 2, "family": 470, "failing": len(raw.configs)}
    assert len(space.configs) == pytest.approx(sizes.get(view, len(raw.configs)), rel=0.1)
    assert [c.key() for c in load(MATMUL, view).configs] == [c.key() for c in space.configs]
    first = space.configs[0].model_dump()
    assert (view == "onehot") == all(isinstance(v, str) for v in first.values())


def test_samples_that_contradict_the_stated_time_only_scatter(tmp_path):
    """Kernel Tuner caches that were converted from another tuner's results hold samples of another clock."""
    values = {"BLOCK": [32, 64]}
    entry = {"times": [0.50, 0.51, 0.52], "time": 52.0}
    cache = {f"{b}": {"BLOCK": b, **entry, "time": entry["time"] * b / 32} for b in values["BLOCK"]}
    path = tmp_path / "other_clock.json"
    about = {"device_name": "some GPU", "kernel_name": "k", "tune_params_keys": ["BLOCK"], "tune_params": values}
    path.write_text(json.dumps({**about, "cache": cache}))
    space = load(path, "raw")
    for config, ms in space.times.items():
        assert space.answer(config, np.random.default_rng(0)).ms == pytest.approx(ms, rel=0.05)


def test_a_search_without_a_cost_model_stops_when_the_rest_cannot_win():
    space = load(folder() / "attention-4x32x4096x128-fp16-h200.json.gz", "raw")
    ledger = Ledger(space, 0, 60)
    found = plan_search(space, ledger, 0)
    assert found.stop < 60
    assert found.at(found.stop) <= 1.01 * space.optimum


def test_pairs_that_fail_cover_a_part_of_the_space():
    raw, failing = load(MATMUL, "raw"), load(MATMUL, "failing")
    assert 0.5 * len(raw.times) < len(failing.times) < 0.97 * len(raw.times)
    assert len(failing.spoilt) > 0


def test_permuted_values_are_the_same_values_for_other_configs():
    raw, permuted = load(MATMUL, "raw"), load(MATMUL, "permuted")
    for name in type(raw.configs[0]).model_fields:
        assert {getattr(c, name) for c in raw.configs} == {getattr(c, name) for c in permuted.configs}
    recorded = {c.key(): ms for c, ms in raw.times.items()}
    assert any(recorded.get(c.key()) != ms for c, ms in permuted.times.items())


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "path", [p if p == MATMUL else pytest.param(p, marks=pytest.mark.long) for p in SPACES], ids=lambda p: p.name
)
def test_strangers_spaces_are_searched_better_than_at_random(path):
    space = load(path, "raw")
    found = [search("planner", space, seed, 40).curve[-1] for seed in range(3)]
    drawn = Scale.of(space.times.values()).random(40)
    assert fmean(found) / space.optimum - 1 < 0.75 * (drawn / space.optimum - 1)


def test_no_config_is_evaluated_twice_and_a_failure_counts():
    space = load(MATMUL, "failing")
    ledger = Ledger(space, 1, 25)
    plan_search(space, ledger, 1)
    assert len(ledger.measured) == len(ledger.curve) == 25


def test_constants_of_a_setting_are_put_back():
    before = surrogate.PRIOR_SPREAD
    with constants("trust the cost model"):
        assert before > surrogate.PRIOR_SPREAD
    assert before == surrogate.PRIOR_SPREAD
