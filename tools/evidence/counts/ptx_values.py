"""What PTX instructions compute, as far as control flow and addresses need it.

A value is an int where all 32 lanes of a warp agree, an int64 array of 32 where they differ, and ``None`` where it
depends on data. Registers hold signed numbers. Source: PTX ISA, chapter 9.7."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Value = Any
"""int, int64 array of 32, or None."""
Operation = Callable[..., Value]

LANES = np.arange(32, dtype=np.int64)
_BITS = re.compile(r"^[subf](8|16|32|64)$")
_COMPARE: dict[str, Operation] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "lo": operator.lt,
    "ls": operator.le,
    "hi": operator.gt,
    "hs": operator.ge,
}


def signed(x: Value, bits: int) -> Value:
    if bits == 64 and not isinstance(x, int):
        return x
    half = 1 << (bits - 1)
    return ((x + half) & ((1 << bits) - 1)) - half


def unsigned(x: Value, bits: int) -> Value:
    return x if bits == 64 and not isinstance(x, int) else x & ((1 << bits) - 1)


@cache
def width_of(opcode: str) -> tuple[str, int]:
    """Kind (``s``, ``u``, ``b``, ``f`` or ``p``) and bits of an opcode's last type."""
    for part in reversed(opcode.split(".")):
        if found := _BITS.match(part):
            return part[0], int(found.group(1))
        if part == "pred":
            return "p", 1
    return "", 0


@cache
def operation(opcode: str) -> Operation:
    """The function of (opcode, source values) that computes `opcode`; it answers ``None`` for what is not known."""
    base = opcode.split(".")[0]
    if base == "mbarrier":  # a wait ends: how long it takes is no question of control flow
        return lambda opcode, operands: 1 if "wait" in opcode else None
    return _TABLE.get(base, lambda opcode, operands: None)


def _plain(op: Operation, keeps_unsigned: bool = False) -> Operation:
    """An operation on numbers. An unknown operand raises TypeError, which makes the result unknown."""

    def apply(opcode: str, operands: list[Value]) -> Value:
        kind, bits = width_of(opcode)
        if kind == "f":
            return None
        if kind == "p":
            return op(*operands) & 1
        if kind == "u" and keeps_unsigned:
            operands = [unsigned(x, bits) for x in operands]
        return signed(op(*operands), bits or 64)

    return apply


def _multiply(opcode: str, operands: list[Value]) -> Value:
    kind, bits = width_of(opcode)
    if kind == "f" or None in (operands[0] is None, operands[1] is None) or any(x is None for x in operands):
        return None
    a, b, *rest = operands
    if kind == "u":
        a, b = unsigned(a, bits), unsigned(b, bits)
    product = a * b if isinstance(a, int) and isinstance(b, int) else np.multiply(a, b)
    if ".hi" in opcode:
        if bits == 64 and not isinstance(product, int):
            return None
        product = product >> bits
    if rest:
        product = product + rest[0]
    return signed(product, 64 if ".wide" in opcode else bits)


