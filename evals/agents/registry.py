"""Agents by name. An agent is a file in ``evals/agents/`` with ``search(game)``; ``model:NAME`` is the project's own
loop with any language model, ``path.py`` a file of yours."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from evals.contest.game import Game
from evals.errors import EvalsError, Missing

Search = Callable[[Game], None]
NOT_AGENTS = {"__init__", "loop", "optuna_search", "kernel_tuner_search"}
"""What several agents share."""
MODEL = "model:"


def names() -> list[str]:
    """Those that come with the project."""
    files = (Path(f.name) for f in resources.files("evals.agents").iterdir())
    return sorted(f.stem for f in files if f.suffix == ".py" and f.stem not in NOT_AGENTS)


def check(agent: str) -> None:
    """Raises EvalsError in one sentence where there is no such agent."""
    if agent.startswith(MODEL):
        if not agent.removeprefix(MODEL):
            raise EvalsError("model: names no model: write e.g. model:gpt-5")
    elif agent.endswith(".py"):
        if not Path(agent).is_file():
            raise EvalsError(f"there is no agent file {agent}: check the path")
    elif agent in names():
        library = needs(agent)
        if library is not None and importlib.util.find_spec(library) is None:
            raise Missing(f"the agent {agent} needs {library}: pip install 'triton-autokernel[evals]'")
    else:
        raise EvalsError(
            f"there is no agent {agent!r}: choose among {', '.join(names())}, model:NAME, or a file of yours with "
            "search(game)"
        )


def needs(agent: str) -> str | None:
    """The optional library behind an agent."""
    return "kernel_tuner" if agent.startswith("kt_") else "optuna" if agent in ("tpe", "gp") else None


def load(agent: str) -> Search:
    """The agent's function; in its own process, as its module may do anything."""
    if agent.startswith(MODEL):
        from evals.agents.loop import run

        return lambda game: run(game, agent.removeprefix(MODEL))
    if not agent.endswith(".py"):
        search: Search = importlib.import_module(f"evals.agents.{agent}").search
        return search
    spec = importlib.util.spec_from_file_location("an_agent", agent)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own: Search = module.search
    return own


def preload(agents: list[str]) -> list[str]:
    """Modules that every run of these agents needs: imported once, before the runs are forked off."""
    from tools.registry import modules

    wanted = ["evals.contest.player_process"]
    if any(a == "embedded" or a.startswith(MODEL) for a in agents):
        wanted += [
            "evals.agents.loop",
            "agent.loop.graph",
            "sklearn.gaussian_process",
            "scipy.optimize",
            "scipy.special",
        ]
        wanted += ["langgraph.checkpoint.sqlite", "tools.planner.propose", *modules().values()]
    parts = {"kernel_tuner": ["kernel_tuner.interface", "kernel_tuner.searchspace"], "optuna": ["optuna.samplers"]}
    for library in {needs(a) for a in agents} - {None}:
        wanted += parts[str(library)]
    return wanted
