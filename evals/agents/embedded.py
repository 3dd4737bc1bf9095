"""The project's own agent without a language model: the real loop, tools, planner and memory."""

from __future__ import annotations

from evals.agents.loop import run
from evals.contest.game import Game


def search(game: Game) -> None:
    run(game, "embedded")
