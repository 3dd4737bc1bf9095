"""What the owner's function is to the fence: its tree, what its names stand for, and what its launch gives it.

The function is a part of a capture (:mod:`kernels.capture.describing.device_closure`): a live function is described
anew for this, so that a captured and an imported kernel are edited in the same way.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..capture.describing.device_closure import describe_function, python_function
from .fencing import device_names
from .fencing.abstract_values import DTYPE, LARGEST, NONE, NUMBER, STRING, Value, tuple_of, whole
from .fencing.source_limits import remove_texts
from .refused_edit import RefusedEdit

Json = dict[str, Any]
STANDARD: dict[str, Json] = {
    "tl": {"module": "triton.language"},
    "triton": {"module": "triton"},
    "libdevice": {"module": "triton.language.extra.libdevice"},
}
"""Names that edited code may use although the owner's code does not read them."""
UNKNOWN_CONSTANT = Value(frozenset({"number", "dtype", "string", "none"}), (-LARGEST, LARGEST - 1))


@dataclass(frozen=True)
class OwnersDevice:
    """A device function of the owner that edited code calls."""

    digest: str


@dataclass(frozen=True)
class PassedFunction:
    """A device function that the owner's launch passes as an argument."""

    name: str
    words: frozenset[str] = frozenset()
    """Names and attributes that it and all that it reaches read: what it claims is among them."""


def passed_function(function: Any) -> PassedFunction:
    """A live Triton function that is passed."""
    parts: list[Json] = []

    def keep(kind: str, part: Json) -> str:
        parts.append(part)
        return str(len(parts))

    with suppress(OSError, SyntaxError, TypeError, AssertionError):  # without a source it cannot be compiled either
        describe_function(function, keep)
    nodes = [n for part in parts for n in ast.walk(function_tree(part))]
    names = {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    return PassedFunction(str(python_function(function).__name__), frozenset(names))


@dataclass(frozen=True)
class OwnerFunction:
    """The function that is edited."""

    digest: str
    parts: Mapping[str, Json]
    """Of it and of all that it reaches, by digest."""
    arguments: Mapping[str, Value]
    """What the launch gives it, by parameter; constants with the span of their values."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Whole numbers that every launch of it gives alike, by parameter: sizes and strides. They are facts of this
    problem: rewrites look at them, the fence does not."""
    element_bytes: Mapping[str, int] = field(default_factory=dict)
    """Of each tensor that every launch of it gives with elements of the same size, by parameter."""

    @property
    def part(self) -> Json:
        return self.parts[self.digest]

    @property
    def name(self) -> str:
        return str(self.part["name"])

    @cached_property
    def tree(self) -> ast.FunctionDef:
        return function_tree(self.part)

    @cached_property
    def device_functions(self) -> dict[str, str]:
        """Digests of the functions that it reaches, by name."""
        return {str(part["name"]): digest for digest, part in self.parts.items() if digest != self.digest}

    @cached_property
    def bindings(self) -> dict[str, Json]:
        """What its names stand for, and those of its device functions, unless one name stands for two things."""
        found = dict(self.part["bindings"])
        clashing: set[str] = set()
        for part in self.parts.values():
            if part["module"] != self.part["module"]:
                continue
            for name, binding in part["bindings"].items():
                if "self" not in binding and found.setdefault(name, binding) != binding:
                    clashing.add(name)
        return {n: b for n, b in found.items() if n not in clashing or n in self.part["bindings"]}


def function_tree(part: Json) -> ast.FunctionDef:
    """The tree of a function, without docstrings."""
    node = ast.parse(part["source"]).body[0]
    assert isinstance(node, ast.FunctionDef)
    remove_texts(node)
    return node


def owner_of(function: Any, arguments: Mapping[str, Value]) -> OwnerFunction:
    """A live Triton function. Raises RefusedEdit if its source cannot be read or it is no function of plain Triton."""
    parts: dict[str, Json] = {}

    def keep(kind: str, part: Json) -> str:
        digest = digest_of(part)
        parts[digest] = part
        return digest

    try:
        digest = describe_function(function, keep)
    except (OSError, SyntaxError, TypeError, AssertionError) as e:
        raise RefusedEdit(f"the source of the owner's function cannot be read ({e})") from e
    return checked(OwnerFunction(digest, parts, arguments))


def checked(owner: OwnerFunction) -> OwnerFunction:
    """`owner`, if its function can be edited at all. Raises RefusedEdit."""
    if owner.part["language"] != "triton" or owner.part["kind"] != "jit":
        raise RefusedEdit(f"{owner.name} is no function of plain Triton: only those can be edited")
    given = owner.tree.args
    if given.vararg or given.kwarg or given.posonlyargs or given.kwonlyargs:
        raise RefusedEdit(f"{owner.name} takes star arguments, or arguments by place or name alone: it is not edited")
    return owner


def digest_of(part: Json) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]


def choice_value(values: list[Any]) -> Value:
    """A meta-parameter that takes any of `values`."""
    if values and all(isinstance(v, int) for v in values):
        return whole(min(values), max(values))
    if values and all(isinstance(v, str) for v in values):
        return STRING
    return NUMBER if all(isinstance(v, int | float) for v in values) else UNKNOWN_CONSTANT


def meaning(binding: Json) -> Value | str | OwnersDevice | device_names.DeviceName | Json | None:
    """What a binding stands for in edited code: a constant as a Value, a module of the list by its name, a function of
    the owner, an object of the list, a namespace of the owner as its bindings; None if it is none of these."""
    if "function" in binding:
        return OwnersDevice(binding["function"])
    if "module" in binding:
        return str(binding["module"]) if binding["module"] in device_names.MODULES else None
    if "import" in binding:
        return device_names.look_up(_imported(*binding["import"]))
    if "namespace" in binding:
        found: Json = binding["namespace"]
        return found
    return _constant(binding)


def _constant(binding: Json) -> Value | None:
    if "constexpr" in binding:
        return _constant(binding["constexpr"])
    if "dtype" in binding:
        return DTYPE
    if "tuple" in binding:
        items = [_constant(b) for b in binding["tuple"]]
        return None if None in items else tuple_of(i for i in items if i is not None)
    if "constant" not in binding:
        return None
    value = binding["constant"]
    if binding.get("type") == "float":
        return NUMBER
    if value is None:
        return NONE
    return STRING if isinstance(value, str) else whole(int(value))


def _imported(module: str, qualname: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found
