"""How the programs of family ``trimmed`` divide the tiles: whole, but in the last round by rows.

n programs take every n-th share. If the tiles that are left for the last round are few enough that every one can be
divided into PARTS without a further round, each of them makes PARTS shares. All other shares are whole tiles.
"""

from __future__ import annotations

import triton


@triton.jit
def whole_shares(tiles, programs, PARTS):
    """How many shares, the first ones, are whole tiles. Each tile after them makes PARTS shares."""
    last = tiles % programs
    whole = tiles
    if last * PARTS <= programs:
        whole = tiles - last
    return whole


@triton.jit
def share(index, whole, PARTS):
    """Tile of the `index`-th share, the first of its PARTS parts that belongs to the share, and how many do."""
    tile = index
    part = index * 0
    parts = part + PARTS
    if index >= whole:
        tile = whole + (index - whole) // PARTS
        part = (index - whole) % PARTS
        parts = part * 0 + 1
    return tile, part, parts
