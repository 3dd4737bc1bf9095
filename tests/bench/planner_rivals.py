"""Searches that the planner is compared with, on the same ledger: one function each, `search(space, ledger, seed)`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels.spec import Config
from tests.bench.planner_spaces import Grid, Space
from tools.harness.results import CompileResult, Measurement
from tools.planner import surrogate
from tools.planner.cost.resources import Flags, Floats

START = 4
"""Random evaluations of rivals that learn, as many as of the planner."""
MISSES = 400
"""Suggestions in a row outside the space, or tried before, after which a sampler gives up."""


@dataclass
class Ledger:
    """Counts evaluations and keeps the judged time of the incumbent."""

    space: Space
    seed: int
    most: int
    compiled: dict[Config, CompileResult] = field(default_factory=dict)
    measured: dict[Config, Measurement] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = np.random.default_rng(self.seed)
        self._best = (np.inf, self.space.scale.median)

    @property
    def spent(self) -> bool:
        failed = sum(r.status != "correct" for r in self.compiled.values())
        return len(self.curve) >= self.most or len(self.measured) + failed >= len(self.space.configs)

    def evaluate(self, config: Config) -> float | None:
        """Compile for nothing where that is possible, then measure once; ms, or ``None`` for a failure."""
        if config in self.measured:
            return self.measured[config].ms
        compiled = self.space.free(config)
        if compiled is not None:
            self.compiled[config] = compiled
            if compiled.status != "correct":
                return None
            if (twin := self._twin(compiled)) is not None:
                self.measured[config] = twin
                return twin.ms
        m = self.measured[config] = self.space.answer(config, self.dice)
        if m.ms is not None:
            self._best = min(self._best, (m.ms, self.space.times[config]))
        self.curve.append(self._best[1])
        return m.ms

    def _twin(self, compiled: CompileResult) -> Measurement | None:
        """The reading of a config with the same machine code on the same grid: a session does not measure it again."""
        for config, m in self.measured.items():
            other = self.compiled[config]
            if compiled.fingerprint is not None and other.fingerprint == compiled.fingerprint and m.ms is not None:
                return m
        return None

    def untried(self) -> Flags:
        return np.array([c not in self.measured and c not in self.compiled for c in self.space.configs])


def randomly(space: Space, ledger: Ledger, seed: int) -> None:
    for i in np.random.default_rng(seed).permutation(len(space.configs)):
        if ledger.spent:
            return
        ledger.evaluate(space.configs[i])


def greedy_ils(space: Space, ledger: Ledger, seed: int) -> None:
    """Random start, then untried neighbours (one parameter, one step) of the best three; anew where none is left."""
    rng, grid = np.random.default_rng(seed), Grid.of(space.configs)
    while not ledger.spent:
        free = ledger.untried()
        options = free
        if len(ledger.curve) >= START:
            best = sorted((m.ms, i) for i, c in enumerate(space.configs) if (m := ledger.measured.get(c)) and m.ms)[:3]
            around = [neighbours(grid, i) & free for _, i in best]
            options = next((near for near in around if near.any()), free)
        ledger.evaluate(space.configs[rng.choice(np.flatnonzero(options))])


def neighbours(grid: Grid, i: int) -> Flags:
    step = np.abs(grid.ranks - grid.ranks[i])
    return np.asarray(((step > 0).sum(1) == 1) & ~((step > 1) & grid.ordered).any(1))


def forest(space: Space, ledger: Ledger, seed: int) -> None:
    """Expected improvement over the trees of an ExtraTrees forest on log time."""
    _by_model(space, ledger, seed, _forest)


def forest_local(space: Space, ledger: Ledger, seed: int) -> None:
    """The same, neighbours of the incumbent counting double."""
    _by_model(space, ledger, seed, _forest, near=2.0)


def plain_gp(space: Space, ledger: Ledger, seed: int) -> None:
    """Expected improvement of scikit-learn's Gaussian process with a Matern kernel, one length per column."""
    _by_model(space, ledger, seed, _matern)


Predict = Callable[[Floats, Floats, Floats, int], tuple[Floats, Floats]]
"""From points measured, their log times, all points and a seed to mean and deviation."""


