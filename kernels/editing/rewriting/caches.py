"""Rewrites of what a kernel asks of the caches."""

from __future__ import annotations

import ast
from collections import Counter

from kernels.editing.rewriting.code import (
    Code,
    calls,
    carried,
    is_program,
    loops_of,
    named,
    statements,
    steps_of,
    target_of,
)
from kernels.editing.rewriting.memory import reads_what_it_writes, root_of, roots_in

HINTS = {"eviction_policy", "cache_modifier"}


def streaming(code: Code) -> bool:
    """What this program alone loads, and once, and what it stores, need not stay in the cache."""
    roots = roots_in(code)
    own = OwnPlaces(code)
    loads = Counter(_root(call, roots) for call in calls(code.tree, "load"))
    shared = bool(calls(code.tree, "dot", "dot_scaled"))  # tiles that other programs load as well
    found = False
    for call, turning in _with_loops(code.tree):
        if {k.arg for k in call.keywords} & HINTS or len(call.args) > 3:
            continue
        is_load = ast.unparse(call.func) == "tl.load"
        again = turning is not None and (shared or not _follows(call, turning))
        if is_load and not again and loads[_root(call, roots)] == 1 and own.has(call.args[0]):
            call.keywords.append(ast.keyword("eviction_policy", ast.Constant("evict_first")))
            found = True
        elif not is_load:
            call.keywords.append(ast.keyword("cache_modifier", ast.Constant(".cs")))
            found = True
    return found


class OwnPlaces:
    """Addresses that no other program has: they move with every place in the grid that the kernel reads, and neither a
    quotient nor a number from memory stands between."""

    def __init__(self, code: Code) -> None:
        self._values: dict[str, list[ast.expr]] = {}
        for node in ast.walk(code.tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AugAssign(ast.Name(id=name), _, value):
                    self._values.setdefault(name, []).append(value)
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    for target, value in zip(names, values, strict=False):
                        self._values.setdefault(ast.unparse(target), []).append(value)
                case ast.For(target=ast.Name(id=name), iter=turns):
                    self._values.setdefault(name, []).append(turns)
        self._axes = {axis for axis in range(3) if any(is_program(n, axis) for n in ast.walk(code.tree))}

    def has(self, address: ast.expr) -> bool:
        return self._moved_by(address, frozenset()) >= self._axes

    def _moved_by(self, node: ast.AST, seen: frozenset[str]) -> set[int]:
        for axis in self._axes:
            if is_program(node, axis):
                return {axis}
        match node:
            case ast.Name(id=name) if name not in seen:
                values = self._values.get(name, [])
                return set().union(*(self._moved_by(v, seen | {name}) for v in values))
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()) | ast.Subscript() | ast.UnaryOp():
                parts: list[ast.AST] = list(ast.iter_child_nodes(node))
            case ast.Call(func=ast.Attribute(attr="to" | "cast" | "expand_dims", value=value), args=given):
                parts = [value, *given]
            case ast.Call() if ast.unparse(node.func) in ("range", "tl.range"):
                parts = list(node.args)
            case _:
                return set()
        return set().union(*(self._moved_by(p, seen) for p in parts))


def second_pass_backwards(code: Code) -> bool:
    """A loop over what a loop before it has loaded already goes backwards, so that what was loaded last, and still lies
    in the cache, is read first. The first loop asks the cache to keep it, the second lets it go."""
    roots = roots_in(code)
    seen: list[tuple[str, set[str]]] = []
    found = False
    for loop in loops_of(code.tree):
        steps, place = steps_of(loop), target_of(loop)
        if steps is None or ast.unparse(steps[0]) != "0":
            continue
        loaded = {_root(c, roots) for c in calls(loop, "load")} - {""}
        header = ast.unparse(loop.iter)
        shared = loaded & {r for h, rs in seen if h == header for r in rs}
        seen.append((header, loaded))
        turn = f"{place}_turn"
        if not shared or carried(loop, code.tree) or not code.free(turn) or _returns(loop):
            continue
        if reads_what_it_writes(code, loop):
            continue
        end, step = ast.unparse(steps[1]), ast.unparse(steps[2])
        loop.target = ast.Name(turn, ast.Store())
        first = statements(f"{place} = (tl.cdiv({end}, {step}) - 1) * ({step}) - {turn}")
        loop.body = first + loop.body
        for call in calls(loop, "load"):
            if _root(call, roots) in shared and not {k.arg for k in call.keywords} & HINTS:
                call.keywords.append(ast.keyword("eviction_policy", ast.Constant("evict_first")))
        found = True
    return found


def _returns(loop: ast.For) -> bool:
    return any(isinstance(n, ast.Return) for n in ast.walk(loop))


def _root(call: ast.Call, roots: dict[str, str]) -> str:
    return root_of(call.args[0], roots) if call.args else ""


def _with_loops(tree: ast.FunctionDef) -> list[tuple[ast.Call, ast.For | ast.While | None]]:
    """Loads and stores, each with the innermost loop around it."""
    inner: dict[int, ast.For | ast.While] = {}
    for loop in (n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While)):  # outer loops come first
        inner |= {id(n): loop for n in ast.walk(loop)}
    return [(c, inner.get(id(c))) for c in calls(tree, "load", "store")]


def _follows(call: ast.Call, loop: ast.For | ast.While) -> bool:
    """Whether the address moves with the loop."""
    moving = {n.id for n in ast.walk(loop) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return bool(call.args) and bool(named(call.args[0]) & moving)
