"""A grid as closed arithmetic over named numbers: ``cdiv(M, BLOCK_M) * 2, grid_1``.

The text is parsed and evaluated here, operation by operation. Nothing of it is run.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, SupportsIndex

from .refused_edit import RefusedEdit

MOST_CHARACTERS = 500
DEEPEST = 26
MOST_PROGRAMS = (2**31 - 1, 65_535, 65_535)
"""Of each dimension of a grid (CUDA C++ Programming Guide, Technical Specifications per Compute Capability)."""
LARGEST = 2**62
OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
}
FUNCTIONS: dict[str, Callable[..., int]] = {"cdiv": lambda a, b: -(-a // b), "min": min, "max": max}


class GridExpression:
    """One to three expressions. Raises RefusedEdit if the text is anything but that, or reads a name that is not in
    `names`."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        if len(text) > MOST_CHARACTERS:
            raise RefusedEdit(f"the grid has {len(text)} characters, and at most {MOST_CHARACTERS} are read")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise RefusedEdit("the grid is no expression: write e.g. cdiv(M, BLOCK_M), 1") from e
        _check_depth(tree)
        _unprefix(tree)
        self._parts = list(tree.elts) if isinstance(tree, ast.Tuple) else [tree]
        if not 1 <= len(self._parts) <= 3:
            raise RefusedEdit("a grid has one to three dimensions")
        for part in self._parts:
            _check(part, names)
        self.text = ", ".join(ast.unparse(p) for p in self._parts)
        self.names = frozenset(
            n.id for p in self._parts for n in ast.walk(p) if isinstance(n, ast.Name) and n.id not in FUNCTIONS
        )

    def programs(self, values: Mapping[str, Any]) -> tuple[int, ...]:
        """The grid with these numbers. Raises RefusedEdit if it cannot be launched."""
        found = tuple(_evaluate(p, values) for p in self._parts)
        for size, most in zip(found, MOST_PROGRAMS, strict=False):
            if not 1 <= size <= most:
                raise RefusedEdit(f"the grid {self.text} gives {size} programs: a dimension has 1 to {most:,}")
        return found


def _check_depth(tree: ast.expr) -> None:
    """Without recursion, so that what follows may recur, however deep its caller stands."""
    todo: list[tuple[ast.AST, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > DEEPEST:
            raise RefusedEdit(f"the grid is nested more than {DEEPEST} deep")
        todo += [(child, depth + 1) for child in ast.iter_child_nodes(node)]


def _unprefix(tree: ast.expr) -> None:
    """``triton.cdiv`` and ``tl.cdiv`` are the `cdiv` of this language."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="triton" | "tl"), attr="cdiv")):
                node.func = ast.Name("cdiv", ast.Load())


def _check(node: ast.expr, names: frozenset[str]) -> None:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool) and abs(number) < LARGEST:
            return
        case ast.Name(id=name):
            if name not in names:
                raise RefusedEdit(f"the grid reads {name}: it may read {', '.join(sorted(names))}")
            return
        case ast.BinOp(left, op, right) if type(op) in OPERATIONS:
            inside = [left, right]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inside = [operand]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS and len(args) == 2:
            inside = args
        case _:
            raise RefusedEdit(f"the grid holds {ast.unparse(node)[:60]}: it may use + - * // min max cdiv of two")
    for part in inside:
        _check(part, names)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            value = values.get(name)
            if not isinstance(value, SupportsIndex) or hasattr(value, "data_ptr"):  # NumPy has whole numbers of its own
                raise RefusedEdit(f"the grid reads {name}, which is no whole number here but a {type(value).__name__}")
            return operator.index(value)
        case ast.BinOp(left, op, right):
            operation, parts = OPERATIONS[type(op)], [left, right]
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, values)
        case ast.Call(func=ast.Name(id=name), args=parts):
            operation = FUNCTIONS[name]
        case _:
            raise AssertionError(ast.dump(node))
    try:
        found = operation(*(_evaluate(p, values) for p in parts))
    except ZeroDivisionError as e:
        raise RefusedEdit("the grid divides by zero") from e
    if abs(found) >= LARGEST:
        raise RefusedEdit("a number in the grid has more than 62 bits")
    return found
