"""The space around a config: which configs exist that differ from it in few fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kernels.spec import Config

NEAREST = 3
"""Configs that are named as nearest."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Neighbourhood:
    """A space of configs of one type, ordered by distance from any config of that type."""

    space: Sequence[Config]

    @cached_property
    def _rows(self) -> list[Values]:
        return [field_values_of(config) for config in self.space]

    @cached_property
    def _numbers(self) -> dict[str, list[float]]:
        """Field → the numbers that occur in it."""
        values: dict[str, dict[Any, None]] = {}
        for row in self._rows:
            for name, value in row.items():
                values.setdefault(name, {})[value] = None
        return {name: [v for v in found if isinstance(v, int | float)] for name, found in values.items()}

    def around(self, config: Config, limit: int, most_fields: int | None = None) -> list[tuple[Config, Values]]:
        """At most `limit` other configs of the space, nearest first, each with the fields in which it differs from
        `config` and their values there. Nearer is: fewer fields, then fewer steps between their values."""
        own = field_values_of(config)
        by_fields: dict[int, list[tuple[int, Values]]] = {}
        for place, row in enumerate(self._rows):
            change = {name: value for name, value in row.items() if value != own[name]}
            if change:
                by_fields.setdefault(len(change), []).append((place, change))
        found: list[tuple[Config, Values]] = []
        for fields in sorted(by_fields):
            if len(found) >= limit or (most_fields is not None and fields > most_fields):
                break
            ordered = sorted(by_fields[fields], key=lambda item: self._steps(own, item[1]))
            found += [(self.space[place], change) for place, change in ordered]
        return found[:limit]

    def _steps(self, own: Values, change: Values) -> int:
        """Steps between the values of the changed fields, along the values that occur in the space. Words are one step
        apart."""
        steps = 0
        for name, value in change.items():
            steps += 1
            if isinstance(value, int | float) and isinstance(own[name], int | float):
                low, high = sorted((value, own[name]))
                steps += sum(low < v < high for v in self._numbers[name])
        return steps

    def describe_nearest(self, config: Config, limit: int = NEAREST) -> str:
        """The nearest configs that exist, as changes to `config`: ``num_stages=3; BLOCK_K=64 num_stages=4``."""
        return "; ".join(describe_change(change) for _, change in self.around(config, limit))


def field_values_of(config: Config) -> Values:
    """The value of every field, also of one that is not written where it is empty."""
    return {name: getattr(config, name) for name in type(config).model_fields}


def describe_change(change: Values) -> str:
    return " ".join(f"{name}={value}" for name, value in change.items())
