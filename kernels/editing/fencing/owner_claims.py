"""Claims that the compiler believes without a check (``multiple_of``, ``assume``), and which of them the owner makes.

Edited code may repeat a claim of the owner's code, about the same value. The value is the same if the statements before
the claim that make it are the same in both functions, in the same order and under the same conditions, down to the
parameters, their places and defaults:

- A loop around the claim counts only if what is claimed of changes from turn to turn.
- The claim stands under the owner's conditions. A ``return`` before it is one, too, if it looks at what is claimed of.
  Edited code may have more conditions: then it claims less.
- A single number that stands beside a constant factor (``pid * BLOCK``) may be made otherwise: any whole number keeps a
  claim of alignment. What ``assume`` says, and all conditions, are about that very number.
- A call of a device function that claims something, or one that is given such a function, is a claim, too: what it
  claims depends on what it is given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .scalar_names import called, scalar_names

OF_ALIGNMENT = frozenset({"max_constancy", "max_contiguous", "multiple_of"})
Around = tuple[ast.stmt, ...]
"""Statements in whose blocks one stands, the outermost first."""


def claiming(functions: Iterable[tuple[str, ast.FunctionDef]], names: Set[str]) -> set[str]:
    """`names`, functions that claim, with those of `functions` that use one of them."""
    found, every = set(names), list(functions)
    while True:
        more = {
            name
            for name, function in every
            if name not in found and any(isinstance(n, ast.Call) and uses(n, found) for n in ast.walk(function))
        }
        if not more:
            return found
        found |= more


def uses(node: ast.Call, names: Set[str]) -> bool:
    """Whether one of `names` is called, or given to what is called."""
    given = [*node.args, *(k.value for k in node.keywords)]
    return called(node) in names or any(_last_part(a) in names for a in given)


def _last_part(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@dataclass(frozen=True)
class Claim:
    """A claim with how the value is made that it is about."""

    text: str
    conditions: frozenset[str]
    """Under which it is made, and the returns before it that look at what is claimed of."""

    def is_owners(self, other: Claim) -> bool:
        """Whether `other`, of the owner's code, says the same wherever this one is made."""
        return self.text == other.text and other.conditions <= self.conditions


class ClaimsOfFunction:
    """The claims of one function.

    `without_blocks`: functions that make single numbers of single numbers. `make_pointers`: functions that only make
    pointers, which stay the owner's beside another number, as alignment does."""

    def __init__(
        self, function: ast.FunctionDef, is_kernel: bool, without_blocks: Set[str], make_pointers: Set[str]
    ) -> None:
        self.function = function
        self._loose = OF_ALIGNMENT | make_pointers
        arguments = function.args.args
        constants = {a.arg for a in arguments if a.annotation and "constexpr" in ast.unparse(a.annotation)}
        self.statements = list(_statements(function.body, ()))
        self._constants = constants.difference(*(_binds(s) for s, _ in self.statements))
        self._scalars = scalar_names(function, is_kernel, without_blocks)
        self.facts = {s: self._facts_of(s) for s, _ in self.statements}
        self.places = {id(n): at for at in self.statements for part in _own_parts(at[0]) for n in ast.walk(part)}
        self._made: dict[int, Claim] = {}
        self._tests: dict[tuple[ast.stmt, str], str] = {}

    def every(self, names: Set[str]) -> list[Claim]:
        """All that use one of `names`, functions that claim."""
        calls = [n for s in self.function.body for n in ast.walk(s) if isinstance(n, ast.Call)]
        return [self.of(n) for n in calls if uses(n, names)]

    def of(self, node: ast.Call) -> Claim:
        """The claim that the call `node` makes."""
        if id(node) not in self._made:
            loose = called(node) in self._loose
            made = _Making(self, node, self.that_matter(node, loose), loose)
            conditions = {*self._conditions(node), *self._returns_before(node, made.needed)}
            self._made[id(node)] = Claim(made.text(_shown(node)), frozenset(conditions))
        return self._made[id(node)]

    def _conditions(self, node: ast.AST) -> Iterator[str]:
        """The tests of the statements around `node`, each with its branch and with how its values are made."""
        statement, around = self.places[id(node)]
        for outer, inner in pairwise((*around, statement)):
            if isinstance(outer, ast.If | ast.While):
                branch = "else" if isinstance(outer, ast.If) and inner in outer.orelse else "if"
                if (outer, branch) not in self._tests:
                    making = _Making(self, outer.test, _names(outer.test), False)
                    self._tests[outer, branch] = making.text(f"{branch} {ast.unparse(outer.test)}")
                yield self._tests[outer, branch]

    def _returns_before(self, node: ast.Call, needed: Set[str]) -> Iterator[str]:
        for statement, around in self.statements:
            before = statement.lineno < node.lineno
            tests = [s.test for s in around if isinstance(s, ast.If | ast.While)]
            if isinstance(statement, ast.Return) and before and any(_names(t) & needed for t in tests):
                yield "\n".join(["return", *self._conditions(statement)])

    def _facts_of(self, statement: ast.stmt) -> _Facts:
        parts, binds = _own_parts(statement), _binds(statement)
        again = binds if isinstance(statement, ast.AugAssign) else set[str]()
        read, loosely = (again.union(*(self.that_matter(p, loose) for p in parts)) for loose in (False, True))
        inside = [list(_statements([s], ())) for b in _blocks(statement) for s in b]
        return _Facts(binds, read, loosely, _head(statement), inside)

    def that_matter(self, tree: ast.AST, loose: bool) -> set[str]:
        """Names in `tree`; if it is `loose`, without single numbers that stand beside a constant factor."""
        factors: set[int] = set()
        for node in ast.walk(tree) if loose else ():
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                for one, other in ((node.left, node.right), (node.right, node.left)):
                    constant = isinstance(other, ast.Name) and other.id in self._constants
                    if constant and isinstance(one, ast.Name) and one.id in self._scalars:
                        factors.add(id(one))
        return _names(tree, factors)


