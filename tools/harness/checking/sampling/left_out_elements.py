"""Elements that programs of the owner's code store and a sample of another code's programs does not.

Any program that did not run may store them, so that this alone says nothing: a swizzled order, rows that are split, or
a loop over rows leave much of it. Two things tell more:

1. Each of the owner's programs that was met is covered whole, by one program, but for the first or the last one of the
   grid, which is short of something: a wrong mask, or a block that is left out, at the end.
2. The grids are equal, and no program stores anything but what the owner's program with its number stores, but less.
   Nothing shows who would store the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tools.harness.checking.sampling.stored_elements import Array

LEAST_COVERED = 2
"""Programs that have to be covered whole for a short one to be a fault."""


@dataclass
class _Met:
    """What is known of one of the owner's programs."""

    by: set[int] = field(default_factory=set)
    """Programs that store some of its elements."""
    missing: dict[str, int] = field(default_factory=dict)
    """Result → elements that no program of the sample stores."""


def left_out(
    ours: Mapping[str, Array], owners: Mapping[str, Array], same_grid: bool, ends: Mapping[int, str]
) -> tuple[str, str]:
    """``correctness`` with the reason if something is not stored that has to be, ``infrastructure`` if nothing can be
    said, else two empty texts. By result the elements with the programs that stored them
    (:func:`tools.harness.checking.sampling.stored_elements.stored_by`). `ends`: the owner's first and last program, and
    their names."""
    met, only_theirs = _look(ours, owners)
    short = {p: m for p, m in met.items() if m.missing and (m.by or same_grid)}
    if not short:
        return "", ""
    covered = {p: m for p, m in met.items() if m.by and not m.missing}
    one_each = all(len(m.by) == 1 for m in covered.values()) and all(len(m.by) < 2 for m in short.values())
    same_numbers = all(m.by == {p} for p, m in covered.items())
    if short.keys() <= ends.keys() and len(covered) >= LEAST_COVERED and one_each:
        faulty = next((p for p, m in short.items() if m.by or same_numbers), None)
        if faulty is not None:
            name, count = next(iter(short[faulty].missing.items()))
            what = f"{count:,} element{'s' if count > 1 else ''} of {name}"
            return "correctness", f"it does not store {what}, which {ends[faulty]} program of the owner's code stores"
    if same_grid and only_theirs:
        name = next(n for m in short.values() for n in m.missing)
        return "infrastructure", f"its programs store less of {name} than the same programs of the owner's code"
    return "", ""


def _look(ours: Mapping[str, Array], owners: Mapping[str, Array]) -> tuple[dict[int, _Met], bool]:
    """The owner's programs, and whether each of ours stores nothing but what that with its number stores. What several
    of the owner's programs store is left out: others may do that for all of them."""
    met: dict[int, _Met] = {}
    only_theirs = True
    for name, theirs in owners.items():
        mine = ours[name]
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
