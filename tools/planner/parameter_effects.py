"""How much each parameter, and each pair of parameters, changes the time near the best.

A parameter's effect is what a config loses if this parameter alone leaves its best value and all others are held. A
pair's effect is how far the effect of one depends on the other: the contrast of four configs that differ in these two
alone, one of them the best of its group. If measured configs allow such a comparison, only measured ones are compared,
else the predictions are. A share of the variation over the whole space would follow its slowest corner, and would
credit a parameter with what changes along with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tools.planner.cost.resources import Floats, Indices

NEAR = 0.25
"""Share of the configs, the fastest, near which effects count."""
LEAST = 0.01
"""Relative effect below which a pair of parameters is not named: readings scatter by as much."""

PAIRED = 6
"""Parameters, those of the largest effects, that are looked at in pairs. A parameter that loses nothing wherever the
others are changes no other one's effect."""
MOST_GROUPS = 256
"""Groups of configs that are compared for one effect, the fastest."""

Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Effect:
    """Of one parameter, or of two together."""

    parameters: tuple[str, ...]
    change: float
    """Relative: 0.05 is 5 % of the time."""
    measured: int
    """Comparisons of measured configs behind it; 0 if it is predicted."""

    @property
    def name(self) -> str:
        """``BLOCK_N``, or ``BLOCK_N x num_warps``."""
        return " x ".join(self.parameters)


def estimate_effects(levels: Mapping[str, Indices], log_ms: Floats, measured: Flags, works: Flags) -> list[Effect]:
    """The effects of parameters and pairs of them, largest first.

    `levels`: for each parameter the index (n,) of each config's value. `log_ms` (n,): measured where `measured` (n,)
    says so, else predicted. Configs that do not work (`works` (n,)) are left out."""
    if not levels or not works.any():
        return []
    comparison = _Comparison(levels, log_ms, measured, works)
    alone = {k: comparison.estimate((k,), _losses) or comparison.compare_fastest(k) for k in range(len(levels))}
    singles = {k: effect for k, effect in alone.items() if effect is not None}
    largest = sorted(singles, key=lambda k: -singles[k].change)[:PAIRED]
    together = [comparison.estimate(pair, _contrasts) for pair in combinations(sorted(largest), 2)]
    found = [*singles.values(), *(e for e in together if e is not None and e.change >= LEAST)]
    return sorted(found, key=lambda e: -e.change)


class _Comparison:
    """Configs as rows of value indices, the measured ones told apart."""

    def __init__(self, levels: Mapping[str, Indices], log_ms: Floats, measured: Flags, works: Flags) -> None:
        self._names = list(levels)
        self._columns = np.stack(list(levels.values()), axis=1)[works]
        self._times, known = log_ms[works], measured[works]
        self._bound = float(np.quantile(self._times, NEAR))
        self._rows = [(np.flatnonzero(known), True), (np.arange(len(known)), False)]
        # A config's code is the sum of its values' random numbers: without one value, configs that agree in all others
        # have the same code.
        rng = np.random.default_rng(0)
        words = rng.integers(-(2**62), 2**62, size=(len(self._names), int(self._columns.max()) + 1))
        self._words = np.stack([words[k, self._columns[:, k]] for k in range(len(self._names))], axis=1)

    def estimate(self, k: tuple[int, ...], compare: Callable[[Floats], Floats]) -> Effect | None:
        """The mean of what `compare` finds in the groups of configs that differ in the parameters `k` alone; of the
        measured ones if they hold a comparison, else of all. ``None`` if there is none."""
        code = np.delete(self._words, k, axis=1).sum(axis=1)
        for rows, are_measured in self._rows:
            if len(rows) < 2 ** len(k):
                continue
            found = compare(self._table(rows, code[rows], k))
            if found.size:
                return self._effect(k, found, are_measured)
        return None

    def compare_fastest(self, k: int) -> Effect | None:
        """Of a parameter that never changes alone (a family has fields of its own): the fastest config of each of its
        values against the fastest of all."""
        for rows, are_measured in self._rows:
            if not len(rows):
                continue
            values = self._columns[rows, k]
            found = _losses(np.array([[self._times[rows][values == v].min() for v in np.unique(values)]]))
            if found.size:
                return self._effect((k,), found, are_measured)
        return None

    def _effect(self, k: tuple[int, ...], found: Floats, are_measured: bool) -> Effect:
        names = tuple(self._names[i] for i in k)
        return Effect(names, float(np.expm1(found.mean())), found.size if are_measured else 0)

    def _table(self, rows: Indices, code: Indices, k: tuple[int, ...]) -> Floats:
        """(groups, values of each parameter in `k`): log times, NaN where there is no config, of the groups of at least
        two configs of which one is near the best."""
        _, group, sizes = np.unique(code, return_inverse=True, return_counts=True)
        least = np.full(len(sizes), np.inf)
        np.minimum.at(least, group, self._times[rows])
        near = np.flatnonzero((sizes > 1) & (least <= self._bound))
        near = near[np.argsort(least[near], kind="stable")][:MOST_GROUPS]
        places = np.full(len(sizes), -1)
        places[near] = np.arange(len(near))
        kept = places[group] >= 0
        levels = [self._columns[rows, i][kept] for i in k]
        table = np.full((len(near), *(int(self._columns[:, i].max()) + 1 for i in k)), np.nan)
        table[(places[group][kept], *levels)] = self._times[rows][kept]
        return table


def _losses(table: Floats) -> Floats:
    """Log time over the group's least, of every config but that one."""
    if not len(table):
        return np.empty(0)
    losses = table - np.nanmin(table, axis=1, keepdims=True)
    losses[np.arange(len(table)), np.nanargmin(table, axis=1)] = np.nan
    found: Floats = losses[~np.isnan(losses)]
    return found


def _contrasts(table: Floats) -> Floats:
    """Sizes of ``y - y(best value of the one) - y(best value of the other) + y(both)`` of a group's log times, over the
    configs that differ from the group's best one in both parameters."""
    if not len(table):
        return np.empty(0)
    groups = np.arange(len(table))
    one, other = np.unravel_index(np.nanargmin(table.reshape(len(table), -1), axis=1), table.shape[1:])
    along_one, along_other = table[groups, :, other], table[groups, one, :]
    sizes = np.abs(table - along_one[:, :, None] - along_other[:, None, :] + table[groups, one, other][:, None, None])
    sizes[groups, one, :] = sizes[groups, :, other] = np.nan
    found: Floats = sizes[~np.isnan(sizes)]
    return found
