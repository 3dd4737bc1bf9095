"""Device code under a rewrite, and what is read from its tree: loops, blocks of elements, places in the grid."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from kernels.editing.owner_function import OwnerFunction

REDUCTIONS = ("sum", "max", "min", "argmax", "argmin", "xor_sum", "reduce", "reduce_or")
"""What makes one number of a block that has one dimension."""
ACROSS = (
    *REDUCTIONS, "cumsum", "cumprod", "associative_scan", "sort", "flip", "dot", "dot_scaled", "histogram", "gather",
    "topk", "softmax", "trans", "permute", "reshape", "ravel", "view", "join", "split", "interleave", "cat",
)  # fmt: skip
"""What makes an element of several elements, or moves elements of a block."""


@dataclass
class Code:
    """A kernel that a rewrite changes in place."""

    owner: OwnerFunction
    tree: ast.FunctionDef
    """The kernel: the owner's, or a variant's."""
    meta: dict[str, tuple[int | str, ...]]
    """New constants so far, with their values."""
    grid: str
    """Empty: the owner's."""
    multiprocessors: int
    elements: str = ""
    """The constant that is the number of elements of a block, if the rewrite chooses it."""
    helpers: list[ast.FunctionDef] = field(default_factory=list)
    """Device functions of the variant, which stay."""

    @property
    def parameters(self) -> set[str]:
        return {a.arg for a in self.tree.args.args}

    def names(self) -> set[str]:
        """Every name of the kernel."""
        return self.parameters | {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name)}

    def free(self, *names: str) -> bool:
        """Whether the kernel has none of these names."""
        return not self.names() & set(names)

    def add(self, name: str, values: Iterable[int]) -> None:
        """A new constant."""
        self.meta[name] = tuple(values)
        self.tree.args.args.append(ast.arg(name, expression("tl.constexpr")))
        if self.tree.args.defaults:
            self.tree.args.defaults.append(ast.Constant(self.meta[name][0]))

    def span(self, name: str) -> tuple[int, int] | None:
        """Between which numbers a constant of the kernel lies, if that is known."""
        if name in self.meta:
            numbers = [v for v in self.meta[name] if isinstance(v, int)]
            return (min(numbers), max(numbers)) if numbers else None
        value = self.owner.arguments.get(name)
        return value.span if value is not None else None


def expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def statements(text: str) -> list[ast.stmt]:
    return ast.parse(text).body


def is_of_language(node: ast.AST, *names: str) -> bool:
    """Whether `node` calls ``tl.NAME`` or ``tl.math.NAME`` with one of these names."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {f"tl.{m}{n}" for n in names for m in ("", "math.")}


def is_program(node: ast.AST, axis: int, function: str = "program_id") -> bool:
    """Whether `node` is ``tl.program_id(axis)``."""
    if not (isinstance(node, ast.Call) and is_of_language(node, function)):
        return False
    given = [*node.args, *(k.value for k in node.keywords)]
    return len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value == axis


def calls(node: ast.AST, *names: str) -> list[ast.Call]:
    """Calls of functions of the language below `node`."""
    return [n for n in ast.walk(node) if isinstance(n, ast.Call) and is_of_language(n, *names)]


def methods(node: ast.AST, *names: str) -> bool:
    """Whether a method of one of these names is called below `node`, as ``x.sum()``."""
    called = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    return any(isinstance(f, ast.Attribute) and f.attr in names for f in called)


def loops_of(tree: ast.AST) -> list[ast.For]:
    """Loops of the device over a range."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.For) and isinstance(n.iter, ast.Call)]
    named_targets = [n for n in found if isinstance(n.target, ast.Name)]
    return [n for n in named_targets if ast.unparse(range_of(n).func) in ("range", "tl.range")]


def range_of(loop: ast.For) -> ast.Call:
    assert isinstance(loop.iter, ast.Call)
    return loop.iter


def target_of(loop: ast.For) -> str:
    assert isinstance(loop.target, ast.Name)
    return loop.target.id


def steps_of(loop: ast.For) -> tuple[ast.expr, ast.expr, ast.expr] | None:
    """Begin, end and step of a loop, if all of them are written."""
    given = range_of(loop).args
    return (given[0], given[1], given[2]) if len(given) == 3 else None


