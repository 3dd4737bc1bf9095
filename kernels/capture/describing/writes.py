"""Which arguments a compiled kernel writes to, read from its Triton IR.

The pointer of every store, atomic and descriptor store is followed back through pointer arithmetic, branches, loops and
casts to the arguments that it comes from. What is added to a pointer does not change whose memory it points to. A
pointer that was itself loaded leads to the table it was loaded from. A pointer that leads nowhere is reported as such:
then any argument may be written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

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
_CARRIED = re.compile(r"[(,]\s*(%[\w.$-]+)\s*=\s*(%[\w.$-]+(?:#\d+)?)")
_ARGUMENT = re.compile(r"(%[\w.$-]+):\s*(![\w.<>, x:?*$-]+|[\w<>]+)")
_BLOCK = re.compile(r"^\s*(\^\w+)(?:\((.*)\))?:")
_BRANCH = re.compile(r"(\^\w+)(?:\(([^:)]*):[^)]*\))?")
_YIELDS = ("scf.yield", "scf.condition")
MOST_PASSES = 20
"""Over the code. Each carries what a loop or branch hands on one step further; two or three do for real kernels."""


def written_arguments(ttir: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Argument → how it is written (``store``, ``atomic``, ``through`` a table of pointers).

    `names`: the run-time arguments in order. Raises ValueError if `ttir` holds no kernel."""
    head = re.search(r"tt\.func public @\S+?\((.*)$", ttir, re.MULTILINE)
    if head is None:
        raise ValueError("the IR holds no public function")
    declared = [m[1] for m in _ARGUMENT.finditer(head[1].partition(") attributes")[0])]
    arguments: dict[str, set[str]] = {}
    for i, value in enumerate(declared):
        plain = value[1:].split(".")[0]
        arguments[value] = {plain if plain in names else names[i] if i < len(names) else ANY}
    body = ttir[head.end() :]
    followed = _Followed(arguments, body.split("tt.func private", 1)[0].splitlines())
    if "tt.call" in body and any(w in body.partition("tt.func private")[2] for w in WRITERS):
        followed.written.setdefault(ANY, set()).add("store")  # a function that was not inlined writes
    return {name: sorted(how) for name, how in sorted(followed.written.items())}


class _Followed:
    """The sources of every value: arguments, and ``*argument`` for what was loaded from one. MLIR reuses names in
    regions that lie beside one another, so a name means what was assigned to it last; what regions and blocks hand on
    is kept by place."""

    def __init__(self, arguments: dict[str, set[str]], lines: Sequence[str]) -> None:
        self.written: dict[str, set[str]] = {}
        self._handed: dict[tuple[Any, int], set[str]] = {}
        plain = [_without_locations(line) for line in lines]
        for _ in range(MOST_PASSES):
            before = {place: set(found) for place, found in self._handed.items()}
            self._sources, self._open = dict(arguments), list[tuple[int, str | None, list[set[str]]]]()
            for number, line in enumerate(plain):
                self._line(number, line)
            if self._handed == before:
                return
        self.written.setdefault(ANY, set()).add("store")

    def _line(self, number: int, line: str) -> None:
        block = _BLOCK.match(line)
        if block:
            place = block[1] if not self._open else self._open[-1][0]
            for i, (value, _) in enumerate(_ARGUMENT.findall(block[2] or "")):
                self._sources[value] = set(self._handed.get((place, i), ()))
            return
        assigned = _ASSIGNED.match(line)
        text = line[assigned.end() :] if assigned else line
        operation = assigned[2] if assigned else text.strip().partition(" ")[0].partition("(")[0].strip('"')
        operands = _VALUE.findall(text)
        if operation in WRITERS and operands:
            for name in self._of(operands[0]) or {ANY}:
                table = name.startswith("*")
                self.written.setdefault(name.lstrip("*"), set()).add("through" if table else WRITERS[operation])
        elif operation in _YIELDS:
            self._hand_on(operands[operation == "scf.condition" :])
        elif operation.startswith("cf."):
            for label, values in _BRANCH.findall(text):
                for i, value in enumerate(_VALUE.findall(values)):
                    self._handed.setdefault((label, i), set()).update(self._of(value))
        opens = line.count("{") - line.count("}")
        if opens > 0:
            self._enter(number, assigned[1] if assigned else None, operation, text)
        elif opens < 0:
            self._leave()
        elif assigned:
            self._sources[assigned[1]] = self._reached(operation, operands)

    def _reached(self, operation: str, operands: Sequence[str]) -> set[str]:
        if operation == "tt.addptr" and operands:
            return self._of(operands[0])
        if operation in ("tt.load", "tt.descriptor_load", "tt.experimental_descriptor_load") and operands:
            return {f"*{name.lstrip('*')}" for name in self._of(operands[0])}
        followed = operands[1:] if operation == "arith.select" else operands
        return set().union(*map(self._of, followed)) if followed else set()

    def _enter(self, number: int, result: str | None, operation: str, text: str) -> None:
        """Open a region: its arguments begin as what they are given, and become what the region hands on."""
        begun: list[set[str]] = []
        if operation in ("scf.for", "scf.while"):
            for i, (inner, outer) in enumerate(_CARRIED.findall(text)):
                begun.append(self._of(outer))
                self._sources[inner] = begun[i] | self._handed.get((number, i), set())
        elif operation != "scf.if":  # a reduction's result comes from its operands
            begun = [set().union(*map(self._of, _VALUE.findall(text)))]
        self._open.append((number, result, begun))

    def _leave(self) -> None:
        if not self._open:
            return
        number, result, begun = self._open.pop()
        if result is None:
            return
        handed = [i for place, i in self._handed if place == number]
        found = [
            (begun[i] if i < len(begun) else set()) | self._handed.get((number, i), set())
            for i in range(max([len(begun), *(i + 1 for i in handed)]))
        ]
        for i, reached in enumerate(found):
            self._sources[f"{result}#{i}"] = reached
        self._sources[result] = found[0] if found else set()

    def _hand_on(self, operands: Sequence[str]) -> None:
        """The values of a yield become the arguments and results of the region that it ends."""
        if self._open:
            for i, value in enumerate(operands):
                self._handed.setdefault((self._open[-1][0], i), set()).update(self._of(value))

    def _of(self, value: str) -> set[str]:
        return self._sources.get(value, self._sources.get(value.partition("#")[0], set()))


def _without_locations(line: str) -> str:
    """The line without MLIR's ``loc(...)``, which may hold parentheses."""
    while (start := line.find(" loc(")) >= 0:
        depth, end = 0, start + 4
        for end in range(start + 4, len(line)):
            depth += {"(": 1, ")": -1}.get(line[end], 0)
            if depth == 0:
                break
        line = line[:start] + line[end + 1 :]
    return line