@dataclass(frozen=True)
class _Facts:
    """What is known of a statement without those in its blocks."""

    binds: set[str]
    read: set[str]
    loosely: set[str]
    """What is read, without single numbers beside a constant factor."""
    head: str
    inside: list[list[tuple[ast.stmt, Around]]]
    """The statements of its blocks, each with those in its own blocks."""


class _Making:
    """How the value is made that `node` is about, of the names `read`. `loose`: not of which single numbers."""

    def __init__(self, owner: ClaimsOfFunction, node: ast.AST, read: set[str], loose: bool) -> None:
        self._owner, self._read, self._loose = owner, read, loose
        self._at, self._around = owner.places[id(node)]
        self._chosen = list(_choices(self._at, node))
        self._counted: dict[ast.stmt, bool] = {}
        self.needed = read.union(*(_names(test) for _, test in self._chosen))
        while more := self._read_to_make() - self.needed:
            self.needed |= more
            self._counted.clear()

    def text(self, shown: str) -> str:
        """All that matters, line by line, with `shown` in its place."""
        arguments = self._owner.function.args
        defaults = dict(zip([a.arg for a in arguments.args][::-1], arguments.defaults[::-1], strict=False))
        given = [
            f"{place} {a.arg} {ast.unparse(defaults[a.arg]) if a.arg in defaults else ''}"
            for place, a in enumerate(arguments.args)
            if a.arg in self.needed
        ]
        under = [f"{branch} {ast.unparse(test)}" for branch, test in self._chosen]
        lines = self._lines(self._owner.function.body, f"=> {shown} under {under}", False)[0]
        return "\n".join([f"in {self._owner.function.name} of {given}", *lines])

    def _read_to_make(self) -> set[str]:
        """Names that are read by what binds a needed one, and by the conditions and loops around that."""
        found: set[str] = set()
        for statement, around in self._owner.statements:
            if self._binds(statement).isdisjoint(self.needed):
                continue
            found |= self._read_by(statement)
            for outer in around:
                if outer not in self._around or self._counts(outer):
                    found |= self._owner.facts[outer].read
        return found

    def _binds(self, statement: ast.stmt) -> set[str]:
        return self._owner.facts[statement].binds

    def _read_by(self, statement: ast.stmt) -> set[str]:
        facts = self._owner.facts[statement]
        return facts.loosely if self._loose else facts.read

    def _counts(self, outer: ast.stmt) -> bool:
        """Whether the claim stands in `outer`, a loop that changes what it is about. Conditions are told apart."""
        if not isinstance(outer, ast.For | ast.While):
            return False
        if outer not in self._counted:
            counts = outer is self._at or bool(self._binds(outer) & self.needed) or self._carries(outer)
            self._counted[outer] = counts
        return self._counted[outer]

    def _carries(self, loop: ast.For | ast.While) -> bool:
        """Whether a turn of `loop` may read what the turn before it has made."""
        inside = self._owner.facts[loop].inside
        changed = self.needed & set[str]().union(*(self._binds(s) for parts in inside for s, _ in parts))
        made: set[str] = set()
        for parts in inside if changed else ():
            for part, around in parts:
                read = self._read if part is self._at else set()
                if _blocks(part) or not self._binds(part).isdisjoint(self.needed):
                    read = read | self._read_by(part)
                if read & changed and read & changed - made.union(*(self._binds(outer) for outer in around)):
                    return True
            if len(parts) == 1:
                made |= self._binds(parts[0][0])
        return False

    def _lines(self, body: list[ast.stmt], claim: str, turns: bool) -> tuple[list[str], bool]:
        """The statements of `body` that matter, and whether the claim is among them. What stands behind it matters only
        in a loop that `turns`."""
        found: list[str] = []
        for statement in body:
            inside = [self._lines(b, claim, turns or self._turns(statement)) for b in _blocks(statement)]
            holds, is_at = any(held for _, held in inside), statement is self._at
            tests_again = isinstance(statement, ast.While)
            if is_at and not tests_again:
                found.append(claim)
                if not turns:
                    return found, True
            if holds and not turns and not self._counts(statement):
                found += next(lines for lines, held in inside if held)
            elif any(lines for lines, _ in inside) or self._binds(statement) & self.needed or (is_at and tests_again):
                found += [self._owner.facts[statement].head, *([claim] if is_at and tests_again else [])]
                found += [f"{'else' if i else '|'} {line}" for i, (lines, _) in enumerate(inside) for line in lines]
            if (holds or is_at) and not turns:
                return found, True
        return found, claim in found or any(line.endswith(claim) for line in found)

    def _turns(self, statement: ast.stmt) -> bool:
        return statement in (*self._around, self._at) and self._counts(statement)


