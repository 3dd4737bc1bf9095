"""Recorded spaces as oracles of a search, as they are and in disguise.

``plain``: what the kernel's own agent sees. Everywhere else kernel, problem and compiler are hidden, as in a
stranger's file, and a failure costs an evaluation: ``raw``: names and values stay; ``compiled``: as ``raw``, and the
compiler's figures are known of what was measured; ``permuted``: values are dealt out anew, so that their order
misleads; ``onehot``: values are mere names; ``half``: a random half of the configs; ``family``: only the configs with
the commonest value of the first parameter that is a name; ``failing``: two random pairs of values fail when they
meet. Times are the recorded ones in all of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError, create_model

from evals.scoring.methodology import Scale
from kernels.hardware import hardware_named
from kernels.registry import get
from kernels.spec import Config, Problem
from tools.harness.landscapes.named import read_landscape
from tools.harness.landscapes.readings import Entry, Landscape
from tools.harness.measuring.statistics import median_ci
from tools.harness.results import CompileResult, Measurement
from tools.planner.cost.resources import Flags, Floats
from tools.session.task import Task

PLAIN = "plain"
COMPILED = "compiled"
VIEWS = (PLAIN, COMPILED, "raw", "permuted", "onehot", "half", "family", "failing")
Values = dict[str, Any]


class Unknown(Problem):
    """The problem of a file that does not say its own."""

    dims = ()


@dataclass
class Space:
    """A landscape, or what a view leaves of it, as the oracle of a search."""

    name: str
    view: str
    task: Task
    landscape: Landscape
    entries: dict[Config, Entry]
    times: dict[Config, float]
    """Judged ms of the correct configs."""
    spoilt: set[Config] = field(default_factory=set)
    """Configs that the view ``failing`` makes fail."""

    def __post_init__(self) -> None:
        self.configs = list(self.entries)
        self.optimum = min(self.times.values())
        self.scale = Scale.of(self.times.values())

    def free(self, config: Config) -> CompileResult | None:
        """What compilation says at no cost; ``None`` where nobody can ask it."""
        return self.entries[config].compiled if self.view in (PLAIN, COMPILED) else None

    def answer(self, config: Config, dice: np.random.Generator) -> Measurement:
        """One reading: a bootstrap of set A's samples, where there are some."""
        entry = self.entries[config]
        values = config.model_dump(mode="json")
        if config not in self.times:
            status = "runtime" if entry.status == "correct" else entry.status
            return Measurement(config=values, status=status, reason=entry.reason)
        ms, readings = self.times[config], entry.sets.get("A")
        if readings is not None and readings.samples_ms:
            drift = self.landscape.drift(readings)
            # Some files state times that their samples, read at another clock, contradict: the samples only scatter.
            to_stated = self.times[config] / (readings.raw_ms * drift)
            drawn = dice.choice(readings.samples_ms, len(readings.samples_ms)) * drift * to_stated
            ms, ci = median_ci(drawn.tolist())
            return Measurement(config=values, status="correct", ms=ms, ci_ms=ci)
        return Measurement(config=values, status="correct", ms=ms)


@dataclass
class Grid:
    """A space as numbers: the rank of every value among its parameter's values."""

    ranks: np.ndarray[Any, np.dtype[np.intp]]
    """Shape (configs, parameters)."""
    levels: list[int]
    ordered: Flags

    @staticmethod
    def of(configs: list[Config]) -> Grid:
        columns, levels, ordered = [], [], []
        for name in type(configs[0]).model_fields:
            values = [getattr(c, name) for c in configs]
            number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
            places = {v: i for i, v in enumerate(sorted(set(values), key=None if number else repr))}
            if len(places) > 1:
                columns.append([places[v] for v in values])
                levels.append(len(places))
                ordered.append(number)
        return Grid(np.array(columns, dtype=np.intp).T, levels, np.array(ordered))

    def points(self) -> Floats:
        """Ordered parameters as one column from 0 to 1, others one-hot."""
        columns: list[Floats] = []
        for j, count in enumerate(self.levels):
            rank = self.ranks[:, j]
            columns += [rank / (count - 1)] if self.ordered[j] else [1.0 * (rank == v) for v in range(count)]
        return np.stack(columns, axis=1)


