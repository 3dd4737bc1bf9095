"""Finds loops of device code that go on until another program has done something.

A loop waits if what decides whether it goes on is read from memory that other programs write, and the loop stores
nothing meanwhile: an atomic operation, a volatile load, inline assembly, or a load whose address stays the same. A
loop that takes its next tile from a counter and works on it does not wait.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

COOPERATIVE = ("launch_cooperative_grid",)
"""Launch options that make all programs resident, for the sake of waiting."""
SHARED = ("atomic_", "inline_asm")
"""Parts of the names of operations that read or change what other programs see."""
WAITS = ("atomic_poll", "nvshmem", "symm_mem", "signal_wait", "multimem")
"""Parts of the names of operations that wait for other programs or other GPUs, in a loop or not."""
WORK = ("store", "dot", "wgmma", "mma", "async_copy")
"""Beginnings of the names of operations that a loop which only waits does not have."""


@dataclass(frozen=True)
class DeviceFunction:
    """One function of device code: its tree, and the functions that it can call by name."""

    name: str
    tree: ast.AST
    resolve: Callable[[str], DeviceFunction | None]
    key: Hashable
    """Two of one key are the same function."""


def reason_to_wait(functions: Iterable[DeviceFunction]) -> str | None:
    """Why programs of one of `functions` may wait for one another, as the end of a sentence; None if nothing shows it.
    What several of them call is looked at once."""
    seen: set[Hashable] = set()
    for each in (reached for function in functions for reached in _reached(function, seen)):
        for node in ast.walk(each.tree):
            if isinstance(node, ast.Call) and any(word in ast.unparse(node.func) for word in WAITS):
                return f"{each.name} uses {ast.unparse(node.func)}"
            if isinstance(node, ast.While) and (what := _awaited(node, each)):
                return f"a while loop of {each.name} waits for {what}"
    return None


def _reached(function: DeviceFunction, seen: set[Hashable]) -> Iterator[DeviceFunction]:
    """The function and those that it calls, each once."""
    if function.key in seen:
        return
    seen.add(function.key)
    yield function
    for call in _calls(function.tree):
        called = function.resolve(ast.unparse(call.func))
        if called is not None:
            yield from _reached(called, seen)


def _awaited(loop: ast.While, function: DeviceFunction) -> str | None:
    """What decides whether `loop` goes on, if other programs do; None if they do not, or the loop works meanwhile."""
    for call in _calls(loop):
        called = function.resolve(ast.unparse(call.func))
        bodies = [call] if called is None else [c for f in _reached(called, set()) for c in _calls(f.tree)]
        if any(ast.unparse(c.func).rpartition(".")[2].startswith(WORK) for c in bodies):
            return None
    changed = {name for node in loop.body for name in _assigned(node)}
    for call in _deciding(loop):
        shared = _shared(call, function, changed)
        if shared is not None:
            return shared
    return None


def _deciding(loop: ast.While) -> Iterator[ast.Call]:
    """Calls on which the loop's test depends: those in it, and those that give values to its names in the body."""
    names, known = _names(loop.test), set[str]()
    yield from _calls(loop.test)
    while names - known:
        known |= names
        for statement in (s for part in loop.body for s in ast.walk(part)):
            gives = isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign) and statement.value
            if gives and names & set(_assigned(statement)):
                names = names | _names(gives)
                yield from _calls(gives)


def _shared(call: ast.Call, function: DeviceFunction, changed: set[str]) -> str | None:
    """How `call` reads what other programs write; None if it does not. `changed`: names that the loop assigns."""
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if any(word in last for word in SHARED):
        return name
    if any(k.arg == "volatile" and not _is_false(k.value) for k in call.keywords):
        return "a volatile load"
    stays = not any(_names(a) & changed for a in (*call.args, *(k.value for k in call.keywords), call.func))
    called = function.resolve(name)
    if called is not None:
        inner = [c for f in _reached(called, set()) for c in _calls(f.tree)]
        found = next((s for c in inner if (s := _shared(c, called, set() if stays else {"*", *_names(c)}))), None)
        return f"{found} (in {called.name})" if found else None
    return "a load whose address stays the same" if last == "load" and stays else None


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _assigned(tree: ast.AST) -> Iterator[str]:
    return (n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
