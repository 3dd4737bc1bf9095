"""Rewrites of what one program computes, and so of the grid."""

from __future__ import annotations

import ast

from kernels.editing.rewriting.code import (
    ACROSS,
    Code,
    bound,
    calls,
    carried,
    expression,
    is_program,
    loops_of,
    methods,
    range_of,
    renamed,
    replaced,
    size_uses,
    statements,
    steps_of,
)
from kernels.editing.rewriting.memory import does_inside, has_atomics, reads_what_it_writes

TILES = (1024, 2048, 4096)
PARTS = (2, 4, 8)
ROWS = (2, 4)
WAVES = (1, 2, 4, 8)
"""Programs of a persistent kernel on each multiprocessor."""
WIDER = (2, 4)
GROUPS = (4, 8, 16)


def split_rows(code: Code) -> bool:
    """A program that computes a whole row, element by element, computes a part of it: smaller blocks, more programs."""
    if code.grid or not code.free("TILE") or not _one_axis(code):
        return False
    if not _is_elementwise(code):
        return False
    for size in sorted(code.parameters):
        uses = list(size_uses(code, size))
        kinds = {kind for kind, _ in uses}
        span = code.span(size)
        values = [v for v in TILES if span is not None and v < span[1]]
        if kinds not in ({"arange"}, {"arange", "filled"}) or not values or not _stores_blocks(code):
            continue
        parts = f"tl.cdiv({size}, TILE)"
        replaced(code.tree, lambda n, p=parts: _axis_part(n, f"tl.program_id(0) // {p}"))  # type: ignore[misc]
        spots = {id(node) for kind, node in uses if kind == "arange"}

        def offset(node: ast.expr, spots: set[int] = spots, parts: str = parts) -> ast.expr | None:
            if isinstance(node, ast.Call) and any(id(a) in spots for a in node.args):
                return expression(f"tl.program_id(0) % {parts} * TILE + tl.arange(0, TILE)")
            return None

        replaced(code.tree, offset)
        for kind, node in uses:
            if kind == "filled":
                assert isinstance(node, ast.Name)
                node.id = "TILE"
        code.add("TILE", values[::-1])
        code.elements = "TILE"
        code.grid = f"grid_0 * cdiv({size}, TILE), grid_1, grid_2"
        return True
    return False


def split_loops(code: Code) -> bool:
    """A program that computes a row in a loop of independent turns shares it with other programs."""
    loops = loops_of(code.tree)
    if code.grid or not loops or not code.free("PARTS", "part") or not _one_axis(code):
        return False
    inside = {id(n) for loop in loops for n in ast.walk(loop)}
    stores = calls(code.tree, "store")
    if not stores or has_atomics(code.tree) or any(id(s) not in inside for s in stores):
        return False
    if reads_what_it_writes(code, code.tree):
        return False
    for loop in loops:
        steps = steps_of(loop)
        if steps is None or ast.unparse(steps[0]) != "0" or carried(loop, code.tree):
            return False
        step = steps[2]
        given = range_of(loop)
        text = ast.unparse(step)
        given.args[0], given.args[2] = expression(f"part * ({text})"), expression(f"({text}) * PARTS")
    replaced(code.tree, lambda n: _axis_part(n, "tl.program_id(0) // PARTS"))
    code.tree.body[:0] = statements("part = tl.program_id(0) % PARTS")
    code.add("PARTS", PARTS[::-1])
    code.grid = "grid_0 * PARTS, grid_1, grid_2"
    return True


def several_rows(code: Code) -> bool:
    """A program computes several rows, one behind the other: the next one's loads begin while this one is computed."""
    first = "row_here = tl.program_id(0) * ROWS + row_turn"
    if not _looped(code, "tl.range(0, ROWS)", first, guard=True):
        return False
    code.add("ROWS", ROWS)
    code.grid = "cdiv(grid_0, ROWS), grid_1, grid_2"
    return True


def persistent(code: Code) -> bool:
    """As many programs as the GPU holds at once go through all rows, and load the next one ahead."""
    turns = "tl.cdiv(GRID_0 - tl.program_id(0), tl.num_programs(0))"
    first = "row_here = tl.program_id(0) + row_turn * tl.num_programs(0)"
    if not code.free("AHEAD") or not _looped(code, f"tl.range(0, {turns}, num_stages=AHEAD)", first, guard=False):
        return False
    code.add("PROGRAMS", [code.multiprocessors * n for n in WAVES[::-1]])
    code.add("AHEAD", (2, 3))
    code.grid = "min(grid_0, PROGRAMS), grid_1, grid_2"
    return True


