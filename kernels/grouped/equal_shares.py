"""How the programs of family ``trimmed`` divide the work: into shares of equal matrix work.

A *unit* is one consumer's rows of a tile. Units are numbered like tiles: group by group, down the rows, then the next
column. A share is PARTS units in a row, one for each consumer, and n programs take every n-th share. So a group whose
rows do not fill its last tile costs no program more than its units. If the units that are left for the last round are
at most n, each of them is a share of its own, and the last round is shorter.
"""

from __future__ import annotations

import triton


@triton.jit
def whole_shares(units, programs, PARTS):
    """How many shares, the first ones, have PARTS units (the very last one maybe fewer). The others have one."""
    whole = (units + PARTS - 1) // PARTS
    last = whole % programs
    if units - (whole - last) * PARTS <= programs:
        whole -= last
    return whole


@triton.jit
def all_shares(units, whole, PARTS):
    """How many shares there are."""
    return whole + max(units - whole * PARTS, 0)


@triton.jit
def share(index, units, whole, PARTS):
    """First unit of the `index`-th share, and how many it has."""
    first = index * PARTS
    count = min(units - first, PARTS)
    if index >= whole:
        first = whole * PARTS + index - whole
        count = 1
    return first, count
