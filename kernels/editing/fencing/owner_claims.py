"""Claims that the compiler believes without a check (``multiple_of``, ``assume``), and which of them the owner makes.

Edited code may repeat a claim of the owner's code, about the same value. The value is the same if every name in the
claim is bound by the same statements in both functions, and every name in those, down to the parameters. A name that
only ever stands beside a constant factor (``pid * BLOCK``) may be bound otherwise: any whole number keeps the claim.
The conditions around a claim belong to it. A call of a device function that claims something is a claim, too: what it
claims depends on what it is given.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Set
from typing import Any


def claiming(functions: Mapping[str, ast.FunctionDef], names: Set[str]) -> set[str]:
    """`names`, functions that claim, with those of `functions` that call one of them."""
    found = set(names)
    while True:
        more = {
            name
            for name, function in functions.items()
            if name not in found and any(isinstance(n, ast.Call) and called(n) in found for n in ast.walk(function))
        }
        if not more:
            return found
        found |= more


def owners_claims(function: ast.FunctionDef, names: Set[str]) -> set[str]:
    """Every claim of `function` together with what its names stand for, as text. `names`: functions that claim."""
    return {described(n, function) for n in ast.walk(function) if isinstance(n, ast.Call) and called(n) in names}


def called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def described(node: ast.Call, function: ast.FunctionDef) -> str:
    """The claim `node` of `function` with what its names stand for, as text."""
    constants = {a.arg for a in function.args.args if a.annotation and "constexpr" in ast.unparse(a.annotation)}
    arguments = [ast.unparse(a) for a in [*node.args, *(k.value for k in node.keywords)]]
    conditions = _conditions(node, function)
    names = _that_matter(node, constants).union(*(_that_matter(test, constants) for _, test in conditions))
    slice_of = _slice(names, _bound(function), constants)
    under = sorted(f"{branch} {ast.unparse(test)}" for branch, test in conditions)
    claim = f"{called(node)}({', '.join(arguments)})"
    return f"in {function.name}: {claim} under {under} with {sorted(slice_of)}"


def _conditions(node: ast.Call, function: ast.FunctionDef) -> list[tuple[str, ast.expr]]:
    """The tests under which `node` is reached, each with its branch."""
    found: list[tuple[str, ast.expr]] = []
    for outer in ast.walk(function):
        branches: dict[str, list[Any]]
        if isinstance(outer, ast.If | ast.While):
            branches = {"if": outer.body, "else": outer.orelse}
        elif isinstance(outer, ast.IfExp):
            branches = {"if": [outer.body], "else": [outer.orelse]}
        else:
            continue
        inside = (b for b, part in branches.items() if any(n is node for p in part for n in ast.walk(p)))
        found += [(branch, outer.test) for branch in inside]
    return found


def _bound(function: ast.FunctionDef) -> dict[str, set[str]]:
    """By name, the statements that bind it, as text; a loop is its first line."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=targets):
                text = ast.unparse(node)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                targets, text = [target], ast.unparse(node)
            case ast.For(target=target):
                targets, text = [target], f"for {ast.unparse(target)} in {ast.unparse(node.iter)}"
            case _:
                continue
        for name in [n for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]:
            found[name.id].add(text)
    return found


def _slice(names: set[str], known: dict[str, set[str]], constants: set[str]) -> set[str]:
    todo, seen, found = list(names), set(names), set[str]()
    while todo:
        for text in known.get(todo.pop(), ()):
            found.add(text)
            read = _that_matter(_tree(text), constants) - seen
            seen |= read
            todo += read
    return found


def _tree(text: str) -> ast.AST:
    return ast.parse(f"{text}:\n pass" if text.startswith("for ") else text)


def _that_matter(tree: ast.AST, constants: set[str]) -> set[str]:
    """Names in `tree` that stand anywhere but beside a constant factor."""
    factors: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for one, other in ((node.left, node.right), (node.right, node.left)):
                if isinstance(one, ast.Name) and isinstance(other, ast.Name) and other.id in constants:
                    factors.add(id(one))
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in factors}
