"""What a kernel's tree shows of its memory: which argument an address is of, and what its loops write."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from kernels.editing.fencing import device_names
from kernels.editing.owner_function import OwnersDevice, function_tree, meaning
from kernels.editing.rewriting.code import Code, calls

ATOMIC = "atomic_"


def roots_in(code: Code) -> dict[str, str]:
    """Each local that is an address of an argument: which argument it is of."""
    found = {p: p for p in code.parameters}
    for node in ast.walk(code.tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            left = _leftmost(node.value)
            if left in found:
                found.setdefault(node.targets[0].id, found[left])
    return found


def root_of(address: ast.expr, roots: Mapping[str, str]) -> str:
    """The argument that stands first in an address; empty if none does."""
    return roots.get(_leftmost(address), "")


def _leftmost(node: ast.expr) -> str:
    while isinstance(node, ast.BinOp):
        node = node.left
    return node.id if isinstance(node, ast.Name) else ""


def reads_what_it_writes(code: Code, node: ast.AST) -> bool:
    """Whether `node` may load what it has stored itself, or waits at a barrier for it: then the order of its loads and
    stores counts. A load and a store at one address, written alike, are of the same element."""
    if calls(node, "debug_barrier") or does_inside(code, "store", "debug_barrier", ATOMIC):
        return True
    roots = roots_in(code)
    loaded: dict[str, set[str]] = {}
    stored: dict[str, set[str]] = {}
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call) and n.args):
        name, place = ast.unparse(call.func), call.args[0]
        if name in ("tl.load", "tl.store") or name.startswith(f"tl.{ATOMIC}"):
            there = loaded if name == "tl.load" else stored
            there.setdefault(root_of(place, roots), set()).add(ast.unparse(place))
    return any(loaded.get(root) not in (None, places) for root, places in stored.items())


def has_atomics(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr.startswith(ATOMIC) for n in ast.walk(node))


def does_inside(code: Code, *names: str) -> bool:
    """Whether a device function that the kernel calls, or one that this one calls, uses something of one of these
    names, or is not to be seen. A name that ends with an underscore stands for all that begin with it."""
    whole = tuple(n for n in names if not n.endswith("_"))
    begins = tuple(n for n in names if n.endswith("_"))
    return any(
        tree is None
        or any(
            isinstance(n, ast.Attribute) and (n.attr in whole or (bool(begins) and n.attr.startswith(begins)))
            for n in ast.walk(tree)
        )
        for tree in _functions(code)
    )


def _functions(code: Code) -> Iterator[ast.FunctionDef | None]:
    """The device functions that the kernel reaches; None for one whose source is not at hand."""
    helpers = {h.name: h for h in code.helpers}
    todo: list[tuple[ast.AST, Mapping[str, Any]]] = [(code.tree, code.owner.bindings)]
    seen: set[str] = set()
    while todo:
        tree, bindings = todo.pop()
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            name = ast.unparse(call.func)
            if name in seen or name in device_names.BUILTINS:
                continue
            found = helpers.get(name) or _bound_to(call.func, bindings)
            if isinstance(found, ast.FunctionDef):
                seen.add(name)
                yield found
                todo.append((found, bindings))
            elif isinstance(found, OwnersDevice) and found.digest not in seen:
                seen.add(found.digest)
                part = code.owner.parts[found.digest]
                inner = function_tree(part)
                yield inner
                todo.append((inner, part["bindings"]))
            elif found is None and isinstance(call.func, ast.Name):
                yield None


def _bound_to(function: ast.expr, bindings: Mapping[str, Any]) -> Any:
    """What the name of a function stands for; None for a method of a value, and for what the names do not tell."""
    if isinstance(function, ast.Name):
        return meaning(bindings[function.id]) if function.id in bindings else None
    if isinstance(function, ast.Attribute):
        base = _bound_to(function.value, bindings)
        if isinstance(base, dict):
            return meaning(base[function.attr]) if function.attr in base else None
    return None
