"""Searches that need nothing but the space: what every other agent is measured against."""

from __future__ import annotations

from evals.contest.briefing import Values
from evals.contest.game import Game, Reading


def measure_default(game: Game) -> None:
    """No tuning: the config that the kernel's author would write down first, or the file's first one."""
    game.measure(game.briefing.default or game.configs[0])


def measure_in_order(game: Game) -> None:
    """The space in the order in which its author wrote it down."""
    game.measure_all(game.configs)


def draw_at_random(game: Game) -> None:
    """Uniform draws without repeats."""
    game.measure_all(game.rng.sample(game.configs, len(game.configs)))


def climb_greedily(game: Game) -> None:
    """Walk to the first better neighbour; if there is none, start again at random."""
    while untried := game.untried():
        start = game.rng.choice(untried)
        climb(game, start, game.measure(start))


def climb(game: Game, config: Values, reading: Reading) -> None:
    """Walk from `config`, which gave `reading`, to a config without a better neighbour."""
    improved = True
    while improved:
        improved = False
        neighbours = list(game.neighbours(config))
        game.rng.shuffle(neighbours)
        for other in neighbours:
            found = game.measure(other)
            if found.ms is not None and (reading.ms is None or found.ms < reading.ms):
                config, reading, improved = other, found, True
                break
