"""What operators give, and which operands they take."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from ..refused_edit import RefusedEdit
from .abstract_values import NUMBER, TRUTH, Span, Value, arithmetic, is_too_large, joined, tuple_of

MOST_LEAVES = 256
"""Values in a tuple and in the tuples in it."""
LARGEST_EXPONENT = 32
LARGEST_BASE = 1024
CONDITIONS = frozenset({"number", "none", "string", "dtype"})
"""What is true or false to the compiler."""
_COMPARABLE = frozenset({"number", "none", "string", "dtype", "pointer type"})


def binary(node: ast.AST, operator: ast.operator, left: Value, right: Value) -> Value:
    """What `left` and `right` give. Raises RefusedEdit."""
    if isinstance(operator, ast.Add) and left.may_be("tuple") and right.may_be("tuple"):
        return _extended(node, left, right)
    for side in (left, right):
        if not side.kinds <= {"number", "none", "pointer"}:
            raise RefusedEdit(f"a {side.described()} is no operand of {_sign(operator)}", node)
    if left.may_be("pointer") or right.may_be("pointer"):
        both = left.may_be("pointer") and right.may_be("pointer")
        moves = isinstance(operator, ast.Add) or (isinstance(operator, ast.Sub) and not right.may_be("pointer"))
        if both or not moves:
            raise RefusedEdit(f"a pointer is no operand of {_sign(operator)}: it takes whole numbers", node)
        return Value(frozenset({"number", "pointer"} if "number" in _pointing(left, right) else {"pointer"}))
    if isinstance(operator, ast.Pow):
        raise RefusedEdit("a power of what is not written as a number", node)
    span = arithmetic(operator, left.span, right.span) if left.span and right.span else None
    return _whole_number(node, span, left.fixed and right.fixed)


def tuple_value(node: ast.AST, members: Sequence[Value]) -> Value:
    """A tuple of `members`. Raises RefusedEdit if it is too large."""
    if any(m.may_be("tuple") and m.items is None for m in members):
        raise RefusedEdit("a tuple of unknown length is put into a tuple", node)
    made = tuple_of(members)
    if made.leaves > MOST_LEAVES:
        raise RefusedEdit(f"a tuple holds more than {MOST_LEAVES} values with those in its members", node)
    return made


def _extended(node: ast.AST, left: Value, right: Value) -> Value:
    """A tuple with more members. In a loop its length is not known, and it may only grow by one that is."""
    if right.items is None:
        raise RefusedEdit("a tuple of unknown length is added to a tuple", node)
    if left.items is not None:
        return tuple_value(node, [*left.items, *right.items])
    return replace(joined([left, right]), fixed=False)


def unary(node: ast.UnaryOp, operand: Value) -> Value:
    """What the operator of `node` makes of `operand`. Raises RefusedEdit."""
    negates = isinstance(node.op, ast.Not)
    if not operand.kinds <= (CONDITIONS if negates else {"number", "none"}):
        raise RefusedEdit(f"{ast.unparse(node)[:60]} is applied to a {operand.described()}", node)
    if negates:
        return TRUTH
    span = operand.span
    if span is not None and isinstance(node.op, ast.USub):
        span = -span[1], -span[0]
    elif span is not None and isinstance(node.op, ast.Invert):
        span = ~span[1], ~span[0]
    return _whole_number(node, span, operand.fixed)


def _whole_number(node: ast.AST, span: Span | None, fixed: bool) -> Value:
    if is_too_large(span):
        raise RefusedEdit("a constant has more than 63 bits", node)
    return Value(frozenset({"number"}), span, fixed=fixed and span is not None)


def power(node: ast.BinOp) -> Value:
    """A power of two numbers that are written out. Raises RefusedEdit."""
    base, exponent = _literal(node.left), _literal(node.right)
    if base is None or exponent is None:
        raise RefusedEdit("a power is written with two numbers: multiply instead", node)
    if abs(base) > LARGEST_BASE or not 0 <= abs(exponent) <= LARGEST_EXPONENT:
        raise RefusedEdit(f"a power of more than {LARGEST_BASE} ** {LARGEST_EXPONENT}", node)
    if base == 0 and exponent < 0:
        raise RefusedEdit("a power divides by zero", node)
    try:
        found = base**exponent
    except OverflowError as e:
        raise RefusedEdit("a power is too large for a number", node) from e
    return _whole_number(node, (found, found), True) if isinstance(found, int) else NUMBER


def comparison(node: ast.Compare, sides: Sequence[Value]) -> Value:
    """What comparing `sides` gives. Raises RefusedEdit."""
    equality = all(isinstance(o, ast.Eq | ast.NotEq | ast.Is | ast.IsNot) for o in node.ops)
    with_none = len(sides) == 2 and any(s.kinds == {"none"} for s in sides)
    if with_none and equality:
        return TRUTH
    if any(isinstance(o, ast.Is | ast.IsNot) for o in node.ops):
        raise RefusedEdit("`is` compares with None alone: use ==", node)
    for side in sides:
        if not (side.kinds <= {"number", "none"} or (equality and side.kinds <= _COMPARABLE)):
            raise RefusedEdit(f"a {side.described()} is compared by {ast.unparse(node)[:60]}", node)
    return TRUTH


def _pointing(left: Value, right: Value) -> frozenset[str]:
    """Kinds of the side that may be a pointer."""
    return left.kinds if left.may_be("pointer") else right.kinds


def _literal(node: ast.expr) -> int | float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inside = _literal(node.operand)
        return None if inside is None else -inside
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    return None


def _sign(operator: ast.operator) -> str:
    written = ast.unparse(ast.BinOp(ast.Name("a", ast.Load()), operator, ast.Name("b", ast.Load())))
    return written[1:-1].strip()
