"""Kernel Tuner's greedy iterated local search, default options."""

from __future__ import annotations

from evals.agents.kernel_tuner_search import run
from evals.contest.game import Game


def search(game: Game) -> None:
    run(game, "greedy_ils")
