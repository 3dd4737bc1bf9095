"""Agents by name. An agent is a function ``search(game)``; those that come with the project are the rows of AGENTS.

``model:NAME`` is the project's own loop with any language model. A user's agent is named as ``path.py:NAME``,
``module:NAME``, or ``path.py`` for the function ``search`` in that file.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from evals.contest.game import Game
from evals.errors import EvalsError, Missing
from kernels import finder

Search = Callable[[Game], None]
MODEL = "model:"


@dataclass(frozen=True)
class Agent:
    """An agent that comes with the project."""

    search: str
    """``module:function``, imported in the agent's own process."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function, beside the game."""
    library: str | None = None
    """The optional library that it needs."""


LOOP = "evals.agents.loop:run"
OPTUNA = "evals.agents.optuna_search:run"
KERNEL_TUNER = "evals.agents.kernel_tuner_search:run"

FOREST = "evals.agents.forest_search:run"

AGENTS = {
    "default": Agent("evals.agents.searches:measure_default"),
    "embedded": Agent(LOOP, {"model": "embedded"}),
    "exhaustive": Agent("evals.agents.searches:measure_in_order"),
    "forest_tree": Agent(FOREST, {"population": 100, "copies": 5, "generations": 20}, "sklearn"),
    "forest_tree_quick": Agent(FOREST, {"population": 30, "copies": 2, "generations": 5}, "sklearn"),
    "gp": Agent(OPTUNA, {"sampler": "GPSampler"}, "optuna"),
    "greedy": Agent("evals.agents.searches:climb_greedily"),
    "kt_adaptive_tabu_greywolf": Agent(KERNEL_TUNER, {"strategy": "adaptive_tabu_greywolf"}, "kernel_tuner"),
    "kt_diff_evo": Agent(KERNEL_TUNER, {"strategy": "diff_evo"}, "kernel_tuner"),
    "kt_genetic_algorithm": Agent(KERNEL_TUNER, {"strategy": "genetic_algorithm"}, "kernel_tuner"),
    "kt_greedy_ils": Agent(KERNEL_TUNER, {"strategy": "greedy_ils"}, "kernel_tuner"),
    "kt_hybrid_vndx": Agent(KERNEL_TUNER, {"strategy": "hybrid_vndx"}, "kernel_tuner"),
    "kt_pso": Agent(KERNEL_TUNER, {"strategy": "pso"}, "kernel_tuner"),
    "kt_simulated_annealing": Agent(KERNEL_TUNER, {"strategy": "simulated_annealing"}, "kernel_tuner"),
    "random": Agent("evals.agents.searches:draw_at_random"),
    "tpe": Agent(OPTUNA, {"sampler": "TPESampler"}, "optuna"),
}
"""The agents that come with the project, in the order in which they are listed. The searches of ``kt_`` agents and of
``tpe`` (tree-structured Parzen estimator) and ``gp`` (Gaussian process, expected improvement) have default options.
``forest_tree`` has the sizes of Helion's full effort, ``forest_tree_quick`` those of its quick effort."""

PRELOADED = {
    LOOP: (
        "evals.agents.loop",
        "agent.loop.graph",
        "scipy.optimize",
        "scipy.spatial.distance",
        "scipy.special",
        "langgraph.checkpoint.sqlite",
    ),
    OPTUNA: ("optuna.samplers",),
    KERNEL_TUNER: ("kernel_tuner.interface", "kernel_tuner.searchspace"),
    FOREST: ("sklearn.ensemble",),
}
"""By search: modules that its runs need."""


def names() -> list[str]:
    """The agents that come with the project."""
    return list(AGENTS)


def check(agent: str) -> None:
    """Raises EvalsError, in one sentence, if there is no such agent. No code of the agent's is run."""
    if agent.startswith(MODEL):
        if not agent.removeprefix(MODEL):
            raise EvalsError("model: names no model: write e.g. model:gpt-5")
    elif agent in AGENTS:
        library = AGENTS[agent].library
        if library is not None and importlib.util.find_spec(library) is None:
            raise Missing(f"the agent {agent} needs {library}: pip install 'triton-autokernel[evals]'")
    elif (reference := own_reference(agent)) is not None:
        source, _ = finder.split_reference(reference) or ("", "")
        if finder.source_file(reference) is None:
            raise EvalsError(
                f"there is no agent file {source}: check the path"
                if source.endswith(".py")
                else f"there is no module {source} for the agent {agent}: check its name"
            )
    else:
        raise EvalsError(
            f"there is no agent {agent!r}: choose among {', '.join(names())}, model:NAME, or a function of yours, "
            "search(game), as path.py:NAME or module:NAME"
        )


def own_reference(agent: str) -> str | None:
    """The reference of a user's agent: `agent` itself, or ``path.py:search`` for ``path.py``; ``None`` for a name."""
    if agent.startswith(MODEL) or agent in AGENTS:
        return None
    if agent.endswith(".py"):
        return f"{agent}:search"
    return agent if finder.split_reference(agent) is not None else None


def source_file(agent: str) -> Path | None:
    """The file of a user's agent, or of a user's chat model; ``None`` for agents that come with the project."""
    reference = agent.removeprefix(MODEL) if agent.startswith(MODEL) else own_reference(agent)
    return None if reference is None or finder.split_reference(reference) is None else finder.source_file(reference)


def load(agent: str) -> Search:
    """The agent's function; called in the agent's own process, because its module may do anything. Raises Missing, in
    one sentence, if a user's agent cannot be loaded."""
    reference = own_reference(agent)
    if reference is not None:
        return load_own(reference)
    known = Agent(LOOP, {"model": agent.removeprefix(MODEL)}) if agent.startswith(MODEL) else AGENTS[agent]
    module, _, function = known.search.partition(":")
    search: Search = partial(getattr(importlib.import_module(module), function), **known.options)
    return search


def load_own(reference: str) -> Search:
    """A user's function. Raises Missing."""
    try:
        found = finder.find(reference, "agent", describe_functions)
    except finder.NotFound as e:
        raise Missing(str(e)) from e
    if not callable(found.value):
        raise Missing(f"{reference} is no function search(game); {describe_functions(found.module)}")
    search: Search = found.value
    return search


def describe_functions(module: ModuleType) -> str:
    """The functions that `module` defines, for an error message."""
    functions = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
    return f"it defines {', '.join(functions)}" if functions else "it defines no function"


def preload(agents: Sequence[str]) -> list[str]:
    """Modules that every run of these agents needs: imported once, before the runs are forked off."""
    from tools.registry import modules as tool_modules

    wanted = ["evals.contest.player_process"]
    used = {LOOP if a.startswith(MODEL) else AGENTS[a].search for a in agents if a.startswith(MODEL) or a in AGENTS}
    for search, modules in PRELOADED.items():
        wanted += modules if search in used else ()
    if LOOP in used:
        wanted += ["tools.planner.propose", *tool_modules().values()]
    return wanted
