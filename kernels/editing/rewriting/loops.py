"""Rewrites of loops: how a program goes through its elements."""

from __future__ import annotations

import ast
from collections.abc import Callable

from kernels.editing.rewriting.code import (
    ACROSS,
    Code,
    bound,
    calls,
    carried,
    expression,
    is_of_language,
    loops_of,
    methods,
    named,
    range_of,
    size_uses,
    statements,
    steps_of,
)
from kernels.editing.rewriting.memory import ATOMIC, does_inside, has_atomics, reads_what_it_writes

WRITES = ("tl.store", *(f"tl.atomic_{what}" for what in ("add", "and", "max", "min", "or", "xchg", "xor")))
SMALLER = (1024, 2048, 4096, 8192)
"""Elements of a block: 4 to 32 a thread of eight warps."""


def with_option(keyword: str, parameter: str, values: tuple[int, ...]) -> Callable[[Code], bool]:
    """Give every innermost device loop that loads an option of tl.range. Turns of a loop that loads what it stores do
    not overlap: they stay one behind the other."""

    def change(code: Code) -> bool:
        if not code.free(parameter):
            return False
        found = False
        for loop in loops_of(code.tree):
            turns = range_of(loop)
            inner = any(any(calls(s, "load") for s in other.body) for s in loop.body for other in loops_of(s))
            if inner or reads_what_it_writes(code, loop):
                continue
            if keyword not in {k.arg for k in turns.keywords} and any(calls(s, "load") for s in loop.body):
                turns.func = expression("tl.range")
                turns.keywords.append(ast.keyword(keyword, ast.Name(parameter, ast.Load())))
                found = True
        if found:
            code.add(parameter, values)
        return found

    return change


def smaller_blocks(code: Code) -> bool:
    """A loop over blocks goes in smaller ones: fewer values a thread, so that more programs run at once."""
    if not code.free("TILE"):
        return False
    for size in sorted(code.parameters):
        uses = list(size_uses(code, size))
        kinds = {kind for kind, _ in uses}
        span = code.span(size)
        values = [v for v in SMALLER if span is not None and v < span[1]]
        if kinds not in ({"range", "arange"}, {"range", "arange", "filled"}) or not values:
            continue
        if any(not _in_steps_of(code, node, size) for kind, node in uses if kind == "arange"):
            continue
        if any(_means_the_block(code, x) for x in loops_of(code.tree) if (s := steps_of(x)) and named(s[2]) == {size}):
            continue
        for _, node in uses:
            assert isinstance(node, ast.Name)
            node.id = "TILE"
        code.add("TILE", _middle_first(values))
        code.elements = "TILE"
        return True
    return False


def _in_steps_of(code: Code, node: ast.AST, size: str) -> bool:
    """Whether a block's offsets are used by loops in steps of its size alone: it stands in one, or before one."""
    loops = [x for x in loops_of(code.tree) if (s := steps_of(x)) and ast.unparse(s[2]) == size]
    if any(n is node for x in loops for n in ast.walk(x)):
        return True
    assignments = (s for s in ast.walk(code.tree) if isinstance(s, ast.Assign))
    holder = next((s for s in assignments if any(n is node for n in ast.walk(s))), None)
    if holder is None or len(holder.targets) != 1 or not isinstance(holder.targets[0], ast.Name):
        return False
    name, inside = holder.targets[0].id, {id(n) for x in loops for n in ast.walk(x)}
    reads = [n for n in ast.walk(code.tree) if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)]
    return bool(reads) and all(id(n) in inside for n in reads)


def _means_the_block(code: Code, loop: ast.For) -> bool:
    """Whether what `loop` computes depends on how many elements a block has: it stores what it made of a whole block,
    counts its turns, or loads what it stores."""
    if reads_what_it_writes(code, loop) or does_inside(code, *ACROSS) or methods(loop, *ACROSS):
        return True
    made = {id(n) for n in ast.walk(loop) if isinstance(n, ast.Call) and is_of_language(n, *ACROSS)}
    of_block: set[str] = set()
    for _ in range(3):  # what a turn hands on to the next one
        for node in ast.walk(loop):
            if isinstance(node, ast.Assign | ast.AugAssign):
                from_block = any(id(n) in made for n in ast.walk(node.value)) or named(node.value) & of_block
                of_block |= bound([node]) if from_block else set()
    stores = [n for n in ast.walk(loop) if isinstance(n, ast.Call) and ast.unparse(n.func) in WRITES]
    counts = any(isinstance(n, ast.AugAssign) and isinstance(n.value, ast.Constant) for n in ast.walk(loop))
    return counts or any(id(n) in made for s in stores for n in ast.walk(s)) or any(named(s) & of_block for s in stores)


def _middle_first(values: list[int]) -> list[int]:
    return sorted(values, key=lambda v: (abs(v - 4096), v))


