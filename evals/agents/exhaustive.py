"""The space in the order in which its author wrote it down."""

from __future__ import annotations

from evals.contest.game import Game


def search(game: Game) -> None:
    game.measure_all(game.configs)
