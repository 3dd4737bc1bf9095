"""Follows the functions that edited code calls: those it brings itself, and those of the owner."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ..owner_function import OwnerFunction, OwnersDevice, PassedFunction, function_tree
from ..refused_edit import RefusedEdit
from .abstract_values import NONE, NUMBER, STRING, Kind, Value, whole
from .call_rules import Caller, CallRules, Claims
from .device_names import CLAIMS, DeviceName
from .fence_walk import FunctionWalk
from .name_scope import FencedFunction, NameScope
from .owner_claims import ClaimsOfFunction, claiming
from .scalar_names import functions_without_blocks
from .wait_rules import Loop, Waits

MOST_EXPANDED = 200_000
"""Parts of the source once loops are unrolled and calls expanded. A matmul's kernel has 500."""
MOST_COMBINED = 8
"""Values that a reduction carries side by side."""
POINTER_MAKERS = ("pointer_type",)
"""What a function of the owner's calls that makes a pointer from a number."""
CLAIMS_SOMETHING, MAKES_POINTERS = "claims", "makes pointers"
MOST_COMPUTED_OF = 2**24
"""Numbers that are given to Python code of the owner that the compiler runs and the fence does not follow."""
MOST_CALLS = 500
"""Calls with different kinds of arguments that are followed."""


@dataclass(frozen=True)
class Body:
    """A function whose body is followed."""

    tree: ast.FunctionDef
    scope: NameScope
    is_owners: bool


class OwnersClaims:
    """The claims that edited code may make, and the pointers that it may have made: those of the owner, of the same
    values."""

    def __init__(self, owner: OwnerFunction, edited: Mapping[str, ast.FunctionDef]) -> None:
        self._owner = owner
        owners = {str(part["name"]): function_tree(part) for part in owner.parts.values()}
        every = [(str(part["name"]), function_tree(part)) for part in owner.parts.values()]
        self._claim, self._make_pointers = (
            _with_aliases(claiming(every, frozenset(names) | _passed(owner, names)), owner)
            for names in (CLAIMS, POINTER_MAKERS)
        )
        self._edited_claim, self._edited_make_pointers = (
            claiming(edited.items(), names - edited.keys() | {*listed})
            for names, listed in ((self._claim, CLAIMS), (self._make_pointers, POINTER_MAKERS))
        )
        without_blocks = functions_without_blocks(owners)
        self._made = [
            claim
            for _, tree in every
            for claim in self._claims_of(tree, without_blocks).every(self._claim | self._make_pointers)
        ]
        self._without_blocks = functions_without_blocks({**owners, **edited})
        self._of: dict[int, ClaimsOfFunction] = {}

    def check(self, walk: Caller, node: ast.Call, name: str, used: Iterable[Any]) -> None:
        claims = [self._what(f) for f in used]
        if not any(claims):
            return
        function = walk.function
        if id(function) not in self._of:
            self._of[id(function)] = self._claims_of(function, self._without_blocks)
        made = self._of[id(function)].of(node)
        if any(made.is_owners(known) for known in self._made):
            return
        if CLAIMS_SOMETHING in claims:
            raise RefusedEdit(
                f"{name} claims what the owner's code does not claim of the same value: leave it out", node
            )
        raise RefusedEdit(f"{name} makes a pointer from what the owner's code does not make one of", node)

    def _claims_of(self, function: ast.FunctionDef, without_blocks: Set[str]) -> ClaimsOfFunction:
        only_pointers = self._make_pointers - self._claim
        return ClaimsOfFunction(function, function.name == self._owner.name, without_blocks, only_pointers)

    def _what(self, function: Any) -> str:
        """What a function does that only the owner may do; empty if nothing."""
        claim, make_pointers = self._claim, self._make_pointers
        match function:
            case FencedFunction(name=name):
                claim, make_pointers = self._edited_claim, self._edited_make_pointers
            case OwnersDevice(digest=digest):
                name = str(self._owner.parts[digest]["name"])
            case DeviceName(attribute=name):
                pass
            case PassedFunction(words=words):
                name = next((w for w in (*CLAIMS, *POINTER_MAKERS) if w in words), "")
            case _:
                return ""
        return CLAIMS_SOMETHING if name in claim else MAKES_POINTERS if name in make_pointers else ""


