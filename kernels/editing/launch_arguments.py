"""A launch's arguments by name, and the numbers of its grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LAUNCH_OPTIONS = frozenset({"num_warps", "num_stages", "num_ctas", "maxnreg"})


def named_arguments(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A launch's arguments by parameter, without launch options."""
    found = dict(zip(function.arg_names, args, strict=False))
    return found | {n: v for n, v in kwargs.items() if n in function.arg_names}


def grid_of(grid: Any, arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """The owner's grid, three numbers."""
    given = grid(dict(arguments)) if callable(grid) else grid
    numbers = [int(n) for n in (given if isinstance(given, tuple | list) else (given,))]
    return tuple((*numbers, 1, 1, 1)[:3])
