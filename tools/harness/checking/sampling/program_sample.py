"""Some programs of interpreted launches, where all of them would take too long.

1. Programs run in an order of their own (:func:`spread_places`): the last, the first, and others drawn at random, each
   followed by a neighbour: programs that race are mostly neighbours. All others come behind them.
2. A few programs show how long one takes. If all of them fit in the time, all are run, else PROGRAMS or fewer; more if
   some of them have nothing to show.
3. When a launch has run enough, it ends as if its grid ended there.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder

Place = tuple[int, int, int]
"""A program's number in each dimension of the grid."""
PROGRAMS = 16
"""Programs that are run of a grid that does not fit in the time."""
MOST_TRIED = 16 * PROGRAMS
"""Programs that are run at most until PROGRAMS of them have something to show."""
MOST_NOTED = 1 << 26
"""Accesses to elements, at 16 bytes each, after which no program is begun of a launch that is sampled for its size."""
TRIED = 3
"""Programs by which the time of all of them is estimated."""


@dataclass
class Ran:
    """What was run of one launch."""

    grid: Place
    places: list[Place] = field(default_factory=list)

    @property
    def total(self) -> int:
        return math.prod(self.grid)

    @property
    def whole(self) -> bool:
        return len(self.places) == self.total


class _Enough(BaseException):
    """Ends a launch. No ``Exception``: the interpreter reports those as faults of the kernel."""


@contextmanager
def some_programs(
    choose: Callable[[Place], Iterable[Place]], enough: Callable[[Ran], bool] = lambda ran: False
) -> Iterator[list[Ran]]:
    """Of each launch that is interpreted inside the block, run the programs that `choose` names for its grid, in that
    order, until there is `enough`."""
    builder: Any = InterpreterBuilder
    function: Any = InterpretedFunction
    set_dim, set_idx, run = builder.set_grid_dim, builder.set_grid_idx, function.run
    found: list[Ran] = []
    waiting: list[Iterator[Place]] = []

    def begin(self: Any, *dimensions: int) -> Any:
        x, y, z = (*dimensions, 1, 1)[:3]
        found.append(Ran((x, y, z)))
        waiting.append(iter(choose((x, y, z))))
        return set_dim(self, *dimensions)

    def next_program(self: Any, *place_in_order: int) -> Any:
        place = None if enough(found[-1]) else next(waiting[-1], None)
        if place is None:
            raise _Enough
        found[-1].places.append(place)
        return set_idx(self, *place)

    def launch(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return run(self, *args, **kwargs)
        except _Enough:
            return None

    builder.set_grid_dim, builder.set_grid_idx, function.run = begin, next_program, launch
    try:
        yield found
    finally:
        builder.set_grid_dim, builder.set_grid_idx, function.run = set_dim, set_idx, run


def until(
    ends_at: float,
    most: int | None = PROGRAMS,
    shown: Callable[[Ran], int] = lambda ran: len(ran.places),
    large: Callable[[], int] | None = None,
) -> Callable[[Ran], bool]:
    """Whether a launch has run enough: no program is begun after `ends_at` (``time.monotonic()``), and if not all fit
    before it, `most` are enough. `shown`: how many programs had something to show. `large`: of a launch with so large
    arguments that not all programs are run even if there is time, how many accesses were noted."""
    began: dict[int, float] = {}
    few: set[int] = set()

    def enough(ran: Ran) -> bool:
        now, done, key = time.monotonic(), len(ran.places), id(ran)
        start = began.setdefault(key, now)
        if done == TRIED and (large is not None or start + (now - start) / done * ran.total > ends_at):
            few.add(key)
        shows_enough = most is not None and key in few and (shown(ran) >= most or done >= MOST_TRIED)
        return now > ends_at or shows_enough or (large is not None and large() > MOST_NOTED)

    return enough


def spread_places(grid: Place, draw: random.Random) -> Iterator[Place]:
    """Every program of the grid once: the last two, the first two, then pairs of neighbours drawn at random up to
    PROGRAMS, then the rest, any number of which lie all over the grid."""
    total = math.prod(grid)
    drawn = draw.sample(range(total), min(total, PROGRAMS))
    sides = [axis for axis in range(3) if grid[axis] > 1]
    chosen: dict[Place, None] = {}
    for turn, number in enumerate([total - 1, 0, *drawn] if total else []):
        place = place_of(number, grid)
        pair = [place]
        if sides:
            axis = sides[::-1][turn % len(sides)]
            step = 1 if place[axis] + 1 < grid[axis] else -1
            pair.append(tuple(n + step * (i == axis) for i, n in enumerate(place)))  # type: ignore[arg-type]
        if len(chosen) >= PROGRAMS:
            break
        chosen |= dict.fromkeys(pair)
    yield from chosen
    yield from (p for p in _scattered(grid, draw) if p not in chosen)


def _scattered(grid: Place, draw: random.Random) -> Iterator[Place]:
    """Every program once, in steps that share no factor with their number: a list of billions would not fit."""
    total = math.prod(grid)
    step, number = draw.randrange(total) if total else 0, 0
    while math.gcd(step, total) > 1:
        step += 1
    for _ in range(total):
        yield place_of(number, grid)
        number = (number + step) % total


def counterparts(places: Iterable[Place], grid: Place, other: Place) -> list[Place]:
    """The programs of the grid `other` that probably do the work of these `places` of `grid`: the same ones if the
    grids are equal, else those at the same share of it, and those that a loop in steps of the smaller grid reaches."""
    if grid == other:
        return list(places)
    ours, theirs = math.prod(grid), math.prod(other)
    found: dict[int, None] = {}
    for x, y, z in places:
        number = (x * grid[1] + y) * grid[2] + z
        first = number * theirs // ours
        behind = max(first + 1, -(-(number + 1) * theirs // ours))
        found |= dict.fromkeys(itertools.chain(range(first, behind), range(number, theirs, ours)))
    return [place_of(n, other) for n in found]


def place_of(number: int, grid: Place) -> Place:
    """The program with this number in the interpreter's order."""
    _, y, z = grid
    return number // (y * z), number // z % y, number % z
