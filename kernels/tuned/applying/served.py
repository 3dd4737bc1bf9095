"""What serves one kind of launch, or why nothing does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...capture.describing.launch_grid import ReadKeys
from ..tuned_table import Decision, TunedRow
from .launch_matcher import Tally

Json = dict[str, Any]


class NotApplied(Exception):
    """A row does not fit the launch; the message is the reason."""


class NoRow(NotApplied):
    """The table has no row for the launch."""


class Served:
    """What serves one kind of launch."""

    def __init__(self, row: TunedRow, label: str, decision: Decision, config: Any, used: Tally) -> None:
        self.row, self.label, self.decision = row, label, decision
        self.config = config
        """The ``triton.Config`` in place of the autotuner's choice; None if nothing is autotuned."""
        self.early: Json = {}
        """What is set before the outermost decorator runs."""
        self.moved: frozenset[str] = frozenset()
        """Constants that the program passes and the row changes: its grid must follow them."""
        self.places: tuple[tuple[int, Any], ...] = ()
        """Of those among them that are passed by position."""
        self.variant: Any = None
        """Edited device code that is launched in the function's place (``served_variant.py``); None: the program's."""
        self.tried = False
        """Whether a launch was made."""
        self.ready: Json | None = None
        """All that is set, once a launch was made, if that is all there is to do."""
        self.used, self.add = used, used.add


class Unserved:
    """Why one kind of launch is made as the program has it."""

    ready = None

    def __init__(self, reason: str, used: Tally) -> None:
        self.reason, self.used = reason, used


class FollowedGrid:
    """A program's grid function that is checked to read the constants that a row changes."""

    def __init__(self, grid: Callable[[Any], Any], served: Served) -> None:
        self._grid, self._served = grid, served

    def __call__(self, meta: Any) -> Any:
        asked = ReadKeys(meta)
        grid = self._grid(asked)
        unread = self._served.moved - asked.read
        if unread:
            raise NotApplied(f"row {self._served.label} changes {min(unread)}, which the grid function does not read")
        return grid


def describe_key(key: Json) -> str:
    """A key in a few words, for a message."""
    parts = []
    for name, part in key["arguments"].items():
        if isinstance(part, dict) and "dtype" in part and "aligned" in part:
            shape = "x".join(map(str, part["shape"])) + ":" if "shape" in part else ""
            parts.append(f"{name}={shape}{part['dtype']}")
        elif isinstance(part, dict) and "constexpr" in part:
            parts.append(f"{name}={part['constexpr']}")
        elif isinstance(part, int):
            parts.append(f"{name}={part}")
    text = " ".join(parts)
    grid = f", grid {key['grid']}" if key["grid"] is not None else ""
    return (text if len(text) <= 160 else text[:157] + "…") + grid


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