def _by_model(space: Space, ledger: Ledger, seed: int, predict: Predict, near: float = 1.0) -> None:
    rng, grid = np.random.default_rng(seed), Grid.of(space.configs)
    points = grid.points()
    while not ledger.spent:
        free = np.flatnonzero(ledger.untried())
        timed = [(i, m.ms) for i, c in enumerate(space.configs) if (m := ledger.measured.get(c)) and m.ms]
        if len(ledger.curve) < START or len(timed) < 2:
            ledger.evaluate(space.configs[rng.choice(free)])
            continue
        rows, log_ms = [i for i, _ in timed], np.log([ms for _, ms in timed])
        mean, deviation = predict(points[rows], log_ms, points, int(rng.integers(2**31)))
        value = surrogate.expected_improvement(mean, deviation, float(log_ms.min()))
        value[neighbours(grid, rows[int(np.argmin(log_ms))])] *= near
        ledger.evaluate(space.configs[free[np.argmax(value[free])]])


def _forest(seen: Floats, log_ms: Floats, points: Floats, seed: int) -> tuple[Floats, Floats]:
    from sklearn.ensemble import ExtraTreesRegressor

    found = ExtraTreesRegressor(60, random_state=seed, n_jobs=1).fit(seen, log_ms)
    votes = np.stack([tree.predict(points.astype(np.float32)) for tree in found.estimators_])
    return votes.mean(0), np.sqrt(votes.var(0) + 0.01**2)


def _matern(seen: Floats, log_ms: Floats, points: Floats, seed: int) -> tuple[Floats, Floats]:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(0.1) * Matern(np.full(seen.shape[1], 0.7), (0.1, 20), nu=2.5) + WhiteKernel(1e-4)
    with surrogate.one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        process = GaussianProcessRegressor(kernel, normalize_y=True).fit(seen, log_ms)
        mean, deviation = process.predict(points, return_std=True)
    return mean, deviation


def tpe(space: Space, ledger: Ledger, seed: int) -> None:
    """Optuna's TPE as it comes; a suggestion outside the space, or tried, is moved to the nearest untried config."""
    optuna, study, kinds, grid = _study(space, seed, multivariate=False)
    widths = np.where(grid.ordered, np.maximum(1, np.array(grid.levels) - 1), np.nan)
    while not ledger.spent:
        free = ledger.untried()
        trial = study.ask(fixed_distributions=kinds)
        apart = np.abs(grid.ranks - np.array([int(trial.params[n]) for n in kinds]))
        distance = np.where(np.isnan(widths), apart > 0, apart / widths).sum(1)
        i = int(np.argmin(np.where(free, distance, np.inf)))
        ms = ledger.evaluate(space.configs[i])
        if distance[i] > 0:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            if ms is not None:
                told = {n: _told(kind, int(v)) for (n, kind), v in zip(kinds.items(), grid.ranks[i], strict=True)}
                study.add_trial(optuna.trial.create_trial(params=told, distributions=kinds, value=ms))
        elif ms is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, ms)


def tpe_multivariate(space: Space, ledger: Ledger, seed: int) -> None:
    """Optuna's multivariate TPE; suggestions outside the space and repeats cost it nothing."""
    optuna, study, kinds, grid = _study(space, seed, multivariate=True)
    places = {tuple(row): i for i, row in enumerate(grid.ranks.tolist())}
    misses = 0
    while not ledger.spent and misses < MISSES:
        trial = study.ask(fixed_distributions=kinds)
        i = places.get(tuple(int(trial.params[n]) for n in kinds))
        before = len(ledger.curve)
        ms = None if i is None else ledger.evaluate(space.configs[i])
        misses = misses + 1 if len(ledger.curve) == before else 0
        if ms is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, float(np.log(ms)))


def _study(space: Space, seed: int, multivariate: bool) -> tuple[Any, Any, dict[str, Any], Grid]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=multivariate)
    grid = Grid.of(space.configs)
    kinds = {
        f"p{j}": optuna.distributions.IntDistribution(0, count - 1)
        if grid.ordered[j]
        else optuna.distributions.CategoricalDistribution([str(i) for i in range(count)])
        for j, count in enumerate(grid.levels)
    }
    return optuna, optuna.create_study(sampler=sampler), kinds, grid


def _told(kind: Any, place: int) -> int | str:
    return str(place) if hasattr(kind, "choices") else place


RIVALS: dict[str, Callable[[Space, Ledger, int], None]] = {
    "random": randomly,
    "ils": greedy_ils,
    "forest": forest,
    "forest_local": forest_local,
    "gp": plain_gp,
    "tpe": tpe,
    "tpe_multivariate": tpe_multivariate,
}
NEEDS_OPTUNA = ("tpe", "tpe_multivariate")
