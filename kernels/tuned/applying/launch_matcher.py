"""Finds what serves a running launch, in about a microsecond.

The key of the table (``key.py``) takes too long for every launch. So a small function is made, once for the names and
types of the arguments that a program passes, that reads what may differ between such launches: dtype, shape and
alignment of tensors, which of them have equal addresses, whole numbers, constants, a grid of numbers. What it returns
determines the table's key, so the answer for it is remembered. Most functions are launched with one kind of arguments:
the function that read the last launch is tried first.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ...capture.describing.captured_arguments import plain_scalar
from ...capture.describing.launch_grid import grid_numbers
from ...capture.launch_key import PLAIN_TENSORS, _part, _plain_tensors

Json = dict[str, Any]

MOST_REMEMBERED = 4096
"""Answers of one reader. A program whose numbers vary without end starts anew after so many."""


Read = Callable[[tuple[Any, ...], Json, Any], Any]
"""(args, kwargs, grid) → what may differ between launches that pass the same types under the same names; None for a
launch with others."""
PAIRWISE = 3
"""Up to so many addresses are compared with each other; more are counted."""


class Reader:
    """Launches of one function that pass the same types under the same names."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.answers: dict[Any, Any] = {}


class LaunchMatcher:
    """Answers for the launches of one function.

    `names`: its parameters. `constexprs`: those that are compile-time constants. `free`: whole numbers whose value does
    not count. `device`: returns the current device, or None if all devices are alike. `find(args, kwargs, grid)`: the
    answer of a launch that is new. `failed(error)`: the answer of a launch whose arguments cannot be read."""

    def __init__(
        self,
        names: Sequence[str],
        constexprs: frozenset[str],
        free: frozenset[str],
        device: Callable[[], Any] | None,
        find: Callable[[tuple[Any, ...], Json, Any], Any],
        failed: Callable[[Exception], Any],
    ) -> None:
        self._names, self._constexprs, self._free = tuple(names), constexprs, free
        self._device, self._find, self._failed = device, find, failed
        self._readers: dict[tuple[Any, ...], list[Reader]] = {}
        self.last = Reader(lambda args, kwargs, grid: None)
        """Of the last launch; a caller in a hurry asks it first."""
        self._lock = threading.Lock()

    def answer(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> Any:
        """What serves this launch."""
        try:
            return self._answer(args, kwargs, grid)
        except Exception as e:  # noqa: BLE001 -- a table must not fail the program; it is printed and counted
            return self._failed(e)

    def _answer(self, args: tuple[Any, ...], kwargs: Json, grid: Any) -> Any:
        last = self.last
        answer = last.answers.get(last.read(args, kwargs, grid))
        if answer is not None:
            return answer
        called = callable(grid)
        about = (called, len(args), *kwargs)
        for reader in self._readers.get(about, ()):
            values = reader.read(args, kwargs, grid)
            if values is not None:
                break
        else:
            reader = Reader(self._make(args, kwargs, called))
            values = reader.read(args, kwargs, grid)
            with self._lock:
                self._readers[about] = [*self._readers.get(about, ()), reader]
        answer = reader.answers.get(values)
        if answer is None:
            if len(reader.answers) >= MOST_REMEMBERED:
                reader.answers.clear()
            # Two threads may both find it; they find the same.
            answer = reader.answers.setdefault(values, self._find(args, kwargs, grid))
        self.last = reader
        return answer

    def put(self, old: Any, new: Any) -> None:
        """Answer with `new` what was answered with `old`."""
        for reader in [r for readers in list(self._readers.values()) for r in readers]:
            reader.answers = {values: new if found is old else found for values, found in reader.answers.items()}

    def _make(self, args: tuple[Any, ...], kwargs: Json, called: bool) -> Read:
        """The function that reads what may differ. `called`: whether the grid is a function, which may read shapes."""
        names = [*self._names[: len(args)], *kwargs]
        plain = PLAIN_TENSORS or _plain_tensors()
        given = [f"v{i}" for i in range(len(names))]
        scope: Json = {"part": _part, "aligned": _aligned, "alike": _alike, "numbers": grid_numbers}
        scope["device"] = self._device
        types, lines, parts, pointers = [], [], [], []
        passed = (*args, *kwargs.values())
        # Such memory may be that of any other argument, so all tensors are then compared with each other.
        inner = any(type(value) not in plain and _holds_memory(value) for value in passed)
        lines += ["storages = {}"] if inner else []
        held = "storages" if inner else "{}"
        for v, name, value in zip(given, names, passed, strict=True):
            kind = scope[f"t{v}"] = type(value)
            types.append(f"type({v}) is not t{v}")
            if kind in plain and not inner:
                lines.append(f"p{v} = {v}.data_ptr()")
                pointers.append(f"p{v}")
                parts += [f"{v}.dtype", f"{v}.shape"] if called else [f"{v}.dtype"]
            elif not (value is None or self._counts_by_type(name, type(plain_scalar(value)))):
                parts.append(v if kind in (int, bool, str, float) else f"part({v}, t{v}, {held})")
        if pointers:
            every = ", ".join(pointers)
            parts.append(f"({' | '.join(pointers)}) & 15 and aligned(({every},))")
            if len(pointers) > 1:
                parts.append(f"None if {_all_differ(pointers)} else alike(({every},))")
        parts += [] if called else ["grid"]
        parts += [] if self._device is None else ["device()"]
        positions, named = given[: len(args)], given[len(args) :]
        unpack = [f"{', '.join(positions)}, = a"] if positions else []
        # Read by name: the same names may come in another order.
        unpack += [f"{v} = k[{name!r}]" for v, name in zip(named, kwargs, strict=True)]
        lines = [
            f"if len(a) != {len(positions)} or len(k) != {len(named)}: return None",
            *(["if not callable(grid): return None"] if called else []),
            *([] if called else ["if type(grid) is not tuple:", "    if callable(grid): return None"]),
            *([] if called else ["    grid = numbers(grid)"]),
            *(["try:", *(f"    {line}" for line in unpack), "except KeyError: return None"] if named else unpack),
            *([f"if {' or '.join(types)}: return None"] if types else []),
            *lines,
            f"return ({', '.join(parts)}{',' * bool(parts)})",
        ]
        # Of names that are made here, and of nothing that the program holds.
        exec("\n    ".join(["def read(a, k, grid):", *lines]), scope)
        found: Read = scope["read"]
        return found

    def _counts_by_type(self, name: str, kind: type) -> bool:
        """Whether only the type of an argument counts, which the form holds."""
        if kind is int:
            return name in self._free
        return kind is float and name in self._names and name not in self._constexprs


def _all_differ(names: Sequence[str]) -> str:
    """An expression: whether the numbers with these names all differ."""
    if len(names) > PAIRWISE:
        return f"len({{{', '.join(names)}}}) == {len(names)}"
    return " and ".join(f"{a} != {b}" for a, b in itertools.combinations(names, 2))


def _holds_memory(value: Any) -> bool:
    """Whether a tensor is in the argument: in a tuple, a descriptor, or something that points to memory itself."""
    if isinstance(value, tuple | list):
        return any(map(_holds_memory, value))
    return hasattr(value, "data_ptr") or hasattr(value, "block_shape")


def _aligned(addresses: tuple[int, ...]) -> tuple[bool, ...]:
    return tuple(a % 16 == 0 for a in addresses)


def _alike(addresses: tuple[int, ...]) -> tuple[int, ...]:
    """For each address, the place of the first that is equal."""
    return tuple(map(addresses.index, addresses))


class Tally:
    """A count that threads may add to at once."""

    def __init__(self) -> None:
        self.add = itertools.count().__next__  # one step of the interpreter, so that no addition is lost
        self._zero = 0

    @property
    def total(self) -> int:
        found = self.add() - self._zero
        self._zero += 1  # reading is an addition, too
        return found

    def reset(self) -> None:
        """Begin at 0."""
        found = self.total  # reading moves `_zero`, so it comes before the sum
        self._zero += found
