"""What the fence knows of a value before anything runs: its kinds, and between which whole numbers it lies."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
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
    """Between which numbers it lies if it is a whole number that the compiler computes; None if it is surely none."""
    items: tuple[Value, ...] | None = None
    """Of a tuple whose members are known."""
    function: Any = None
    """Of a function: what it is; a tuple if it may be several."""
    fixed: bool = False
    """Whether it is surely a whole number that the compiler computes."""
    origins: frozenset[str] = frozenset()
    """Arguments of the kernel into whose memory it may point."""
    depends: frozenset[int | str] = frozenset()
    """Loops that may change it from turn to turn, by the identity of their node, and functions of the owner that are
    not followed, by their digest."""
    nested: bool = False
    """Whether tuples may lie in it, a tuple whose members are not known."""

    @property
    def known(self) -> Span | None:
        """The span of a whole number that the compiler surely computes."""
        return self.span if self.fixed else None

    @property
    def leaf_kinds(self) -> frozenset[Kind]:
        """Its kinds, for a tuple those of what lies in it."""
        if self.items is None:
            return self.kinds
        return frozenset(k for i in self.items for k in i.leaf_kinds) | (self.kinds - {"tuple"})

    @property
    def leaf_span(self) -> Span | None:
        """Its span, for a tuple that of all whole numbers in it."""
        if self.items is None:
            return self.span
        return _around([self.span, *(i.leaf_span for i in self.items)])

    @property
    def functions(self) -> list[Any]:
        """The functions that it may be, or that lie in it."""
        inside = [f for i in self.items or () for f in i.functions]
        own = self.function if isinstance(self.function, tuple) else (self.function,)
        return [*(f for f in own if f is not None), *inside]

    @cached_property
    def leaves(self) -> int:
        """How many values lie in it."""
        return 1 if self.items is None else sum(i.leaves for i in self.items)

    def may_be(self, *kinds: Kind) -> bool:
        return any(k in self.kinds for k in kinds)

    def member(self) -> Value:
        """What an unknown member of it is."""
        if self.items:
            return joined(self.items)
        left = self.kinds if self.nested else self.kinds - {"tuple"}
        return replace(self, kinds=left or frozenset({"number"}), items=None, fixed=False)

    def not_fixed(self) -> Value:
        """The same, if it may as well be a number of the GPU."""
        return replace(self, fixed=False)

    def described(self) -> str:
        return " or ".join(sorted(self.kinds))


def _around(spans: Iterable[Span | None]) -> Span | None:
    """Between which numbers lies what lies in any of `spans`."""
    known = [s for s in spans if s is not None]
    return (min(s[0] for s in known), max(s[1] for s in known)) if known else None


def of(*kinds: Kind) -> Value:
    return Value(frozenset(kinds))


NUMBER = of("number")
POINTER = of("pointer")
DTYPE = of("dtype")
NONE = of("none")
STRING = of("string")


def whole(low: int, high: int | None = None) -> Value:
    """A constant between two whole numbers."""
    return Value(frozenset({"number"}), (low, low if high is None else high), fixed=True)


TRUTH = whole(0, 1).not_fixed()
"""What a comparison gives. The compiler computes with True as with 1."""
SIZE = whole(1, 2**20).not_fixed()
"""A number of elements of a block (TRITON_MAX_TENSOR_NUMEL)."""


def specialised(value: Value) -> Value:
    """An argument that is no constant. Triton makes a constant of a whole number that is 1."""
    if value.items is not None:
        return replace(value, items=tuple(specialised(i) for i in value.items))
    return replace(value, span=(1, 1), fixed=False) if value.may_be("number") else value


def joined(values: Iterable[Value]) -> Value:
    """Any of them."""
    given = list(values)
    if given and all(v is given[0] or v == given[0] for v in given):
        return given[0]
    kinds = frozenset(k for v in given for k in v.kinds)
    span = _around(v.span for v in given)
    items, nested = None, any(v.nested for v in given)
    if given and all(v.items is not None and len(v.items) == len(given[0].items or ()) for v in given):
        items = tuple(joined(m) for m in zip(*(v.items or () for v in given), strict=True))
    else:  # what lies in the tuples is still in them
        kinds |= {k for v in given for k in v.leaf_kinds}
        span = _around(v.leaf_span for v in given)
        nested = nested or any(i.may_be("tuple") for v in given for i in v.items or ())
    functions: list[Any] = []
    for f in (f for v in given for f in ((replace(v, items=None) if items else v).functions)):
        if f not in functions:
            functions.append(f)
    function = tuple(functions) if len(functions) > 1 else next(iter(functions), None)
    origins, depends = (frozenset().union(*s) for s in ([v.origins for v in given], [v.depends for v in given]))
    return Value(kinds, span, items, function, all(v.fixed for v in given) and bool(given), origins, depends, nested)


def settled(before: Value, after: Value) -> Value:
    """`after` without the span of numbers that a turn of a loop has changed: Triton makes tensors of them."""
    if after is before:
        return after
    items = after.items
    if items is not None and before.items is not None and len(items) == len(before.items):
        items = tuple(settled(b, a) for b, a in zip(before.items, items, strict=True))
    if before.span == after.span:
        return replace(after, items=items)
    return replace(after, span=None, items=items, fixed=False)


def tuple_of(items: Iterable[Value]) -> Value:
    return Value(frozenset({"tuple"}), None, tuple(items))


def arithmetic(operator: ast.operator, left: Span, right: Span) -> Span | None:
    """Between which numbers the result of two whole numbers lies that the compiler computes; None if it is no whole
    number. It may lie beyond 63 bits."""
    pairs = [(a, b) for a in left for b in right]
    most = max(map(abs, left))
    match operator:
        case ast.Add():
            found = [a + b for a, b in pairs]
        case ast.Sub():
            found = [a - b for a, b in pairs]
        case ast.Mult():
            found = [a * b for a, b in pairs]
        case ast.FloorDiv():
            away_from_zero = right[0] > 0 or right[1] < 0
            found = [a // b for a, b in pairs] if away_from_zero else [-most, most]
        case ast.Mod() if right[0] > 0:
            one = left[0] == left[1] and right[0] == right[1]
            found = [left[0] % right[0]] if one else [0, right[1] - 1]
        case ast.Mod():
            found = [min(right[0], 0), max(right[1], 0)]
        case ast.LShift():  # by a negative number: the compiler refuses it
            found = [a << min(max(b, 0), 64) for a, b in pairs]
        case ast.RShift():
            found = [a >> min(max(b, 0), 64) for a, b in pairs]
        case ast.BitAnd() | ast.BitOr() | ast.BitXor():
            bits = max(n.bit_length() for n in (*left, *right))
            found = [0 if left[0] >= 0 and right[0] >= 0 else -(2**bits), 2**bits - 1]
        case _:
            return None
    return min(found), max(found)


def is_too_large(span: Span | None) -> bool:
    """Whether a number in `span` may have more than 63 bits."""
    return span is not None and (span[0] < -LARGEST or span[1] >= LARGEST)
