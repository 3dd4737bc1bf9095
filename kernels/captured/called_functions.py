"""The functions of a capture that a launch reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from kernels.capture.reading.captured_launches import CapturedLaunch

Json = dict[str, Any]


def functions_of(launch: CapturedLaunch, functions: Mapping[str, Json]) -> Iterator[Json]:
    """The kernel, the functions that it is passed, and all that these call, none twice. `functions`:
    ``Capture.functions()``."""
    waiting = [d for d, part in functions.items() if part is launch.function] + called(launch.arguments)
    seen: set[str] = set()
    while waiting:
        digest = waiting.pop(0)
        if digest in seen or digest not in functions:
            continue
        seen.add(digest)
        yield functions[digest]
        waiting += called(functions[digest]["bindings"])


def called(value: Any) -> list[str]:
    """Digests of the functions that bindings or arguments name."""
    if isinstance(value, dict):
        own = [value["function"]] if isinstance(value.get("function"), str) else []
        return own + [d for v in value.values() for d in called(v)]
    return [d for v in value for d in called(v)] if isinstance(value, list) else []


def has_loop(launch: CapturedLaunch, functions: Mapping[str, Json]) -> bool:
    """Whether any of them has a loop that may be left in the code: the compiler pipelines loads in loops alone."""
    return any(
        isinstance(node, ast.For | ast.While)
        for part in functions_of(launch, functions)
        for node in ast.walk(ast.parse(part["source"]))
    )
