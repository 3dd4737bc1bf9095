"""Which configs of a launch are worth a look before anything is measured: the owner's and its neighbours."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

Values = dict[str, Any]
LARGEST = 1 << 63
"""Integers from here on have no ratio: as floats they overflow."""
LATE = ("maxnreg", "num_stages")
"""Options that come late, stages last: many kernels have no loop to pipeline."""


def owner_and_neighbours(own: Values, configs: Iterable[Values], sooner: Container[Values] = ()) -> list[Values]:
    """`own`, then those of `configs` that differ from it in one value, the nearest values first; before them those
    that are in `sooner`. Configs that lack a parameter are no neighbours."""

    def distance(values: Values) -> tuple[bool, int, float]:
        (name,) = [n for n in values if differ(values[n], own[n])]
        numbers = all(isinstance(v[name], int) and 0 < v[name] < LARGEST for v in (values, own))
        ratio = max(values[name] / own[name], own[name] / values[name]) if numbers else 2.0
        return values not in sooner, LATE.index(name) + 1 if name in LATE else 0, ratio

    near = [v for v in configs if v.keys() == own.keys() and sum(differ(v[n], own[n]) for n in own) == 1]
    return [own, *sorted(near, key=distance)]


def differ(one: Any, other: Any) -> bool:
    """Whether two values are different; NaN is equal to itself."""
    return bool(one != other) and not (one != one and other != other)