def named(node: ast.AST) -> set[str]:
    """Names that are read below `node`."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def bound(nodes: Iterable[ast.stmt]) -> set[str]:
    """Names that statements bind."""
    return {n.id for s in nodes for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def carried(loop: ast.For, tree: ast.FunctionDef) -> set[str]:
    """Names that take a value from one turn of `loop` to the next, or out of it. Triton carries only names that are
    bound before the loop."""
    written = bound(loop.body)
    before = {a.arg for a in tree.args.args} | {
        n.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.lineno < loop.lineno
    }
    read = _read_before_written(loop.body, set()) & before
    return {n for n in written if n in read or (n in before and _read_after(n, loop, tree))}


def _read_before_written(body: list[ast.stmt], known: set[str]) -> set[str]:
    found: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.Assign):
            found |= named(statement.value) - known
            known |= {n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            found |= (named(statement.value) | {statement.target.id}) - known
        elif isinstance(statement, ast.If):
            found |= named(statement.test) - known
            yes, no = set(known), set(known)
            found |= _read_before_written(statement.body, yes) | _read_before_written(statement.orelse, no)
            known |= yes & no
        else:
            found |= named(statement) - known
    return found


def _read_after(name: str, loop: ast.For, tree: ast.FunctionDef) -> bool:
    """Whether `name` may be read behind `loop` before it is bound anew, by the order of lines."""
    behind = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Name) and n.id == name and n.lineno > (loop.end_lineno or loop.lineno)
    ]
    if not behind:
        return False
    first = min(behind, key=lambda n: (n.lineno, isinstance(n.ctx, ast.Store)))
    return isinstance(first.ctx, ast.Load)


def size_uses(code: Code, size: str) -> Iterator[tuple[str, ast.AST]]:
    """Each use of the constant `size`: ``range`` as a loop's step, ``arange`` and ``filled`` as the size of a block,
    ``other``."""
    seen: set[int] = set()
    for loop in loops_of(code.tree):
        steps = steps_of(loop)
        if steps and isinstance(steps[2], ast.Name) and steps[2].id == size:
            seen.add(id(steps[2]))
            yield "range", steps[2]
    for call in calls(code.tree, "arange"):
        begin, end = (*call.args, None, None)[:2]
        if _is_zero(begin) and isinstance(end, ast.Name) and end.id == size:
            seen.add(id(end))
            yield "arange", end
    for call in calls(code.tree, "zeros", "full"):
        shape = next(iter(call.args), None) or next((k.value for k in call.keywords if k.arg == "shape"), None)
        if isinstance(shape, ast.Tuple | ast.List) and len(shape.elts) == 1:
            (only,) = shape.elts
            if isinstance(only, ast.Name) and only.id == size:
                seen.add(id(only))
                yield "filled", only
    for node in ast.walk(code.tree):
        if isinstance(node, ast.Name) and node.id == size and id(node) not in seen:
            yield "other", node


def _is_zero(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def replaced(tree: ast.AST, change: Callable[[ast.expr], ast.expr | None]) -> int:
    """Replace expressions of `tree` by what `change` makes of them, those inside first; how many were changed."""
    count = 0

    class Replace(ast.NodeTransformer):
        def generic_visit(self, node: ast.AST) -> ast.AST:
            nonlocal count
            super().generic_visit(node)
            if isinstance(node, ast.expr) and (new := change(node)) is not None:
                count += 1
                return new
            return node

    Replace().visit(tree)
    return count


def renamed(tree: ast.AST, old: str, new: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == old:
            node.id = new


def blocks_in(tree: ast.FunctionDef) -> set[str]:
    """Locals that hold a block of elements, as far as the tree shows it."""
    found: set[str] = set()
    for _ in range(3):  # what a loop makes of a block is one in the next turn
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AugAssign) and is_block(node.value, found):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {t.id for t in targets if isinstance(t, ast.Name)}
    return found


def is_block(node: ast.AST, blocks: set[str]) -> bool:
    """Whether an expression is a block of elements, given the names of those."""
    if isinstance(node, ast.Name):
        return node.id in blocks
    if isinstance(node, ast.Call):
        if is_of_language(node, "arange", "zeros", "full"):
            return True
        if is_of_language(node, *REDUCTIONS):
            return False
        if isinstance(node.func, ast.Attribute) and not is_of_language(node, node.func.attr):
            if node.func.attr in REDUCTIONS:
                return False
            if is_block(node.func.value, blocks):
                return True
        return any(is_block(n, blocks) for n in [*node.args, *(k.value for k in node.keywords)])
    if isinstance(node, ast.Attribute):
        return False
    return any(is_block(n, blocks) for n in ast.iter_child_nodes(node))


def copied(tree: ast.FunctionDef) -> ast.FunctionDef:
    """A copy whose lines are those of its own text."""
    found = ast.parse(ast.unparse(copy.deepcopy(tree))).body[0]
    assert isinstance(found, ast.FunctionDef)
    return found
