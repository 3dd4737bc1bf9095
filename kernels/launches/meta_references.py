"""PyTorch's Python references on meta tensors, without the import of PyTorch's compiler.

If an operator has no meta kernel, a Python reference computes its shape. PyTorch hides many references from its
compiler, and imports ``torch._dynamo`` to do so at the first call: 2 s of the processor in every process that looks at
a kernel's shapes. A process that has not imported the compiler compiles nothing, so there is nothing to hide from.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType
from typing import Any

import torch._compile

HOMES = ("torch._refs", "torch._decomp")
"""The modules of the references."""
KEPT = "__dynamo_disable"
"""PyTorch keeps under this name of a function what it calls in the function's place."""


@functools.cache
def import_no_compiler() -> None:
    """From now on no reference imports PyTorch's compiler. If a PyTorch hides them in another way, nothing changes."""
    for hidden in _hidden_functions():
        function = _closure(hidden)["fn"]
        if not hasattr(function, KEPT):
            setattr(function, KEPT, _until_imported(function, hidden))


def _until_imported(function: Callable[..., Any], hidden: Callable[..., Any]) -> Callable[..., Any]:
    """`function` itself until the process imports PyTorch's compiler. Then `hidden` decides again what is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        vars(function).pop(KEPT, None)
        return hidden(*args, **kwargs)

    return call


def _hidden_functions() -> Iterator[FunctionType]:
    """Those that ``torch._compile`` has wrapped: references, and functions inside their decorators."""
    waiting = [v for name, module in [*sys.modules.items()] if name.startswith(HOMES) for v in vars(module).values()]
    seen: set[FunctionType] = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        enclosed = _closure(function)
        if function.__code__.co_filename == torch._compile.__file__ and "fn" in enclosed:
            yield function
        waiting += enclosed.values()


def _closure(function: FunctionType) -> dict[str, Any]:
    """The values of the outer functions' variables that `function` uses."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # an empty cell
            found[name] = cell.cell_contents
    return found