def _looped(code: Code, around: str, first: str, guard: bool) -> bool:
    """Put the kernel's body into a loop over places in the owner's grid, which `first` computes; with `guard`, the
    place may lie beyond it. The body must be one that another place can run after this one."""
    taken = ("row_here", "row_turn", "ROWS", "PROGRAMS", "GRID_0")
    if code.grid or not code.free(*taken) or not _one_axis(code) or calls(code.tree, "debug_barrier"):
        return False
    returns = [n for n in ast.walk(code.tree) if isinstance(n, ast.Return)]
    if returns or calls(code.tree, "dot", "dot_scaled") or any(_loads_in_loops(code)):
        return False
    if does_inside(code, "debug_barrier", "dot", "dot_scaled"):
        return False
    body = code.tree.body
    moved = sorted(bound(body) & code.parameters)
    constants = {p["name"] for p in code.owner.part["parameters"] if p["constexpr"]} | set(code.meta)
    if set(moved) & constants or not code.free(*(f"{n}_here" for n in moved)):
        return False
    replaced(code.tree, lambda n: ast.Name("row_here", ast.Load()) if is_program(n, 0) else None)
    for name in moved:  # an argument that the body moves begins anew in each turn
        renamed(ast.Module(body, []), name, f"{name}_here")
    inner = [*statements("".join(f"{n}_here = {n}\n" for n in moved)), *body]
    if guard:
        inner = [ast.If(expression("row_here < GRID_0"), inner, [])]
    turns = ast.For(ast.Name("row_turn", ast.Store()), expression(around), [*statements(first), *inner], [])
    code.tree.body = [turns]
    code.tree.args.args.append(ast.arg("GRID_0", expression("tl.constexpr")))
    if code.tree.args.defaults:
        code.tree.args.defaults.append(ast.Constant(1))
    return True


def _loads_in_loops(code: Code) -> list[bool]:
    """Loops of the body that load: they have turns enough of their own."""
    return [bool(calls(s, "load")) for loop in loops_of(code.tree) for s in loop.body]


def wider_blocks(code: Code) -> bool:
    """A program computes a block some times as wide: each thread loads more at once, and fewer programs start."""
    if code.grid or not code.free("WIDE") or not _one_axis(code) or loops_of(code.tree):
        return False
    if not _is_elementwise(code) or not _stores_blocks(code):
        return False
    for size in sorted(code.parameters):
        uses = [node for _, node in size_uses(code, size)]
        kinds = [kind for kind, _ in size_uses(code, size)]
        starts = [
            n
            for n in ast.walk(code.tree)
            if isinstance(n, ast.BinOp)
            and isinstance(n.op, ast.Mult)
            and any(m in uses for m in (n.left, n.right))
            and any(is_program(m, 0) for x in (n.left, n.right) for m in ast.walk(x))
        ]
        if sorted(kinds) != ["arange", "other"] or len(starts) != 1:
            continue
        spots = {id(n) for n in uses}
        replaced(code.tree, lambda n, s=spots, z=size: expression(f"{z} * WIDE") if id(n) in s else None)  # type: ignore[misc]
        code.add("WIDE", WIDER)
        code.grid = "cdiv(grid_0, WIDE), grid_1, grid_2"
        return True
    return False


def swizzled(code: Code) -> bool:
    """Programs of a product go through the tiles in groups, so that those that run at once share rows and columns in
    the cache."""
    if code.grid or not code.free("GROUP", "tile_0", "tile_1") or not calls(code.tree, "dot"):
        return False
    if any(calls(code.tree, "num_programs")) or not all(_reads(code, axis) == 1 for axis in (0, 1)):
        return False
    for axis in (0, 1):
        replaced(code.tree, lambda n, a=axis: ast.Name(f"tile_{a}", ast.Load()) if is_program(n, a) else None)  # type: ignore[misc]
    code.tree.body[:0] = statements(
        "tile_1, tile_0 = tl.swizzle2d("
        "tl.program_id(1), tl.program_id(0), tl.num_programs(1), tl.num_programs(0), GROUP)"
    )
    code.add("GROUP", GROUPS)
    return True


def _reads(code: Code, axis: int) -> int:
    return sum(is_program(n, axis) for n in ast.walk(code.tree))


def _one_axis(code: Code) -> bool:
    """Whether the kernel reads its place by ``tl.program_id`` of written axes, and nothing else of the grid."""
    known = sum(is_program(n, axis) for n in ast.walk(code.tree) for axis in (0, 1, 2))
    return known == len(calls(code.tree, "program_id")) and not calls(code.tree, "num_programs") and _reads(code, 0) > 0


def _is_elementwise(code: Code) -> bool:
    """Whether each element is computed of its own place alone, so that any part of a block can be computed apart."""
    across = calls(code.tree, *ACROSS) or methods(code.tree, *ACROSS) or does_inside(code, *ACROSS, "load", "store")
    return not across and not has_atomics(code.tree) and not reads_what_it_writes(code, code.tree)


def _axis_part(node: ast.expr, text: str) -> ast.expr | None:
    return expression(f"({text})") if is_program(node, 0) else None


def _stores_blocks(code: Code) -> bool:
    """Whether every store is of a block: one of a number would be made by several programs."""
    from kernels.editing.rewriting.code import blocks_in, is_block

    blocks = blocks_in(code.tree)
    stores = calls(code.tree, "store")
    return bool(stores) and all(s.args and is_block(s.args[0], blocks) for s in stores)
