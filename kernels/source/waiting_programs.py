"""Whether the programs of a spec's kernels wait for one another, by all code that its launch reaches.

Such a kernel ends only if the programs that it waits for are resident, and how many are resident changes with the
config. It is never tuned.
"""

from __future__ import annotations

import ast
import inspect
from types import FunctionType
from typing import Any

from kernels.source.closure import Spec, reached_functions
from kernels.source.locate import source_file
from kernels.source.waiting_loops import COOPERATIVE, DeviceFunction
from kernels.source.waiting_loops import reason_to_wait as reason_of


def reason_to_wait(spec: Spec) -> str | None:
    """Why programs may wait for one another, as the end of a sentence; None if nothing shows it. Raises SourceMissing
    if code is in no file."""
    device, host = reached_functions(spec)
    for function in host:
        for node in ast.walk(_tree(function)):
            if isinstance(node, ast.keyword) and node.arg in COOPERATIVE and not _is_off(node.value):
                return f"{function.__qualname__} asks for {node.arg}"
    return reason_of(map(_described, device))


def _described(function: FunctionType) -> DeviceFunction:
    cells = inspect.getclosurevars(function).nonlocals

    def resolve(name: str) -> DeviceFunction | None:
        first, *rest = name.split(".")
        found: Any = cells.get(first, function.__globals__.get(first))
        for attribute in rest:
            found = getattr(found, attribute, None)
        python = inspect.unwrap(found.fn) if hasattr(found, "fn") else None
        ours = isinstance(python, FunctionType) and python.__module__.partition(".")[0] != "triton"
        return _described(python) if ours and python is not None else None

    return DeviceFunction(function.__name__, _tree(function), resolve, function)


def _tree(function: FunctionType) -> ast.AST:
    return source_file(function.__code__.co_filename, function.__qualname__).function(function.__code__)


def _is_off(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in (False, None)
