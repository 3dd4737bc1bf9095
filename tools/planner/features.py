"""Encodes configs as points: raw parameters scaled to 0..1 by rank or one-hot, and the cost model's columns.

The rank of a value makes 16, 32, 64, 128 evenly spaced without knowledge of the parameter's meaning. The same encoding
therefore works for a kernel that no cost model covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.spec import Config
from tools.planner.cost.launch_geometry import Launch
from tools.planner.cost.matmul_cost import Cost
from tools.planner.cost.physics import PHYSICS_WEIGHT
from tools.planner.cost.resources import Floats

CATEGORY_SIDE = 2**-0.5
"""One-hot value that puts two different categories one unit apart, like the two ends of an ordered parameter."""


class Encoder:
    """Encodes the raw parameters of configs of one type as rows of numbers. It holds only the levels of one space."""

    def __init__(self, space: Sequence[Config]) -> None:
        self.parameters: tuple[str, ...] = tuple(type(space[0]).model_fields) if space else ()
        self._levels: dict[str, list[Any]] = {}
        for name in self.parameters:
            values = {getattr(c, name) for c in space}
            if len(values) > 1:
                ordered = all(isinstance(v, int | float) for v in values)
                self._levels[name] = sorted(values) if ordered else sorted(values, key=repr)

    @property
    def varying(self) -> tuple[str, ...]:
        """Parameters that take more than one value in the space, in the config's order."""
        return tuple(self._levels)

    def encode(self, configs: Sequence[Config]) -> Floats:
        """Rows of shape (len(configs), columns), at least one column. A number between two levels is interpolated. An
        unknown category is equally far from every known category."""
        columns: list[Floats] = []
        for name, levels in self._levels.items():
            ranks = self._ranks(name, configs)
            if ranks is not None:
                columns.append(ranks)
            else:
                values = [getattr(c, name) for c in configs]
                columns += [np.array([CATEGORY_SIDE * (v == level) for v in values]) for level in levels]
        return np.stack(columns, axis=1) if columns else np.zeros((len(configs), 1))

    def off(self, configs: Sequence[Config]) -> Floats:
        """A column, as of a category, for each parameter with three or more numbers of which the least is 0: whether it
        is 0. There 0 is often no smaller number but something else: no limit, not persistent, another method.
        Shape (n, columns), maybe none."""
        columns = [
            np.array([CATEGORY_SIDE * (getattr(c, name) == 0) for c in configs])
            for name, levels in self._levels.items()
            if len(levels) > 2 and self._ranks(name, ()) is not None and levels[0] == 0
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(configs), 0))

    def extremity(self, configs: Sequence[Config]) -> Floats:
        """How far each config lies from the middle of the ordered parameters, shape (n,): 0 if each has its middle
        value, 1 if each has its least or its largest. A parameter with two values has no middle and does not count."""
        ordered = [self._ranks(name, configs) for name, levels in self._levels.items() if len(levels) > 2]
        columns = [(2 * ranks - 1) ** 2 for ranks in ordered if ranks is not None]
        return np.asarray(np.mean(columns, axis=0)) if columns else np.zeros(len(configs))

    def _ranks(self, name: str, configs: Sequence[Config]) -> Floats | None:
        """The rank of each config's value, from 0 to 1; ``None`` if not all values are numbers."""
        levels, values = self._levels[name], [getattr(c, name) for c in configs]
        if not all(isinstance(v, int | float) for v in [*levels, *values]):
            return None
        ranks = np.linspace(0.0, 1.0, len(levels))
        return np.asarray(np.interp(np.asarray(values, float), np.asarray(levels, float), ranks))

    def level_indices(self, configs: Sequence[Config]) -> dict[str, np.ndarray[Any, np.dtype[np.intp]]]:
        """For each varying parameter, the index of each config's level. Configs must come from the space."""
        return {
            name: np.array([places[getattr(c, name)] for c in configs], dtype=np.intp)
            for name, levels in self._levels.items()
            for places in [{v: i for i, v in enumerate(levels)}]
        }


def launch_columns(cost: Cost, launch: Launch) -> Floats:
    """The cost model's columns for the surrogate: the share of each engine, memory time, resident blocks, how full the
    waves are, and spills.

    Shape (n, 7), each column within 0..PHYSICS_WEIGHT."""
    slowest = np.maximum.reduce([cost.tensor, cost.shared, cost.l2, cost.latency])
    columns = [
        cost.tensor / slowest,
        cost.l2 / slowest,
        cost.latency / slowest,
        np.minimum(1.0, cost.memory / 2),
        np.minimum(1.0, np.log2(launch.blocks_per_sm) / 3),
        cost.fill,
        np.minimum(1.0, np.log2(1 + launch.spill_bytes) / 12),
    ]
    return PHYSICS_WEIGHT * np.stack(columns, axis=1)
