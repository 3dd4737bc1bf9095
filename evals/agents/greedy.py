"""Greedy neighbours: walk to the first better neighbour, start anew at random where there is none."""

from __future__ import annotations

from evals.contest.briefing import Values
from evals.contest.game import Game, Reading


def search(game: Game) -> None:
    while untried := game.untried():
        start = game.rng.choice(untried)
        climb(game, start, game.measure(start))


def climb(game: Game, config: Values, reading: Reading) -> None:
    improved = True
    while improved:
        improved = False
        around = list(game.neighbours(config))
        game.rng.shuffle(around)
        for other in around:
            found = game.measure(other)
            if found.ms is not None and (reading.ms is None or found.ms < reading.ms):
                config, reading, improved = other, found, True
                break
