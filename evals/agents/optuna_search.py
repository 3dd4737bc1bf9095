"""Any Optuna sampler on a space with holes in it."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np

from evals.contest.game import Game
from evals.errors import Missing
from tools.harness.landscapes.readings import config_key

LEAST = 5
"""Major version of Optuna: from it on the samplers' defaults are what its authors recommend. TPE looks at all
parameters together there."""


def import_optuna() -> Any:
    """Optuna, quiet. Raises Missing."""
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as e:
        raise Missing("this agent needs Optuna: pip install 'triton-autokernel[evals]'") from e
    if int(optuna.__version__.partition(".")[0]) < LEAST:
        raise Missing(f"this agent needs Optuna {LEAST}, this is {optuna.__version__}: pip install 'optuna>={LEAST}'")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    return optuna


def run(game: Game, sampler: str) -> None:
    """Search by `sampler`, a class of ``optuna.samplers`` with its defaults, through Optuna's ask and tell. Numbers are
    ordered by rank, everything else is a category.

    A suggestion outside the space, or one that was tried, is moved to the nearest untried config: a sampler that knows
    no constraints would waste most of its turns on such spaces."""
    library = import_optuna()
    names = list(game.parameters)
    kinds = {n: _distribution(library, values, game.levels(n)) for n, values in game.parameters.items()}
    points = np.array([[game.place(c, n) for n in names] for c in game.configs], float)
    widths = np.array([max(1, len(v) - 1) if _ordered(v) else np.nan for v in game.parameters.values()])
    study = library.create_study(sampler=getattr(library.samplers, sampler)(seed=game.seed))
    free = np.ones(len(points), bool)
    while free.any():
        trial = study.ask(fixed_distributions=kinds)
        wanted = np.array([int(trial.params[n]) for n in names], float)
        gaps = np.abs(points - wanted)
        distance = np.where(np.isnan(widths), gaps > 0, gaps / widths).sum(1)
        place = int(np.argmin(np.where(free, distance, np.inf)))
        free[place] = False
        reading = game.seen.get(config_key(game.configs[place])) or game.measure(game.configs[place])
        if distance[place] > 0:
            study.tell(trial, state=library.trial.TrialState.FAIL)
            if reading.ms is not None:
                parameters = {n: _as_parameter(kinds[n], int(v)) for n, v in zip(names, points[place], strict=True)}
                study.add_trial(library.trial.create_trial(params=parameters, distributions=kinds, value=reading.ms))
        elif reading.ms is None:
            study.tell(trial, state=library.trial.TrialState.FAIL)
        else:
            study.tell(trial, reading.ms)


def _distribution(library: Any, values: tuple[Any, ...], levels: int) -> Any:
    if _ordered(values):
        return library.distributions.IntDistribution(0, levels - 1)
    return library.distributions.CategoricalDistribution([str(i) for i in range(levels)])


def _as_parameter(kind: Any, place: int) -> int | str:
    """A rank as Optuna has it: a category's name, or the number."""
    return str(place) if hasattr(kind, "choices") else place


def _ordered(values: tuple[Any, ...]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
