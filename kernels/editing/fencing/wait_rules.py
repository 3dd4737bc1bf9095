"""Loops that wait for memory which another program writes: whether they ever see it is luck.

A loop waits if it reads again, in its next turn, what others may have written meanwhile:

- by an atomic whose result is used, at a place that does not change with the turns;
- by a volatile load, or an atomic that changes nothing, at any place;
- by a plain load at a place that does not change with the turns, from memory that the kernel writes elsewhere and this
  loop does not.

Whatever of this the owner's own code does, edited code may do too. Loads that pass the caches (``.cv``), which are of
no other use, are refused altogether if the owner makes none.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from .abstract_values import Value

PAST_CACHES = ".cv"


@dataclass(frozen=True)
class Loop:
    """A loop that is being followed."""

    node: int
    """The identity of its node."""
    is_while: bool


@dataclass(frozen=True)
class _Read:
    loop: Loop
    origins: frozenset[str]
    node: ast.Call
    surely: bool
    """Whether others are known to write there."""


class Waits:
    """The reads and writes of a kernel and of all that it calls."""

    def __init__(self) -> None:
        self._written: dict[int | None, set[str]] = defaultdict(set)
        """Arguments in whose memory each loop writes; under None, anything does."""
        self._reads: list[_Read] = []

    def wrote(self, loops: tuple[Loop, ...], target: Value) -> None:
        for loop in (None, *(outer.node for outer in loops)):
            self._written[loop] |= target.origins

    def read(self, loops: tuple[Loop, ...], target: Value, node: ast.Call, watching: bool, atomic: bool) -> None:
        """`watching`: only what others write can change what is read."""
        for loop in loops:
            if watching or loop.node not in target.depends:
                self._reads.append(_Read(loop, target.origins, node, watching or atomic))

    def found(self) -> Iterator[ast.Call]:
        """The reads by which a loop waits. Everything must have been followed."""
        for r in self._reads:
            others_write = r.origins & self._written[None] and not r.origins & self._written[r.loop.node]
            if r.surely or others_write:
                yield r.node
