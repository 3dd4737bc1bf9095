"""Kernel Tuner's genetic algorithm, default options."""

from __future__ import annotations

from evals.agents.kernel_tuner_search import run
from evals.contest.game import Game


def search(game: Game) -> None:
    run(game, "genetic_algorithm")
