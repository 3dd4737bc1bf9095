"""What the fence may take an argument of a launch for."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Container, Iterable, Mapping
from typing import Any

from ..capture.describing.device_closure import python_function
from .fencing.abstract_values import NUMBER, STRING, Value, of, tuple_of, whole
from .owner_function import UNKNOWN_CONSTANT, passed_function


def value_of(value: Any, constant: bool) -> Value:
    """What a launch passes. `constant`: whether the compiler knows its value."""
    if type(value).__name__ == "constexpr":
        return value_of(value.value, True)
    if hasattr(value, "data_ptr"):
        return of("pointer")
    if value is None:
        return of("none", "pointer")  # another launch may give the tensor
    if isinstance(value, str):
        return STRING
    if isinstance(value, bool | int):
        return whole(int(value)) if constant else NUMBER
    if hasattr(value, "__index__"):  # a number of NumPy's
        return value_of(int(value.__index__()), constant)
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, tuple | list):
        return tuple_of([value_of(v, constant) for v in value])
    if hasattr(value, "block_shape"):
        return of("descriptor")
    if hasattr(value, "fn") and type(value).__module__.startswith("triton"):
        return Value(frozenset({"function"}), function=passed_function(value))
    if type(value).__name__ == "dtype":
        return of("dtype")
    return UNKNOWN_CONSTANT


def values_of(function: Any, given: Mapping[str, Any], constants: Container[str]) -> dict[str, Value]:
    """What a launch passes, by parameter: what is `given`, else the default. `constants`: parameters whose values the
    compiler knows."""
    found = {}
    for name, parameter in inspect.signature(python_function(function)).parameters.items():
        value = given.get(name, parameter.default)
        known = value is not inspect.Parameter.empty
        found[name] = value_of(value, name in constants) if known else UNKNOWN_CONSTANT
    return found


def numbers_left_out(tree: ast.FunctionDef, left_out: Iterable[str]) -> dict[str, Value]:
    """Those of `left_out`, arguments that are None, which the owner's own code converts: they are numbers, where others
    may be tensors."""
    called = (n.func for n in ast.walk(tree) if isinstance(n, ast.Call))
    converted = [f for f in called if isinstance(f, ast.Attribute) and f.attr in ("to", "cast")]
    names = {f.value.id for f in converted if isinstance(f.value, ast.Name)}
    return {n: of("none", "number") for n in left_out if n in names}
