"""Kernel Tuner's own strategies, as they come, with the referee in the place of its simulation runner.

Its simulation mode reads the whole recorded space in the process that searches; here the strategy gets its
``Searchspace`` and a runner that asks. Parameters are given by rank, so that values of any type will do."""

from __future__ import annotations

import importlib
import random
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from evals.contest.game import Game
from evals.errors import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable


def run(game: Game, strategy: str) -> None:
    """`strategy` is one of Kernel Tuner's names. Restarted where it ends before the evaluations do: some
    stop at a local optimum."""
    try:
        interface = importlib.import_module("kernel_tuner.interface")
        runners = importlib.import_module("kernel_tuner.runners.runner")
        spaces = importlib.import_module("kernel_tuner.searchspace")
        util = importlib.import_module("kernel_tuner.util")
    except ImportError as e:
        raise Missing("this agent needs Kernel Tuner: pip install 'triton-autokernel[evals]'") from e
    if strategy not in interface.strategy_map:
        raise Missing(f"this Kernel Tuner has no strategy {strategy}: pip install 'triton-autokernel[evals]'")
    tune = interface.strategy_map[strategy].tune

    names = list(game.parameters)
    ranks = [tuple(game.place(c, n) for n in names) for c in game.configs]
    configs = dict(zip(ranks, game.configs, strict=True))

    class Asking(runners.Runner):  # type: ignore[misc, name-defined]
        """Measures through the referee."""

        def get_device_info(self) -> Any:
            return None

        def get_environment(self, tuning_options: Any) -> dict[str, Any]:
            return {}

        def run(self, parameter_space: Iterable[Iterable[int]], tuning_options: Any) -> list[dict[str, Any]]:
            found = []
            for element in parameter_space:
                place = tuple(int(v) for v in element)
                reading = game.measure(configs[place])
                answer: dict[str, Any] = dict(zip(names, place, strict=True))
                found.append(
                    answer | ({"__error__": util.RuntimeFailedConfig()} if reading.ms is None else {"time": reading.ms})
                )
            if not game.untried():
                raise util.StopCriterionReached("every config was tried")  # some would go round for ever
            return found

    tune_params = {n: list(range(game.levels(n))) for n in names}
    cache = {str(i): dict(zip(names, place, strict=True)) for i, place in enumerate(ranks)}
    # The strategies draw from the global generators: they are theirs, in this process of their own.
    random.seed(game.seed)
    warnings.simplefilter("ignore")  # theirs about theirs: a failed config's cost overflows, a space is small
    np.random.seed(game.seed)
    # Latin hypercube samples are drawn there without a seed that one could set.
    hypercubes: Any = importlib.import_module("scipy.stats.qmc")
    hypercubes.LatinHypercube = partial(hypercubes.LatinHypercube, seed=np.random.default_rng(game.seed))
    while game.untried():
        options = interface.Options(
            strategy_options=interface.Options(), objective=["time"], objective_higher_is_better=[False], verbose=False,
            budget=util.TuningBudget(max_fevals=None), tune_params=tune_params, eps=None,
        )  # fmt: skip
        space = spaces.Searchspace(None, None, None, from_cache={"tune_params": tune_params, "cache": cache})
        try:
            tune(space, Asking(), options)
        except util.StopCriterionReached:
            continue
