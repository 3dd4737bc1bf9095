"""The grid of a launch, and what a callable one would be for other configs.

A constexpr may move only if the grid follows it. Nobody guesses that from names: the program's own function is asked,
once for each distinct launch, and it is noted which values it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .captured_arguments import is_plain

Json = dict[str, Any]

MOST_GRIDS = 256
"""Configs for which the grid is asked."""
MOST_PROGRAMS = 2**31 - 1
"""Along a dimension of the grid, of CUDA."""


class Probe:
    """Stands in for a callable grid and remembers what it returned and for which arguments."""

    def __init__(self, grid: Callable[[Any], Any]) -> None:
        self.grid = grid
        self.came_out: tuple[int, ...] | None = None
        self.meta: Any = None

    def __call__(self, meta: Any) -> Any:
        out = self.grid(meta)
        self.meta = meta
        try:
            self.came_out = grid_numbers(out)
        except Exception:  # noqa: BLE001 -- Triton says what is wrong with the program's grid
            self.came_out = None
        return out


class ReadKeys(dict):  # type: ignore[type-arg]
    """A dict that remembers which keys were read."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def describe_grid(grid: Any, probe: Probe | None, tuner: Any, constexprs: frozenset[str]) -> Json:
    """The grid, and what a callable one would be for the autotuner's other configs and neighbouring constants. Raises
    ValueError if it is none that launches programs."""
    if probe is None:
        return {"callable": False, "came_out": _programs(grid_numbers(grid))}
    part: Json = {"callable": True, "came_out": _programs(probe.came_out or ())}
    meta = {name: _as_number(value) for name, value in probe.meta.items()}
    try:
        tracked = ReadKeys(meta)
        if grid_numbers(probe.grid(tracked)) != probe.came_out:
            return {**part, "changes": True}
        part["reads"] = sorted(tracked.read & meta.keys())
        part["table"] = _grid_table(probe, meta, tuner, constexprs)
    except Exception as e:  # noqa: BLE001 -- the program's function may do anything
        part["cannot_be_asked"] = one_line(e)
    return part


def _as_number(value: Any) -> Any:
    """A scalar of Triton's interpreter as the number that the program passed: outside a launch nothing can be computed
    with it. Anything else as it is."""
    data: Any = getattr(getattr(value, "handle", None), "data", None)
    if type(value).__name__ != "tensor" or getattr(data, "size", 0) != 1 or value.dtype.is_ptr():
        return value
    return data.item()


def grid_numbers(grid: Any) -> tuple[int, ...]:
    """A grid as whole numbers, whatever the program wrote it with."""
    if type(grid) is tuple and all(type(n) is int for n in grid):
        return grid
    return tuple(int(n) for n in grid)


def _programs(numbers: tuple[int, ...]) -> list[int]:
    """`numbers` as a capture holds them. Raises ValueError if they are no grid, though Triton may pass over it."""
    if not 1 <= len(numbers) <= 3 or not all(0 <= n <= MOST_PROGRAMS for n in numbers):
        raise ValueError(f"the grid is {numbers}, and Triton takes one to three numbers from 0 to {MOST_PROGRAMS}")
    return list(numbers)


def _grid_table(probe: Probe, meta: Json, tuner: Any, constexprs: frozenset[str]) -> list[Json]:
    """What the grid is for the autotuner's configs, and for half and double of each constant that it reads."""
    asked = [dict(c.kwargs) for c in tuner.configs] if tuner is not None else []
    own = dict(tuner.best_config.kwargs) if tuner is not None else {}
    numbers = {n: v for n, v in meta.items() if n in constexprs and type(v) is int and v > 0 and v & (v - 1) == 0}
    for name, value in numbers.items():
        asked += [{**own, name: v} for v in (value // 4, value // 2, value * 2, value * 4) if v >= 1]
    table: list[Json] = []
    for values in asked[:MOST_GRIDS]:
        row = {"values": {n: v for n, v in values.items() if is_plain(v)}}
        if row in [{"values": r["values"]} for r in table]:
            continue
        try:
            table.append({**row, "grid": _programs(grid_numbers(probe.grid({**meta, **values})))})
        except Exception as e:  # noqa: BLE001 -- the program's function may refuse a config
            table.append({**row, "refused": one_line(e)})
    return table


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
