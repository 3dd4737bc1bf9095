"""Rewrites of arithmetic: the same numbers by cheaper instructions."""

from __future__ import annotations

import ast

from kernels.editing.fencing.device_names import DeviceName
from kernels.editing.owner_function import meaning
from kernels.editing.rewriting.code import (
    Code,
    blocks_in,
    bound,
    expression,
    is_block,
    is_of_language,
    loops_of,
    named,
    replaced,
)

LOG2E, LN2 = 1.4426950408889634, 0.6931471805599453


def base_two(code: Code) -> bool:
    """exp by exp2 and log by log2, whose factor the compiler can join with others."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
            return None
        if is_of_language(node, "exp"):
            scaled = ast.BinOp(node.args[0], ast.Mult(), ast.Constant(LOG2E))
            return ast.Call(expression("tl.exp2"), [scaled], [])
        if is_of_language(node, "log"):
            return ast.BinOp(ast.Call(expression("tl.log2"), node.args, []), ast.Mult(), ast.Constant(LN2))
        return None

    return replaced(code.tree, change) > 0


def reciprocal_roots(code: Code) -> bool:
    """1 / sqrt(x) by rsqrt(x), one special function instead of a root and a division."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            return None
        one = isinstance(node.left, ast.Constant) and node.left.value in (1, 1.0)
        if one and isinstance(node.right, ast.Call) and is_of_language(node.right, "sqrt"):
            return ast.Call(expression("tl.rsqrt"), node.right.args, [])
        return None

    return replaced(code.tree, change) > 0


def exponential_tanh(code: Code) -> bool:
    """tanh(x) = 1 - 2 / (1 + 2^(2 x log2 e)), which has no branch and whose ends are right: 2^x is infinite or 0
    there."""

    def change(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords or not _is_tanh(code, node.func):
            return None
        power = ast.Call(expression("tl.exp2"), [ast.BinOp(node.args[0], ast.Mult(), ast.Constant(2 * LOG2E))], [])
        quotient = ast.BinOp(ast.Constant(2.0), ast.Div(), ast.BinOp(power, ast.Add(), ast.Constant(1.0)))
        return ast.BinOp(ast.Constant(1.0), ast.Sub(), quotient)

    return replaced(code.tree, change) > 0


def _is_tanh(code: Code, function: ast.expr) -> bool:
    if isinstance(function, ast.Name) and function.id in code.owner.bindings:
        found = meaning(code.owner.bindings[function.id])
        return isinstance(found, DeviceName) and found.attribute == "tanh"
    return ast.unparse(function) in ("libdevice.tanh", "tl.extra.libdevice.tanh", "tl.extra.cuda.libdevice.tanh")


def single_divisions(code: Code) -> bool:
    """A block over a number, in a loop that does not change the number: one division before it, and products."""
    blocks = blocks_in(code.tree)
    count = 0
    for loop in loops_of(code.tree):
        inside = bound(loop.body)

        def change(node: ast.expr, inside: set[str] = inside) -> ast.expr | None:
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div) or not is_block(node.left, blocks):
                return None
            names = named(node.right)
            if not names or names & (blocks | inside) or is_block(node.right, blocks):
                return None
            reciprocal = ast.BinOp(ast.Constant(1.0), ast.Div(), node.right)
            return ast.BinOp(node.left, ast.Mult(), reciprocal)

        count += replaced(loop, change)
        # `x /= n` is the same
        for node in ast.walk(loop):
            if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div) and isinstance(node.target, ast.Name):
                names = named(node.value)
                if node.target.id in blocks and names and not names & (blocks | inside):
                    node.op, node.value = ast.Mult(), ast.BinOp(ast.Constant(1.0), ast.Div(), node.value)
                    count += 1
    return count > 0
