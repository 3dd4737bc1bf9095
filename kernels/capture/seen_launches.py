"""What a process has launched so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from .describing.device_closure import python_function
from .launch_key import KeyMaker
from .launch_timer import LaunchTimer

Json = dict[str, Any]

MOST_VALUES = 8
"""Values of a whole number, all else equal, after which it is taken for one that varies."""


class Entry:
    """One distinct launch."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.count = 0
        self.timer = LaunchTimer()


class FunctionState:
    """What is known of one Triton function in this process."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.name = python_function(function).__name__
        names = list(function.arg_names)
        marked = getattr(function, "params", None)
        if marked is not None:
            constexprs = {p.name for p in marked if p.is_constexpr}
        else:  # an interpreted function keeps no parameters
            annotations = python_function(function).__annotations__
            constexprs = {n for n, a in annotations.items() if "constexpr" in str(a)}
        self.maker = KeyMaker(names, frozenset(constexprs))
        self.entries: dict[Hashable, Entry] = {}
        self.known: dict[Hashable, Entry] = {}
        """By the key without the grid that a callable returned: the latest launch."""
        self.refused: dict[Hashable, str] = {}
        """Why a launch could not be described, so that it is not tried again."""
        self.alike: Counter[Hashable] = Counter()
        self.digest: str | None = None
        """Of its part in the file, once it is written."""

    def notice_varying(self, args: Any, kwargs: Json) -> None:
        """A whole number that takes many values while nothing else changes stops counting as a part of the key."""
        for name in self.maker.numbers(args, kwargs):
            if name in self.maker.free:
                continue
            masked = KeyMaker(self.maker.names, self.maker.constexprs)
            masked.free = self.maker.free | {name}
            rest = (name, masked.key(args, kwargs))
            self.alike[rest] += 1
            if self.alike[rest] >= MOST_VALUES:
                self.maker.free.add(name)