def _quotient(a: Value, b: Value) -> Value:
    """Towards zero, as the hardware divides."""
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return (np.abs(a) // np.abs(b)) * np.sign(a) * np.sign(b)


def _shift_right(opcode: str, operands: list[Value]) -> Value:
    kind, bits = width_of(opcode)
    if any(x is None for x in operands):
        return None
    a, by = operands
    by = unsigned(by, 32)
    a = unsigned(a, bits) if kind in "ub" else a
    return signed(a >> np.minimum(by, 63) if not isinstance(by, int) else a >> min(by, 63), bits)


def _shift_left(a: Value, by: Value) -> Value:
    by = unsigned(by, 32)
    if isinstance(by, int):
        return 0 if by > 63 else a << by
    return np.where(by > 63, 0, np.left_shift(np.asarray(a, np.int64), np.minimum(by, 63)))


def _set_predicate(opcode: str, operands: list[Value]) -> Value:
    kind, bits = width_of(opcode)
    a, b, *more = operands
    if kind == "f" or a is None or b is None:
        return None
    parts = opcode.split(".")
    if kind == "u" or any(p in ("lo", "ls", "hi", "hs") for p in parts):
        a, b = unsigned(a, bits), unsigned(b, bits)
    found = _COMPARE[next(p for p in parts if p in _COMPARE)](a, b)
    found = int(found) if isinstance(found, bool | np.bool_) else found.astype(np.int64)
    if not more:
        return found
    joined = next((p for p in parts if p in ("and", "or", "xor")), None)
    if joined is None or more[0] is None:
        return None
    return getattr(operator, f"{joined}_")(found, more[0])


def _select(opcode: str, operands: list[Value]) -> Value:
    a, b, which = operands
    if which is None:
        return a if isinstance(a, int) and isinstance(b, int) and a == b else None
    if isinstance(which, int):
        return a if which else b
    return None if a is None or b is None else np.where(which != 0, a, b)


def _convert(opcode: str, operands: list[Value]) -> Value:
    types = [p for p in opcode.split(".") if _BITS.match(p)]
    if operands[0] is None or any(t[0] == "f" for t in types):
        return None
    to, of = types[0], types[-1]
    x = unsigned(operands[0], int(of[1:])) if of[0] in "ub" else signed(operands[0], int(of[1:]))
    return signed(x, int(to[1:]))


def _extract(opcode: str, operands: list[Value]) -> Value:
    kind, bits = width_of(opcode)
    a, at, count = operands
    if not (isinstance(at, int) and isinstance(count, int)) or a is None:
        return None
    found = (unsigned(a, bits) >> at) & ((1 << count) - 1)
    return signed(found, count) if kind == "s" and count else found


def _insert(opcode: str, operands: list[Value]) -> Value:
    _, bits = width_of(opcode)
    a, into, at, count = operands
    if not (isinstance(at, int) and isinstance(count, int)) or a is None or into is None:
        return None
    mask = ((1 << count) - 1) << at
    return signed((into & ~mask) | ((a << at) & mask), bits)


def _shuffle(opcode: str, operands: list[Value]) -> Value:
    x, lane = operands[0], operands[1]
    if ".idx" not in opcode or x is None or not isinstance(lane, int):
        return x if isinstance(x, int) else None
    return x if isinstance(x, int) else int(x[lane & 31])


def _logic3(opcode: str, operands: list[Value]) -> Value:
    a, b, c, table = operands
    if any(x is None for x in (a, b, c)) or not isinstance(table, int):
        return None
    found: Value = 0
    for i in range(8):
        if table >> i & 1:
            found = found | ((a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c))
    return signed(found, 32)


def _both(opcode: str, operands: list[Value]) -> Value:
    if any(isinstance(x, int) and x == 0 for x in operands):
        return 0
    return _plain(operator.and_)(opcode, operands)


_TABLE: dict[str, Operation] = {
    "mov": lambda opcode, operands: operands[0],
    "cvta": lambda opcode, operands: operands[0],
    "add": _plain(operator.add),
    "sub": _plain(operator.sub),
    "mul": _multiply,
    "mad": _multiply,
    "div": _plain(_quotient, keeps_unsigned=True),
    "rem": _plain(lambda a, b: a - _quotient(a, b) * b, keeps_unsigned=True),
    "min": _plain(lambda a, b: min(a, b) if isinstance(a, int) and isinstance(b, int) else np.minimum(a, b), True),
    "max": _plain(lambda a, b: max(a, b) if isinstance(a, int) and isinstance(b, int) else np.maximum(a, b), True),
    "and": _both,
    "or": _plain(operator.or_),
    "xor": _plain(operator.xor),
    "not": lambda opcode, operands: (
        None
        if operands[0] is None
        else 1 - operands[0]
        if width_of(opcode)[0] == "p"
        else signed(~operands[0], width_of(opcode)[1])
    ),
    "neg": _plain(operator.neg),
    "abs": _plain(abs),
    "shl": _plain(_shift_left),
    "shr": _shift_right,
    "setp": _set_predicate,
    "selp": _select,
    "cvt": _convert,
    "bfe": _extract,
    "bfi": _insert,
    "shfl": _shuffle,
    "lop3": _logic3,
}
