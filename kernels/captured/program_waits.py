"""Finds kernels whose programs wait for one another.

Such a kernel ends only if the programs that it waits for are resident, and how many are resident changes with the
config. It is never tuned. The signs: a loop that goes on until a condition is met and reads shared state inside (an
atomic operation, a volatile load, inline assembly), also through a function that it calls; a loop that only waits for a
load (:mod:`kernels.source.waiting_loops`); and a launch that asks for a cooperative grid.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from kernels.capture.reading.captured_launches import CapturedLaunch
from kernels.captured.called_functions import functions_of
from kernels.source import waiting_loops

Json = dict[str, Any]

SHARED = ("atomic_", "inline_asm", "mbarrier", "gdc_wait")
"""Parts of the names of operations that read or change what other programs see."""


def reason_to_wait(launch: CapturedLaunch, functions: Mapping[str, Json]) -> str | None:
    """Why the programs of this launch may wait for one another, as the end of a sentence; None if nothing shows it."""
    asked = next((name for name in waiting_loops.COOPERATIVE if launch.options.get(name)), None)
    if asked is not None:
        return f"its launch asks for {asked}"
    for part in functions_of(launch, functions):
        for node in ast.walk(ast.parse(part["source"])):
            if isinstance(node, ast.While):
                shared = _shared(node, part["bindings"], functions, set())
                if shared is not None:
                    return f"a while loop of {part['name']} uses {shared}"
        if why := waiting_loops.reason_to_wait([_described(part, functions)]):
            return why
    return None


def _described(part: Json, functions: Mapping[str, Json]) -> waiting_loops.DeviceFunction:
    def resolve(name: str) -> waiting_loops.DeviceFunction | None:
        called = str(_bound(name, part["bindings"]).get("function"))
        return _described(functions[called], functions) if called in functions else None

    return waiting_loops.DeviceFunction(part["name"], ast.parse(part["source"]), resolve, part["source"])


def _shared(node: ast.AST, bindings: Json, functions: Mapping[str, Json], seen: set[str]) -> str | None:
    """The first operation on shared state in `node`, or in a function that it calls."""
    for inner in ast.walk(node):
        if not isinstance(inner, ast.Call):
            continue
        name = ast.unparse(inner.func)
        if any(word in name.rpartition(".")[2] for word in SHARED):
            return name
        if any(k.arg == "volatile" and not _is_false(k.value) for k in inner.keywords):
            return "a volatile load"
        digest = str(_bound(name, bindings).get("function"))
        if digest in functions and digest not in seen:
            seen.add(digest)
            part = functions[digest]
            found = _shared(ast.parse(part["source"]), part["bindings"], functions, seen)
            if found is not None:
                return f"{found} (in {part['name']})"
    return None


def _bound(name: str, bindings: Json) -> Json:
    """What a dotted name stands for."""
    first, *rest = name.split(".")
    found: Json = bindings.get(first, {})
    for attribute in rest:
        found = found.get("namespace", {}).get(attribute, {})
    return found


def _is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
