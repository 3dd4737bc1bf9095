"""Which locals of a function are surely one number, and no block of numbers."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set

from .device_names import names_in

SCALAR_CALLS = frozenset(
    names_in("""
    program_id num_programs cdiv next_power_of_2 min max minimum maximum abs swizzle2d cast to load atomic_add range
    static_range
    """)
)
"""Functions and methods that make one number of single numbers and pointers. ``range`` gives a loop's variable."""


def called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def functions_without_blocks(functions: Mapping[str, ast.FunctionDef]) -> set[str]:
    """Those of `functions` that give one number if they are given single numbers."""
    found = set(functions)
    while True:
        makes = {name for name in found if not _makes_no_block(functions[name], found)}
        if not makes:
            return found
        found -= makes


def scalar_names(function: ast.FunctionDef, is_kernel: bool, without_blocks: Set[str]) -> set[str]:
    """Locals of `function` that are one number, whatever it is given. A launch gives a kernel no blocks.

    `without_blocks`: functions that give one number if they are given single numbers."""
    bound: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                places = targets
            case ast.AugAssign(target=target, value=value) | ast.For(target=target, iter=value):
                places = [target]
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                places = [target]
            case _:
                continue
        for name in (n.id for place in places for n in ast.walk(place) if isinstance(n, ast.Name)):
            bound.setdefault(name, []).append(value)
    parameters = {a.arg for a in function.args.args}
    found = set(bound) - parameters
    known = parameters - set(bound) if is_kernel else set[str]()
    while True:
        others = (set(bound) | parameters) - found - known
        blocks = {n for n in found if not all(_is_scalar(v, others, without_blocks) for v in bound[n])}
        if not blocks:
            return found
        found -= blocks


def _makes_no_block(function: ast.FunctionDef, without_blocks: Set[str]) -> bool:
    return all(_is_scalar(n, set(), without_blocks) for n in function.body)


def _is_scalar(tree: ast.AST, others: Set[str], without_blocks: Set[str]) -> bool:
    """Whether nothing in `tree` makes a block, or is one of `others`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call() if called(node) not in SCALAR_CALLS | without_blocks:
                return False
            case ast.Name(id=name) if name in others:
                return False
            case ast.Slice() | ast.Constant(value=None):  # of a subscript that makes a block of a number
                return False
    return True