def _passed(owner: OwnerFunction, names: Iterable[str]) -> set[str]:
    """Parameters of the owner's for which its launch passes a function that uses one of `names`."""
    passed = ((n, f) for n, value in owner.arguments.items() for f in value.functions)
    return {n for n, f in passed if isinstance(f, PassedFunction) and not f.words.isdisjoint(names)}


def _with_aliases(names: set[str], owner: OwnerFunction) -> set[str]:
    """`names` of functions, and the names under which the owner's functions know them."""
    bound = (item for part in owner.parts.values() for item in part["bindings"].items())
    return names | {n for n, b in bound if "function" in b and owner.parts[b["function"]]["name"] in names}


class DeviceCalls:
    """`bodies`: the functions of the edit by name, in their order."""

    def __init__(self, owner: OwnerFunction, bodies: Mapping[str, Body]) -> None:
        self.rules = CallRules(self)
        self.waits = Waits()
        self.claims: Claims = OwnersClaims(owner, {name: body.tree for name, body in bodies.items()})
        self.followed: set[str] = set()
        """Functions of the edit that were called."""
        self._owner, self._bodies = owner, bodies
        self._known: dict[Any, tuple[Value, int]] = {}
        self._owners: dict[str, Body | None] = {}
        self._open: set[str] = set()

    def kernel(self, body: Body, arguments: dict[str, Value]) -> None:
        """Follow the kernel itself. Raises RefusedEdit."""
        self._walk(body, arguments, is_kernel=True)

    def follow(
        self,
        found: Any,
        given: Sequence[Value],
        named: Mapping[str, Value],
        node: ast.AST,
        loops: tuple[Loop, ...] = (),
    ) -> tuple[Value, int]:
        """What the function gives, and its size with all that it calls. `loops`: those in which it is called. Raises
        RefusedEdit."""
        if isinstance(found, FencedFunction):
            self.followed.add(found.name)
            return self._once(found.name, self._bodies[found.name], given, named, node, loops)
        if isinstance(found, OwnersDevice):
            body = self._owners_body(found.digest)
            if body is not None:
                return self._once(found.digest, body, given, named, node, loops)
            return self._unseen(found.digest, given, named, node), 1
        return self._unseen("", given, named, node), 1  # a function that the owner's launch passes

    def combine(self, found: Any, node: ast.AST) -> int:
        """Follow a function that combines numbers; its size when it is expanded. Raises RefusedEdit."""
        tree = self._tree(found)
        if tree is None:
            raise RefusedEdit("a reduction combines by a device function of this source", node)
        count = len(tree.args.args)
        if count % 2 or count > 2 * MOST_COMBINED:
            raise RefusedEdit(f"{tree.name} has {count} parameters: to combine, it takes two of each value", node)
        return self.follow(found, [NUMBER] * count, {}, node)[1]

    def _tree(self, found: Any) -> ast.FunctionDef | None:
        if isinstance(found, FencedFunction):
            return self._bodies[found.name].tree
        if isinstance(found, OwnersDevice):
            return function_tree(self._owner.parts[found.digest])
        return None

    def _owners_body(self, digest: str) -> Body | None:
        """The owner's function, if the fence would let it pass; None if only its name may be used."""
        if digest not in self._owners:
            part = self._owner.parts[digest]
            tree = function_tree(part)
            plain = not (tree.args.vararg or tree.args.kwarg or tree.args.kwonlyargs or tree.args.posonlyargs)
            plain = plain and part["language"] == "triton"
            if part["kind"] != "jit":  # Python's numbers grow in a loop, a GPU's do not
                plain = plain and not any(isinstance(n, ast.For | ast.While) for n in ast.walk(tree))
            self._owners[digest] = Body(tree, NameScope(part["bindings"], ()), True) if plain else None
        return self._owners[digest]

    def _once(
        self,
        key: str,
        body: Body,
        given: Sequence[Value],
        named: Mapping[str, Value],
        node: ast.AST,
        loops: tuple[Loop, ...],
    ) -> tuple[Value, int]:
        arguments = self._bound(body.tree, given, named, node)
        call = (key, loops, tuple(arguments.items()))
        if call not in self._known:
            if len(self._known) >= MOST_CALLS:
                raise RefusedEdit(f"more than {MOST_CALLS} calls with different arguments are made", node)
            if key in self._open:
                raise RefusedEdit(f"{body.tree.name} calls itself", node)
            self._open.add(key)
            try:
                self._known[call] = self._walk(body, arguments, is_kernel=False, loops=loops)
            except RefusedEdit:
                if not body.is_owners or any(loop.is_while for loop in loops):
                    raise
                self._known[call] = self._unseen(key, given, named, node), 1
            finally:
                self._open.discard(key)
        return self._known[call]

    def _walk(
        self, body: Body, arguments: dict[str, Value], is_kernel: bool, loops: tuple[Loop, ...] = ()
    ) -> tuple[Value, int]:
        walk = FunctionWalk(self.rules, body.scope, body.tree, is_kernel, loops)
        found = walk.follow(arguments)
        size = _size(body.tree, walk)
        if size > MOST_EXPANDED:
            raise RefusedEdit(
                f"{body.tree.name} has {size:,} parts when its loops are unrolled and its calls expanded, and at most "
                f"{MOST_EXPANDED:,} are allowed",
                body.tree,
            )
        return found, size

    def _bound(
        self, tree: ast.FunctionDef, given: Sequence[Value], named: Mapping[str, Value], node: ast.AST
    ) -> dict[str, Value]:
        names = [a.arg for a in tree.args.args]
        if len(given) > len(names):
            raise RefusedEdit(f"{tree.name} takes {len(names)} arguments, and is given {len(given)}", node)
        found = dict(zip(names, given, strict=False))
        for name, value in named.items():
            if name not in names or name in found:
                raise RefusedEdit(f"{tree.name} has no argument {name} that could be given here", node)
            found[name] = value
        for parameter, default in zip(names[::-1], tree.args.defaults[::-1], strict=False):
            found.setdefault(parameter, literal(default))
        lacking = [n for n in names if n not in found]
        if lacking:
            raise RefusedEdit(f"{tree.name} is called without {lacking[0]}", node)
        return {n: found[n] for n in names}

    def _unseen(self, digest: str, given: Sequence[Value], named: Mapping[str, Value], node: ast.AST) -> Value:
        """What a function of the owner may give whose body is not followed. Raises RefusedEdit."""
        every = [*given, *named.values()]
        if digest and self._owner.parts[digest]["kind"] != "jit":
            return self._computed(digest, every, node)
        kinds: set[Kind] = {"number"}
        if any(v.leaf_kinds & {"pointer", "block pointer"} for v in every):
            kinds.add("pointer")
        if digest and _gives_several(function_tree(self._owner.parts[digest])):
            kinds.add("tuple")
        return Value(frozenset(kinds))

    def _computed(self, digest: str, given: Sequence[Value], node: ast.AST) -> Value:
        """What the compiler computes by Python code of the owner that is not followed. It may make large numbers of
        large ones, and larger ones of what it has made. Raises RefusedEdit."""
        name = self._owner.parts[digest]["name"]
        if any(isinstance(d, str) for v in given for d in v.depends):
            raise RefusedEdit(f"{name} is given what a function computed whose results may grow without end", node)
        spans = [v.leaf_span for v in given]
        if any(max(map(abs, s)) > MOST_COMPUTED_OF for s in spans if s is not None):
            raise RefusedEdit(f"{name}, which the compiler computes, takes numbers up to {MOST_COMPUTED_OF:,}", node)
        return Value(frozenset({"number"}), (-(2**31), 2**31), depends=frozenset({digest}))


def _gives_several(tree: ast.FunctionDef) -> bool:
    returned = (n.value for n in ast.walk(tree) if isinstance(n, ast.Return))
    return any(isinstance(value, ast.Tuple | ast.List) for value in returned)


def literal(node: ast.expr) -> Value:
    """The value of a default that is written out."""
    match node:
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=int(number)):
            return whole(int(number))
        case ast.Constant(value=str()):
            return STRING
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return whole(-int(number))
        case ast.UnaryOp(op=ast.Invert(), operand=ast.Constant(value=int(number))):
            return whole(~int(number))
    return NUMBER


def _size(node: ast.AST, walk: FunctionWalk) -> int:
    size = 1 + walk.sizes.get(id(node), 0)
    inside = sum(_size(child, walk) for child in ast.iter_child_nodes(node))
    return size + inside * max(1, walk.trips.get(id(node), 1))
