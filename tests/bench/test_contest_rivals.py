"""Agents of the contest search the bench's spaces on the planner's ledger and seeds."""

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
import scipy.stats.qmc

from tests.bench.bench_planner import search
from tests.bench.contest_rivals import CONTEST, LedgerGame
from tests.bench.planner_rivals import Ledger
from tests.bench.planner_spaces import load

MOST = 12
LIBRARIES = {"optuna": "optuna", "kt": "kernel_tuner", "forest": "sklearn"}


@pytest.fixture(scope="module")
def space():
    return load(Path(__file__).with_name("spaces") / "c_nbody_1024.json.gz", "raw")


@pytest.mark.parametrize("agent", [a for a in CONTEST if a != "optuna_gp"])
def test_a_rival_spends_its_evaluations_and_leaves_chance_as_it_was(agent, space):
    library = LIBRARIES[agent.partition("_")[0]]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    random.seed(7)
    np.random.seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist(), scipy.stats.qmc.LatinHypercube
    first = search(agent, space, 3, MOST)
    assert (random.getstate(), np.random.get_state()[1].tolist(), scipy.stats.qmc.LatinHypercube) == before
    assert len(first.curve) == MOST
    assert search(agent, space, 3, MOST).curve == first.curve
    assert first.curve == sorted(first.curve, reverse=True)


def test_a_reading_is_the_one_that_the_planner_gets_with_the_seed(space):
    ledger, other = Ledger(space, 5, MOST), Ledger(space, 5, MOST)
    game = LedgerGame(space, ledger, 5)
    wanted = [other.evaluate(c) for c in space.configs[:4]]
    assert [game.measure(c).ms for c in game.configs[:4]] == wanted
    assert [game.measure(c).ms for c in game.configs[:4]] == wanted  # a repetition is answered, and costs nothing
    assert ledger.curve == other.curve
