"""Uniform draws without repeats: what every other agent is measured against."""

from __future__ import annotations

from evals.contest.game import Game


def search(game: Game) -> None:
    game.measure_all(game.rng.sample(game.configs, len(game.configs)))