def reduced_once(code: Code) -> bool:
    """A sum of a block in each turn becomes a sum of blocks, in float32, and one reduction behind the loop."""
    found = False
    for parent in [n for n in ast.walk(code.tree) if hasattr(n, "body") and isinstance(n.body, list)]:
        for loop in [s for s in parent.body if isinstance(s, ast.For) and s in loops_of(s)]:
            ranges = _block_ranges(code, loop)
            sizes = {ast.unparse(c.args[1]) for c in ranges if len(c.args) == 2}
            if len(sizes) != 1 or _has_columns(code.tree):
                continue
            (size,) = sizes
            for i, statement in enumerate(loop.body):
                total = _running_sum(statement)
                if total is None or _uses(loop, total[0]) != 1 or not code.free(f"{total[0]}_parts"):
                    continue
                if not _is_float(code, total[0]):
                    continue
                name, block = total
                parts = f"{name}_parts"
                loop.body[i] = statements(f"{parts} += ({ast.unparse(block)}).to(tl.float32)")[0]
                at = parent.body.index(loop)
                parent.body[at:at] = statements(f"{parts} = tl.zeros(({size},), dtype=tl.float32)")
                parent.body[at + 2 : at + 2] = statements(f"{name} += tl.sum({parts})")
                found = True
    return found


def _has_columns(tree: ast.FunctionDef) -> bool:
    """Whether blocks have two dimensions: then a sum over one of them is a block, and no number."""
    slices = (n.slice for n in ast.walk(tree) if isinstance(n, ast.Subscript))
    return any(isinstance(n, ast.Tuple) for n in slices) or bool(calls(tree, "expand_dims", "reshape", "view"))


def _is_float(code: Code, name: str) -> bool:
    """Whether the sum begins as a written number with a point: a whole one counts, and float32 would round it."""
    values = [s.value for s in ast.walk(code.tree) if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == name]
    written = all(isinstance(v, ast.Constant) and isinstance(v.value, float) for v in values)
    return bool(values) and written and "float64" not in ast.unparse(code.tree)


def _block_ranges(code: Code, loop: ast.For) -> list[ast.Call]:
    """The calls of arange whose blocks `loop` uses."""
    inside = calls(loop, "arange")
    names = named(loop)
    before = [
        c
        for s in ast.walk(code.tree)
        if isinstance(s, ast.Assign) and len(s.targets) == 1 and ast.unparse(s.targets[0]) in names
        for c in calls(s.value, "arange")
    ]
    return [*inside, *before]


def _running_sum(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    """``name += tl.sum(block)``: name and block."""
    if not isinstance(statement, ast.AugAssign) or not isinstance(statement.op, ast.Add):
        return None
    value = statement.value
    if not isinstance(statement.target, ast.Name) or not isinstance(value, ast.Call):
        return None
    if not is_of_language(value, "sum"):
        return None
    plain = all(k.arg == "axis" and ast.unparse(k.value) == "0" for k in value.keywords)
    return (statement.target.id, value.args[0]) if plain and len(value.args) == 1 else None


def _uses(loop: ast.For, name: str) -> int:
    return sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(loop))


def merged_loops(code: Code) -> bool:
    """Two loops over the same range, of which the second needs no result of the first, become one: what both load is
    loaded once."""
    found = False
    for parent in [n for n in ast.walk(code.tree) if isinstance(getattr(n, "body", None), list)]:
        body: list[ast.stmt] = parent.body  # type: ignore[attr-defined]
        i = 0
        while i < len(body):
            first = body[i]
            j = next((k for k in range(i + 1, len(body)) if isinstance(body[k], ast.For)), None)
            second = body[j] if j is not None else None
            if j is not None and _are_loops(first, second) and _mergeable(code, body, i, j):
                assert isinstance(first, ast.For)
                assert isinstance(second, ast.For)
                between = body[i + 1 : j]
                first.body += [s for s in second.body if ast.unparse(s) not in {ast.unparse(x) for x in first.body}]
                body[i : j + 1] = [*between, first]
                found = True
                continue
            i += 1
    return found


def _are_loops(first: ast.stmt, second: ast.stmt | None) -> bool:
    return all(isinstance(s, ast.For) and s in loops_of(s) for s in (first, second))


def _mergeable(code: Code, body: list[ast.stmt], i: int, j: int) -> bool:
    first, second, between = body[i], body[j], body[i + 1 : j]
    assert isinstance(first, ast.For)
    assert isinstance(second, ast.For)
    same = ast.dump(first.iter) == ast.dump(second.iter) and ast.dump(first.target) == ast.dump(second.target)
    plain = all(isinstance(s, ast.Assign) for s in between)
    stores = any(calls(s, "store") or has_atomics(s) for s in (first, second))
    stores = stores or does_inside(code, "store", ATOMIC, "debug_barrier")
    results = carried(first, code.tree)
    needed = {n for s in [*between, *second.body] for n in named(s)}
    shared = {ast.unparse(s) for s in first.body} & {ast.unparse(s) for s in second.body}
    clashing = bound(first.body) & bound([s for s in second.body if ast.unparse(s) not in shared])
    loads = {ast.unparse(c) for c in calls(first, "load")} & {ast.unparse(c) for c in calls(second, "load")}
    return same and plain and bool(loads) and not stores and not results & needed and not clashing
