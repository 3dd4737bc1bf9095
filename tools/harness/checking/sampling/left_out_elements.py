"""Elements that programs of the owner's code store and a sample of another code's programs does not.

Any program that did not run may store them, so that this alone says nothing: a swizzled order, rows that are split, or
a loop over rows leave much of it. Two things tell more:

1. Each of the owner's programs that was met is covered whole, by one program, but for the first or the last one of the
   grid, which is short of something: a wrong mask at the end. It may be short of everything if the programs share the
   work in the owner's order: a block that is left out.
2. The grids are equal, and no program stores anything but what the owner's program with its number stores, but less.
   Nothing shows who would store the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tools.harness.checking.races import places_of
from tools.harness.checking.sampling.program_sample import Place
from tools.harness.checking.sampling.stored_elements import Array

LEAST_COVERED = 2
"""Programs that have to be covered whole for a short one to be a fault."""
LEAST_IN_ORDER = 8
"""Programs of a grid whose order can be told."""


@dataclass
class _Met:
    """What is known of one of the owner's programs."""

    by: set[int] = field(default_factory=set)
    """Programs that store some of its elements."""
    missing: dict[str, int] = field(default_factory=dict)
    """Result → elements that no program of the sample stores."""


def left_out(
    ours: Mapping[str, Array], owners: Mapping[str, Array], grid: Place, owners_grid: Place
) -> tuple[str, str]:
    """``correctness`` with the reason if something is not stored that has to be, ``infrastructure`` if nothing can be
    said, else two empty texts. By result the elements with the programs that stored them
    (:func:`tools.harness.checking.sampling.stored_elements.stored_by`), and the two launches' grids."""
    total, of = math.prod(grid), math.prod(owners_grid)
    ends = {0: "the first", of - 1: "the last"}
    met, only_theirs = _look({n: _numbered(x, grid) for n, x in ours.items()}, owners, owners_grid)
    short = {p: m for p, m in met.items() if m.missing and (m.by or p in ends or grid == owners_grid)}
    if not short:
        return "", ""
    covered = {p: m for p, m in met.items() if m.by and not m.missing}
    one_each = all(len(m.by) == 1 for m in covered.values()) and all(len(m.by) < 2 for m in short.values())
    if short.keys() <= ends.keys() and len(covered) >= LEAST_COVERED and one_each:
        in_order = _in_order(met, covered, total, of) if grid != owners_grid else _same_numbers(covered)
        faulty = next((p for p, m in short.items() if m.by or in_order), None)
        if faulty is not None:
            name, count = next(iter(short[faulty].missing.items()))
            what = f"{count:,} element{'s' if count > 1 else ''} of {name}"
            return "correctness", f"it does not store {what}, which {ends[faulty]} program of the owner's code stores"
    if grid == owners_grid and only_theirs:
        name = next(n for m in short.values() for n in m.missing)
        return "infrastructure", f"its programs store less of {name} than the same programs of the owner's code"
    return "", ""


def _same_numbers(covered: Mapping[int, _Met]) -> bool:
    return all(m.by == {p} for p, m in covered.items())


def _in_order(met: Mapping[int, _Met], covered: Mapping[int, _Met], total: int, of: int) -> bool:
    """Whether `total` programs share the work of `of` in its order: the owner's programs that are covered are so by the
    program at their share of the grid, or one beside it; and most of those that are due to a program that ran are.
    Programs that go on in steps of the grid cover few of them."""
    if total < LEAST_IN_ORDER:
        return False
    ran = {by for m in met.values() for by in m.by}
    due = [p for p in met if p not in (0, of - 1) and p * total // of in ran]
    inside = [p for p in covered if p not in (0, of - 1)]
    near = all(abs(by * of - p * total) <= of for p, m in covered.items() for by in m.by)
    return near and len(inside) >= LEAST_COVERED and 2 * len(inside) > len(due)


def _numbered(stored: Array, grid: Place) -> Array:
    """`stored` with the programs counted in the interpreter's order."""
    x, y, z = places_of(stored[1])
    return np.stack([stored[0], (x * grid[1] + y) * grid[2] + z])


def _look(ours: Mapping[str, Array], owners: Mapping[str, Array], owners_grid: Place) -> tuple[dict[int, _Met], bool]:
    """The owner's programs, and whether each of ours stores nothing but what that with its number stores. What several
    of the owner's programs store is left out: others may do that for all of them."""
    met: dict[int, _Met] = {}
    only_theirs = True
    for name, given in owners.items():
        mine, theirs = ours[name], _numbered(given, owners_grid)
        both = np.concatenate([mine, theirs], axis=1)
        both = both[:, np.lexsort(both)]
        same = (both[:, 1:] == both[:, :-1]).all(axis=0)
        only_theirs &= int(same.sum()) == mine.shape[1]  # each of ours lies beside its like
        elements, at, times = np.unique(theirs[0], return_index=True, return_counts=True)
        elements, programs = elements[times == 1], theirs[1, at[times == 1]]
        missing = ~np.isin(elements, mine[0])
        for program in np.unique(programs):
            met.setdefault(int(program), _Met())
        for program, count in zip(*np.unique(programs[missing], return_counts=True), strict=True):
            met[int(program)].missing[name] = int(count)
        stored = mine[:, np.isin(mine[0], elements)]
        whose = programs[np.searchsorted(elements, stored[0])]
        for program, by in np.unique(np.stack([whose, stored[1]]), axis=1).T:
            met[int(program)].by.add(int(by))
    return met, only_theirs
