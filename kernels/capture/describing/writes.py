"""Which arguments a compiled kernel writes to, read from its Triton IR.

The pointer of every store, atomic and descriptor store is followed back through pointer arithmetic, loops and casts to
the arguments that it comes from. A pointer that was itself loaded leads to the table it was loaded from. A pointer that
leads nowhere is reported as such: then any argument may be written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WRITERS = {
    "tt.store": "store",
    "tt.atomic_rmw": "atomic",
    "tt.atomic_cas": "atomic",
    "tt.descriptor_store": "store",
    "tt.descriptor_scatter": "store",
    "tt.descriptor_reduce": "atomic",
    "tt.experimental_descriptor_store": "store",
}
"""Operations that write, and how: a plain store overwrites, an atomic adds to what is there."""
ANY = "?"
"""In place of an argument's name: the pointer could not be followed."""

_VALUE = re.compile(r"%[\w.$-]+(?:#\d+)?")
_ASSIGNED = re.compile(r"^\s*(%[\w.$-]+)(?::\d+)?\s*=\s*\"?([\w.]+)\"?")
_PAIR = re.compile(r"(%[\w.$-]+)\s*=\s*(%[\w.$-]+(?:#\d+)?)")
_ARGUMENT = re.compile(r"(%[\w.$-]+):\s*(![\w.<>, x:?*$-]+|[\w<>]+)")


def written_arguments(ttir: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Argument → how it is written (``store``, ``atomic``, ``through`` a table of pointers).

    `names`: the run-time arguments in order. Raises ValueError if `ttir` holds no kernel."""
    head = re.search(r"tt\.func public @\S+?\((.*)$", ttir, re.MULTILINE)
    if head is None:
        raise ValueError("the IR holds no public function")
    declared = [m[1] for m in _ARGUMENT.finditer(head[1].partition(") attributes")[0])]
    sources: dict[str, set[str]] = {}
    for i, value in enumerate(declared):
        plain = value[1:].split(".")[0]
        sources[value] = {plain if plain in names else names[i] if i < len(names) else ANY}
    found: dict[str, set[str]] = {}
    body = ttir[head.end() :]
    for line in body.split("tt.func private", 1)[0].splitlines():
        _follow(line, sources, found)
    if "tt.call" in body and any(w in body.partition("tt.func private")[2] for w in WRITERS):
        found.setdefault(ANY, set()).add("store")  # a function that was not inlined writes
    return {name: sorted(how) for name, how in sorted(found.items())}


def _follow(line: str, sources: dict[str, set[str]], found: dict[str, set[str]]) -> None:
    line = line.partition(" loc(")[0]
    for inner, outer in _PAIR.findall(line):  # iter_args(%inner = %outer)
        sources[inner] = _of(outer, sources)
    assigned = _ASSIGNED.match(line)
    text = line[assigned.end() :] if assigned else line
    operation = assigned[2] if assigned else text.strip().partition(" ")[0].strip('"')
    operands = _VALUE.findall(text)
    if operation in WRITERS and operands:
        for name in _of(operands[0], sources) or {ANY}:
            table = name.startswith("*")
            found.setdefault(name.lstrip("*"), set()).add("through" if table else WRITERS[operation])
    if assigned:
        reached = set().union(*(_of(v, sources) for v in operands)) if operands else set()
        if operation in ("tt.load", "tt.descriptor_load"):
            reached = {f"*{n.lstrip('*')}" for n in _of(operands[0], sources)} if operands else set()
        sources[assigned[1]] = reached


def _of(value: str, sources: dict[str, set[str]]) -> set[str]:
    return sources.get(value, sources.get(value.partition("#")[0], set()))
