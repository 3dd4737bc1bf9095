"""Rewrites of device code that need no model: each changes one habit of the source, if a named limit says that it may
pay.

A rewrite works on the syntax tree of the kernel and gives source that goes through the fence like any other. Whether it
is right and faster is for the proof to say.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from dataclasses import dataclass

from kernels.editing.owner_function import OwnerFunction

LOG2E, LN2 = 1.4426950408889634, 0.6931471805599453
Change = Callable[[ast.FunctionDef], bool]
"""Changes the tree, and returns whether it found anything to change."""


@dataclass(frozen=True)
class Rewrite:
    """One rewrite."""

    name: str
    reason: str
    """In words, as a model would give it."""
    limits: tuple[str, ...]
    """The limits, by the names of ``explain_kernel``, that it may move."""
    change: Change
    meta: tuple[tuple[str, tuple[int, ...]], ...] = ()


def rewritten(owner: OwnerFunction, rewrite: Rewrite) -> str | None:
    """The owner's kernel with `rewrite`; ``None`` if there is nothing to change."""
    tree = copy.deepcopy(owner.tree)
    names = {a.arg for a in tree.args.args}
    if owner.bindings.get("tl") != {"module": "triton.language"} or names & {name for name, _ in rewrite.meta}:
        return None
    if not rewrite.change(tree):
        return None
    tree.decorator_list = []
    for name, _ in rewrite.meta:
        tree.args.args.append(ast.arg(name, ast.parse("tl.constexpr", mode="eval").body))
    if tree.args.defaults:
        tree.args.defaults += [ast.Constant(values[0]) for _, values in rewrite.meta]
    return ast.unparse(ast.fix_missing_locations(tree))


def is_of_language(node: ast.AST, *names: str) -> bool:
    """Whether `node` calls ``tl.NAME`` or ``tl.math.NAME`` with one of these names."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {f"tl.{m}{n}" for n in names for m in ("", "math.")}


def _base_two(tree: ast.FunctionDef) -> bool:
    """exp by exp2 and log by log2, whose factor the compiler can join with others."""
    found = False

    class Exponentials(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.expr:
            nonlocal found
            self.generic_visit(node)
            if len(node.args) != 1 or node.keywords:
                return node
            if is_of_language(node, "exp"):
                found = True
                scaled = ast.BinOp(node.args[0], ast.Mult(), ast.Constant(LOG2E))
                return ast.Call(ast.parse("tl.exp2", mode="eval").body, [scaled], [])
            if is_of_language(node, "log"):
                found = True
                inner = ast.Call(ast.parse("tl.log2", mode="eval").body, node.args, [])
                return ast.BinOp(inner, ast.Mult(), ast.Constant(LN2))
            return node

    Exponentials().visit(tree)
    return found


def _reciprocal_roots(tree: ast.FunctionDef) -> bool:
    """1 / sqrt(x) by rsqrt(x), one special function instead of a root and a division."""
    found = False

    class Roots(ast.NodeTransformer):
        def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
            nonlocal found
            self.generic_visit(node)
            one = isinstance(node.left, ast.Constant) and node.left.value in (1, 1.0)
            if one and isinstance(node.op, ast.Div) and is_of_language(node.right, "sqrt"):
                found = True
                assert isinstance(node.right, ast.Call)
                return ast.Call(ast.parse("tl.rsqrt", mode="eval").body, node.right.args, [])
            return node

    Roots().visit(tree)
    return found


def _streaming(tree: ast.FunctionDef) -> bool:
    """Loads outside loops are read once by this program: they need not stay in the cache, nor need what is stored."""
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While)]
    repeated = {id(n) for loop in loops for n in ast.walk(loop)}
    found = False
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or {k.arg for k in node.keywords} & {"eviction_policy", "cache_modifier"}:
            continue
        if is_of_language(node, "load") and id(node) not in repeated and len(node.args) <= 3:
            node.keywords.append(ast.keyword("eviction_policy", ast.Constant("evict_first")))
            found = True
        elif is_of_language(node, "store") and len(node.args) <= 3:
            node.keywords.append(ast.keyword("cache_modifier", ast.Constant(".cs")))
            found = True
    return found


def _loops(keyword: str, parameter: str) -> Change:
    """Give every device loop that loads an option of tl.range."""

    def change(tree: ast.FunctionDef) -> bool:
        found = False
        for loop in [n for n in ast.walk(tree) if isinstance(n, ast.For) and isinstance(n.iter, ast.Call)]:
            turns = loop.iter
            assert isinstance(turns, ast.Call)
            plain = ast.unparse(turns.func) in ("range", "tl.range") and keyword not in {k.arg for k in turns.keywords}
            if plain and any(is_of_language(n, "load") for s in loop.body for n in ast.walk(s)):
                turns.func = ast.parse("tl.range", mode="eval").body
                turns.keywords.append(ast.keyword(keyword, ast.Name(parameter, ast.Load())))
                found = True
        return found

    return change


REWRITES = (
    Rewrite(
        "pipelined loops",
        "its loops wait for loads: with several stages the next turn's loads are under way",
        ("latency", "DRAM"),
        _loops("num_stages", "PIPELINE"),
        (("PIPELINE", (2, 3, 4)),),
    ),
    Rewrite(
        "unrolled loops",
        "turns of a loop that are joined have more loads under way and fewer instructions of control",
        ("latency", "issue slots", "integer pipe"),
        _loops("loop_unroll_factor", "UNROLL"),
        (("UNROLL", (2, 4)),),
    ),
    Rewrite(
        "streaming",
        "what is read once or only written need not stay in the caches",
        ("DRAM", "L2 port"),
        _streaming,
    ),
    Rewrite(
        "base two",
        "exp and log are computed to base two: their factors join with others",
        ("special functions", "fp32 pipe", "issue slots"),
        _base_two,
    ),
    Rewrite(
        "reciprocal roots",
        "one special function does the work of a root and a division",
        ("special functions", "fp32 pipe", "issue slots"),
        _reciprocal_roots,
    ),
)
BY_NAME = {rewrite.name: rewrite for rewrite in REWRITES}
