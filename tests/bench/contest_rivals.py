"""Agents of the contest (:mod:`evals.agents`) as rivals of the planner, on the bench's ledger and its seeds.

In the contest a referee in another process answers; here :class:`LedgerGame` does. So an agent gets the readings that
the planner gets with the same seed, and is scored by the same curve.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.stats.qmc

from evals.agents.registry import load
from evals.contest.briefing import Briefing, Values, identity
from evals.contest.game import Game
from evals.contest.ledger import Over
from tests.bench.planner_rivals import Ledger
from tests.bench.planner_spaces import Space
from tools.harness.landscapes.readings import config_key

CONTEST = {
    "optuna_tpe": "tpe",
    "optuna_gp": "gp",
    "kt_hybrid_vndx": "kt_hybrid_vndx",
    "kt_adaptive_tabu_greywolf": "kt_adaptive_tabu_greywolf",
    "forest_tree": "forest_tree",
    "forest_tree_quick": "forest_tree_quick",
}
"""Name in the bench → name in the contest. Optuna's have names of their own, because the bench's ``tpe`` is an older
one: one parameter at a time."""


class LedgerGame(Game):
    """A game whose referee is a ledger of the bench."""

    def __init__(self, space: Space, ledger: Ledger, seed: int) -> None:
        super().__init__(_briefing(space), seed, ledger.most, None)  # type: ignore[arg-type]  # nothing is sent
        self._ledger = ledger
        self._by_key = {config_key(c.model_dump(mode="json")): c for c in space.configs}

    def _ask(self, what: str, about: Values | list[Values]) -> dict[str, Any]:
        if what != "measure" or isinstance(about, list):
            raise NotImplementedError(f"a rival of the bench measures, and does not {what}")
        config = self._by_key[config_key(about)]
        if config not in self._ledger.measured and self._ledger.spent:
            raise Over("budget")
        self._ledger.evaluate(config)
        found = self._ledger.measured[config]
        return {"status": found.status, "ms": found.ms, "reason": found.reason}


def play(agent: str, space: Space, ledger: Ledger, seed: int) -> None:
    """The agent of the contest until its evaluations are used up."""
    with _own_chance():
        try:
            load(CONTEST[agent])(LedgerGame(space, ledger, seed))
        except Over:
            return


@contextmanager
def _own_chance() -> Iterator[None]:
    """Kernel Tuner draws from the global generators. Whoever searches next in this process must not notice."""
    hypercube: Any = scipy.stats.qmc
    before = random.getstate(), np.random.get_state(), hypercube.LatinHypercube
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        hypercube.LatinHypercube = before[2]


def _briefing(space: Space) -> Briefing:
    """What a stranger's file tells: parameters and configs, in the file's order."""
    configs = tuple(json.loads(json.dumps(c.model_dump(mode="json"))) for c in space.configs)
    parameters = {}
    for name in dict.fromkeys(n for c in configs for n in c):
        different = list({identity(c[name]): c[name] for c in configs if name in c}.values())
        numbers = all(isinstance(v, int | float) for v in different)
        parameters[name] = tuple(sorted(different) if numbers else different)
    return Briefing(space.name, parameters, configs)