def load(path: Path, view: str, seed: int = 0) -> Space:
    """The file in a view; ``plain`` becomes ``raw`` where the kernel is not one of ours. `seed` deals the view."""
    landscape = read_landscape(path)
    entries = list(landscape.entries.values())
    if view == PLAIN and (known := _known(landscape, entries)) is not None:
        return known
    view = "raw" if view == PLAIN else view
    rng = random.Random(f"{landscape.name} {view} {seed}")
    if view == "half":
        entries = rng.sample(entries, len(entries) // 2)
    if view == "family":
        entries = _one_family(entries)
    fails = _failing_pairs(entries, rng) if view == "failing" else lambda values: False
    shown = {"permuted": _permuted, "onehot": _onehot}.get(view, lambda configs, rng: configs)
    configs = shown([e.config for e in entries], rng)
    fields: dict[str, Any] = dict.fromkeys(configs[0], (Any, ...))
    kind = create_model("Foreign", __base__=Config, **fields)
    by_config: dict[Config, Entry] = {kind.model_validate(c): e for c, e in zip(configs, entries, strict=True)}
    times = _times(landscape, by_config)
    spoilt = {c for c, e in by_config.items() if fails(e.config)}
    times = {c: ms for c, ms in times.items() if c not in spoilt}
    task = Task(get("fused_matmul"), Unknown(), hardware_named("H200"))
    return Space(landscape.name, view, task, landscape, by_config, times, spoilt)


def _known(landscape: Landscape, entries: list[Entry]) -> Space | None:
    try:
        spec = get(landscape.kernel)
        problem = spec.problem_type.model_validate(landscape.problem)
        by_config = {spec.config_type.model_validate(e.config): e for e in entries}
    except (KeyError, ValueError, ValidationError):
        return None
    task = Task(spec, problem, hardware_named(landscape.device.hardware or "H200"))
    return Space(landscape.name, PLAIN, task, landscape, by_config, _times(landscape, by_config))


def _times(landscape: Landscape, by_config: dict[Config, Entry]) -> dict[Config, float]:
    return {c: ms for c, e in by_config.items() if (ms := landscape.ms(e)) is not None}


def _levels(configs: Iterable[Values]) -> dict[str, list[Any]]:
    found: dict[str, dict[str, Any]] = {}
    for config in configs:
        for name, value in config.items():
            found.setdefault(name, {})[repr(value)] = value
    return {name: list(values.values()) for name, values in found.items()}


def _dealt(configs: list[Values], rng: random.Random, cards: Callable[[list[Any]], list[Any]]) -> list[Values]:
    maps = {}
    for name, values in _levels(configs).items():
        hand = cards(values)
        rng.shuffle(hand)
        maps[name] = dict(zip(map(repr, values), hand, strict=True))
    return [{name: maps[name][repr(value)] for name, value in config.items()} for config in configs]


def _permuted(configs: list[Values], rng: random.Random) -> list[Values]:
    return _dealt(configs, rng, lambda values: list(values))


def _onehot(configs: list[Values], rng: random.Random) -> list[Values]:
    return _dealt(configs, rng, lambda values: [f"v{i}" for i in range(len(values))])


def _one_family(entries: list[Entry]) -> list[Entry]:
    names = [n for n, values in _levels(e.config for e in entries).items() if len(values) > 1]
    worded = [n for n in names if isinstance(entries[0].config[n], str)] or names
    (value, _), *_ = Counter(repr(e.config[worded[0]]) for e in entries).most_common(1)
    return [e for e in entries if repr(e.config[worded[0]]) == value]


def _failing_pairs(entries: list[Entry], rng: random.Random) -> Callable[[Values], bool]:
    """Whether a config holds one of two pairs of values, each of which a twentieth to a quarter of the space holds."""
    levels = [(n, v) for n, values in _levels(e.config for e in entries).items() for v in values]
    pairs: list[list[tuple[str, Any]]] = []
    while len(pairs) < 2:
        pair = rng.sample(levels, 2)
        share = sum(_holds(e.config, pair) for e in entries) / len(entries)
        if 0.05 <= share <= 0.25:
            pairs.append(pair)
    return lambda values: any(_holds(values, pair) for pair in pairs)


def _holds(values: Values, pair: list[tuple[str, Any]]) -> bool:
    return all(name in values and values[name] == value for name, value in pair)
