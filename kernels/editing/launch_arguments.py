"""A launch's arguments by name, and the numbers of its grid."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

LAUNCH_OPTIONS = frozenset({"num_warps", "num_stages", "num_ctas", "maxnreg"})
OF_EVERY_LAUNCH = frozenset({"debug", "device", "device_type", "grid", "pre_hook", "self", "stream", "warmup"})


@cache
def launch_words() -> frozenset[str]:
    """Keywords that mean something to a launch or to a compiler of the installed Triton (``ir_override``,
    ``ptx_options``), even if the kernel has a parameter of that name."""
    from triton.backends import backends

    modules = [sys.modules[backend.compiler.__module__] for backend in backends.values()]
    options = (v for module in modules for v in vars(module).values() if isinstance(v, type) and is_dataclass(v))
    return OF_EVERY_LAUNCH | LAUNCH_OPTIONS | {f.name for kind in options for f in fields(kind)}


def named_arguments(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A launch's arguments by parameter, without launch options."""
    found = dict(zip(function.arg_names, args, strict=False))
    return found | {n: v for n, v in kwargs.items() if n in function.arg_names}


def grid_of(grid: Any, arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """The owner's grid, three numbers."""
    given = grid(dict(arguments)) if callable(grid) else grid
    numbers = [int(n) for n in (given if isinstance(given, tuple | list) else (given,))]
    return tuple((*numbers, 1, 1, 1)[:3])
