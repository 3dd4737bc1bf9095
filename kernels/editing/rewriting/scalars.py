"""What a kernel's tree shows of its numbers: what a name stands for, signs, multiples, values at the owner's launch."""

from __future__ import annotations

import ast
import copy

from kernels.editing.rewriting.code import Code, is_of_language, is_program, loops_of, steps_of, target_of

DEEPEST = 20
"""Names that are followed one after another."""


class Unknown(Exception):
    """The tree does not show it."""


class Scalars:
    """The numbers of one kernel. A name stands for what it is bound to if one statement binds it."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._bound = _bound_once(code.tree)
        stored = {n.id for n in ast.walk(code.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self._fixed = code.parameters - stored

    def meaning(self, node: ast.AST) -> ast.expr | None:
        """The value that a name is bound to; None for what is no such name."""
        found = self._bound.get(node.id) if isinstance(node, ast.Name) else None
        return None if isinstance(found, ast.For) else found

    def is_pointer(self, node: ast.AST) -> bool:
        """Whether `node` is an argument that is a pointer, and stays the one that the launch gives."""
        if not isinstance(node, ast.Name) or node.id not in self._fixed:
            return False
        value = self._code.owner.arguments.get(node.id)
        return value is not None and value.kinds == {"pointer"}

    def at_the_beginning(self, node: ast.expr) -> ast.expr:
        """`node` in words of arguments and the place in the grid. Raises Unknown if it is known only later."""
        found = self._in_words_of_arguments(node, 0)
        called = {id(n) for c in ast.walk(found) if isinstance(c, ast.Call) for n in ast.walk(c.func)}
        names = {n.id for n in ast.walk(found) if isinstance(n, ast.Name) and id(n) not in called} - {"tl"}
        calls = [n for n in ast.walk(found) if isinstance(n, ast.Call)]
        if not names <= self._fixed or not all(_is_place(c) or is_of_language(c, "cdiv") for c in calls):
            raise Unknown
        return found

    def number(self, node: ast.expr) -> int | None:
        """The value of an expression at the owner's launch."""
        match node:
            case ast.Constant(value=int(value)):
                return int(value)
            case ast.Name(id=name) if name in self._fixed:
                span = self._code.span(name)
                if span is not None:
                    return span[0] if span[0] == span[1] else None
                return self._code.owner.numbers.get(name)
            case ast.Name() if (found := self.meaning(node)) is not None:
                return self.number(found)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self.number(left), self.number(right)
                if a is not None and b is not None:
                    found_numbers: dict[type[ast.operator], int] = {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b}
                    return found_numbers.get(type(op))
        return None

    def is_multiple(self, node: ast.expr, of: str) -> bool:
        """Whether an expression is a multiple of the name `of`."""
        match node:
            case ast.Constant(value=0):
                return True
            case ast.Name(id=name) if name == of:
                return True
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.is_multiple(left, of) or self.is_multiple(right, of)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                return self.is_multiple(left, of) and self.is_multiple(right, of)
            case ast.Name(id=name) if name in self._bound:
                found = self._bound[name]
                parts = _counts(found) if isinstance(found, ast.For) else (found,)
                return bool(parts) and all(self.is_multiple(p, of) for p in parts)
        return False

    def is_not_negative(self, node: ast.expr) -> bool:
        """Whether an expression is zero or more. Divisors are taken to be positive: the order of tiles divides by sizes
        of groups."""
        match node:
            case ast.Constant(value=int(value)):
                return value >= 0
            case ast.Call() if _is_place(node):
                return True
            case ast.Call(args=given) if is_of_language(node, "cdiv"):
                return all(self.is_not_negative(a) for a in given)
            case ast.BinOp(left=left, op=ast.FloorDiv() | ast.Mod()):
                return self.is_not_negative(left)
            case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
                return self.is_not_negative(left) and self.is_not_negative(right)
            case ast.Name(id=name) if name in self._bound:
                found = self._bound[name]
                parts = _counts(found) if isinstance(found, ast.For) else (found,)
                return bool(parts) and all(self.is_not_negative(p) for p in parts)
            case ast.Name(id=name) if name in self._fixed:
                span, known = self._code.span(name), self._code.owner.numbers.get(name, -1)
                return span[0] >= 0 if span is not None else known >= 0
        return False

    def is_wide(self, node: ast.expr) -> bool:
        """Whether an expression may have 64 bits."""
        return "int64" in ast.unparse(self._in_words_of_arguments(node, 0))

    def _in_words_of_arguments(self, node: ast.expr, depth: int) -> ast.expr:
        if depth > DEEPEST:
            raise Unknown
        scalars = self

        class Follow(ast.NodeTransformer):
            def visit_Name(self, name: ast.Name) -> ast.expr:
                found = scalars.meaning(name)
                return name if found is None else scalars._in_words_of_arguments(found, depth + 1)

        changed = Follow().visit(copy.deepcopy(node))
        assert isinstance(changed, ast.expr)
        return changed


def without_widening(node: ast.expr) -> ast.expr:
    """`x` of ``x.to(tl.int64)``, and `node` otherwise."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "to":
        if [ast.unparse(a) for a in node.args] != ["tl.int64"] or node.keywords:
            break
        node = node.func.value
    return node


def _is_place(node: ast.expr) -> bool:
    node = without_widening(node)
    return any(is_program(node, axis, f) for axis in (0, 1, 2) for f in ("program_id", "num_programs"))


def _bound_once(tree: ast.FunctionDef) -> dict[str, ast.expr | ast.For]:
    """Names that one statement binds, and what they are: a value, or the loop that counts by them."""
    stores = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    parameters = {a.arg for a in tree.args.args}
    found: dict[str, ast.expr | ast.For] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    found |= {target_of(loop): loop for loop in loops_of(tree)}
    return {n: v for n, v in found.items() if stores.count(n) == 1 and n not in parameters}


def _counts(loop: ast.For) -> tuple[ast.expr, ...]:
    """Begin and step of a loop, of which every turn's number is made."""
    assert isinstance(loop.iter, ast.Call)
    given = loop.iter.args
    if (written := steps_of(loop)) is not None:
        return written[0], written[2]
    begin = given[0] if len(given) == 2 else ast.Constant(0)
    return (begin, ast.Constant(1)) if given else ()