def _shown(node: ast.Call) -> str:
    return f"{called(node)}({', '.join(ast.unparse(a) for a in [*node.args, *node.keywords])})"


def _choices(statement: ast.stmt, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The tests inside the expression of `statement` under which `node` is reached, each with its branch."""
    for outer in (n for part in _own_parts(statement) for n in ast.walk(part) if isinstance(n, ast.IfExp)):
        for branch, inside in (("if", outer.body), ("else", outer.orelse)):
            if any(n is node for n in ast.walk(inside)):
                yield branch, outer.test


def _statements(body: list[ast.stmt], around: Around) -> Iterator[tuple[ast.stmt, Around]]:
    """Every statement in their order, with those around it."""
    for statement in body:
        yield statement, around
        for block in _blocks(statement):
            yield from _statements(block, (*around, statement))


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    if isinstance(statement, ast.If):
        return [statement.body, statement.orelse]
    return [statement.body] if isinstance(statement, ast.For | ast.While) else []


def _own_parts(statement: ast.stmt) -> list[ast.AST]:
    """A statement without those in its blocks."""
    match statement:
        case ast.If(test=test) | ast.While(test=test):
            return [test]
        case ast.For(target=target, iter=turns):
            return [target, turns]
    return [statement]


def _head(statement: ast.stmt) -> str:
    """A statement, or the first line of one with blocks. How a loop is compiled does not matter."""
    match statement:
        case ast.If(test=test) | ast.While(test=test):
            return f"{type(statement).__name__} {ast.unparse(test)}"
        case ast.For(target=target, iter=ast.Call(args=args, keywords=named)):
            numbers = [*args, *(k for k in named if k.arg in ("arg1", "arg2", "step"))]
            return f"For {ast.unparse(target)} {', '.join(ast.unparse(n) for n in numbers)}"
    return ast.unparse(statement)


def _binds(statement: ast.stmt) -> set[str]:
    """Names that a statement binds, those in its blocks not among them."""
    inside: Any = (n for part in _own_parts(statement) for n in ast.walk(part))
    return {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _names(tree: ast.AST, but: Set[int] = frozenset()) -> set[str]:
    """Names that are read, but those of the nodes `but`."""
    read = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    return {n.id for n in read if id(n) not in but}
