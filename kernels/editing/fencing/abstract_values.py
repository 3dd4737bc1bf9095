"""What the fence knows of a value before anything runs: its kinds, and between which whole numbers it lies."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "number", "pointer", "block pointer", "descriptor", "dtype", "pointer type", "string", "none", "tuple", "function",
    "choice",
]  # fmt: skip
"""``number``: a tensor or scalar of numbers, or a constant. ``pointer type``: the type of a pointer, from which nothing
may be made. ``choice``: a member of an enumeration of Triton's."""
Span = tuple[int, int]
"""Smallest and largest whole number that a constant may be."""
LARGEST = 2**63


@dataclass(frozen=True)
class Value:
    """All that a value may be."""

    kinds: frozenset[Kind]
    span: Span | None = None
    """Known of whole numbers that the compiler computes; None of everything else."""
    items: tuple[Value, ...] | None = None
    """Of a tuple whose members are known."""
    function: Any = None
    """Of a function: what it is."""

    def may_be(self, *kinds: Kind) -> bool:
        return any(k in self.kinds for k in kinds)

    def member(self) -> Value:
        """What an unknown member of it is."""
        if self.items:
            return joined(self.items)
        left = self.kinds - {"tuple"}
        return Value(left or frozenset({"number"}))

    def described(self) -> str:
        return " or ".join(sorted(self.kinds))


def of(*kinds: Kind) -> Value:
    return Value(frozenset(kinds))


NUMBER = of("number")
POINTER = of("pointer")
DTYPE = of("dtype")
NONE = of("none")
STRING = of("string")


def whole(low: int, high: int | None = None) -> Value:
    """A constant between two whole numbers."""
    return Value(frozenset({"number"}), (low, low if high is None else high))


def joined(values: Iterable[Value]) -> Value:
    """Any of them."""
    given = list(values)
    if len(set(given)) == 1:
        return given[0]
    kinds = frozenset(k for v in given for k in v.kinds)
    spans = [v.span for v in given]
    span = (min(s[0] for s in spans if s), max(s[1] for s in spans if s)) if spans and all(spans) else None
    items = None
    if given and all(v.items is not None and len(v.items) == len(given[0].items or ()) for v in given):
        items = tuple(joined(m) for m in zip(*(v.items or () for v in given), strict=True))
    functions = {id(v.function): v.function for v in given}
    return Value(kinds, span, items, next(iter(functions.values())) if len(functions) == 1 else None)


def tuple_of(items: Iterable[Value]) -> Value:
    return Value(frozenset({"tuple"}), None, tuple(items))


def arithmetic(operator: ast.operator, left: Span | None, right: Span | None) -> Span | None:
    """The span of a result; None if it is not known, or beyond 63 bits."""
    if left is None or right is None:
        return None
    pairs = [(a, b) for a in left for b in right]
    match operator:
        case ast.Add():
            found = [a + b for a, b in pairs]
        case ast.Sub():
            found = [a - b for a, b in pairs]
        case ast.Mult():
            found = [a * b for a, b in pairs]
        case ast.FloorDiv() if right[0] > 0 or right[1] < 0:
            found = [a // b for a, b in pairs]
        case ast.Mod() if right[0] > 0:
            found = [0, right[1] - 1] if left[0] != left[1] or right[0] != right[1] else [left[0] % right[0]]
        case ast.LShift() if left[0] >= 0 and right[0] >= 0 and right[1] < 63:
            found = [a << b for a, b in pairs]
        case ast.RShift() if left[0] >= 0 and right[0] >= 0 and right[1] < 63:
            found = [a >> b for a, b in pairs]
        case _:
            return None
    low, high = min(found), max(found)
    return (low, high) if low >= -LARGEST and high < LARGEST else None
