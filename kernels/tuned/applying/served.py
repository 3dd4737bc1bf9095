"""What serves one kind of launch, or why nothing does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...capture.describing.launch_grid import ReadKeys
from ..key import VARIES
from ..tuned_table import Decision, TunedRow, canonical
from .launch_matcher import Tally

Json = dict[str, Any]

MOST_CHARACTERS = 160
"""Of what differs, in a message."""


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
        self.programs: Json = {}
        """What the program passes for them; those that are lacking are set by heuristics."""
        self.kept: dict[int, Any] = {}
        """What the program gets in place of a compiled kernel, by the kernel's id; it holds the kernel."""
        self.variant: Any = None
        """Edited device code that is launched in the function's place (``served_variant.py``); None: the program's."""
        self.tried = False
        """Whether a launch was made."""
        self.ready: Json | None = None
        """What is set after the heuristics, once a launch was made, if that is all there is to do."""
        self.heuristics: tuple[tuple[str, Callable[[Json], Any]], ...] = ()
        """What heuristics then set: names and functions, in their order."""
        self.before: Json = {}
        """What is set before these."""
        self.names: tuple[str, ...] = ()
        """Of the function's parameters."""
        self.used = used

    def set_heuristics(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> None:
        """Put into `kwargs` what ``Heuristics.run`` does. Each function has a dictionary of its own, as there."""
        kwargs.update(self.before)
        named = dict(zip(self.names, args, strict=False))
        named.update(kwargs, grid=grid, warmup=False)
        for name, heuristic in self.heuristics:
            kwargs[name] = named[name] = heuristic(named.copy())


class Unserved:
    """Why one kind of launch is made as the program has it."""

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


def describe_miss(key: Json, rows: Sequence[TunedRow]) -> str:
    """What sets a launch apart from the nearest row: the one with which it differs in the fewest arguments, and among
    those the one whose sizes are nearest."""
    own = _parts(key)

    def apart(row: TunedRow) -> tuple[int, float, str]:
        theirs = _parts(row.key)
        other = _differing(own, theirs)
        return len(other), sum(_distance(own.get(n), theirs.get(n)) for n in other), row.name

    nearest = min(rows, key=apart)
    theirs = _parts(nearest.key)
    names = _differing(own, theirs)
    here, there = (_shortened([f"{n}={_describe(p[n])}" for n in names if n in p]) for p in (own, theirs))
    launch = here or f"a launch without {', '.join(names)}"
    return f"no row for {launch}; the nearest one, {nearest.name}, has {there or 'nothing of these'}"


def _differing(own: Json, theirs: Json) -> list[str]:
    """Names of the parts that differ as keys do: True is not 1, and nothing is not None."""
    missing = object()
    pairs = {n: (own.get(n, missing), theirs.get(n, missing)) for n in {**own, **theirs}}
    return [n for n, pair in pairs.items() if missing in pair or len(set(map(canonical, pair))) > 1]


def _parts(key: Json) -> Json:
    """The arguments, the options and the grid, by name."""
    grid = {} if key["grid"] is None else {"grid": key["grid"]}
    return {**key["arguments"], **key.get("options", {}), **grid}


def _distance(one: Any, other: Any) -> float:
    """How far two parts are apart, if they are numbers or shapes."""
    if isinstance(one, dict) and isinstance(other, dict):
        one, other = one.get("shape"), other.get("shape")
    pair = [[p] if type(p) is int else p for p in (one, other)]
    if not all(isinstance(p, list) for p in pair):
        return 0.0
    return float(sum(abs(a - b) for a, b in zip(*pair, strict=False) if type(a) is type(b) is int))


def _describe(part: Any) -> str:
    """A part of a key (``key.py``) as a person writes it."""
    if isinstance(part, list):
        return f"[{', '.join(map(_describe, part))}]"
    if not isinstance(part, dict):
        return str(part)
    if part == VARIES:
        return "any"
    if "dtype" in part and "aligned" in part:
        shape = ("x".join(map(str, part["shape"])) or "scalar") + ":" if "shape" in part else ""
        same = f" (the memory of {part['same_as']})" if "same_as" in part else ""
        return f"{shape}{part['dtype']}{'' if part['aligned'] else ' (address no multiple of 16)'}{same}"
    if "descriptor" in part:
        block = f", blocks of {_describe(part['block_shape'])}" if "block_shape" in part else ""
        return f"a descriptor of {_describe(part['shape'])} {_describe(part['descriptor'])}{block}"
    if "reinterpreted" in part:
        return f"{_describe(part['base'])} as {part['reinterpreted']}"
    if "record" in part:
        return f"{part['record']}({', '.join(f'{n}={_describe(v)}' for n, v in part['fields'].items())})"
    if "member" in part:
        return f"{part['of']}.{part['member']}"
    if "function" in part:
        return f"function {part['function'][:8]}"
    return ", ".join(map(str, part.values()))  # a constant, a truth value, a text, or the name of a class


def _shortened(parts: Sequence[str]) -> str:
    text = " ".join(parts)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
