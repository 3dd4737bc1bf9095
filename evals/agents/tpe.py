"""Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

from evals.agents.optuna_search import optuna, run
from evals.contest.game import Game


def search(game: Game) -> None:
    run(game, optuna().samplers.TPESampler(seed=game.seed))
