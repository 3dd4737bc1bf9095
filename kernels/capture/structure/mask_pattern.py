"""Where the marked elements of a mask or a padded table lie, in a few numbers.

A causal mask, a band, padding and packed documents have one stretch in each row, and from row to row its ends move
evenly: rows are kept as pieces ``[rows, first, its step, end, its step]``. Equal matrices in a row are kept once. What
has no such rows is kept as lengths of runs if there are few. Anything else has no pattern here.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

Json = dict[str, Any]

MOST_PIECES = 256
"""Of all matrices together, and of runs: a few kilobytes. It is what random masks have more of."""
MOST_ELEMENTS = 1 << 28
"""Beyond, a mask is not looked at: it would take longer than a second."""
CHUNK = 1 << 22
"""Elements that are looked at a time: most of what has no pattern has none in the first ones."""


def find_pattern(marked: Any) -> Json | None:
    """The pattern of the true elements of a boolean tensor; None if it has none, or if all or no elements are true."""
    if not 0 < marked.numel() <= MOST_ELEMENTS or bool(marked.all()) or not bool(marked.any()):
        return None
    shape = [n for n in marked.shape if n > 1]
    rows = marked.reshape(-1, shape[-1])
    of_each = shape[-2] if len(shape) > 1 else 1
    for inside in (False, True):
        ends = _stretches(rows if inside else ~rows)
        if ends is not None:
            matrices = _matrices(ends.reshape(-1, of_each, 2))
            if matrices is not None:
                return {"columns": shape[-1], "marked_inside": inside, "matrices": matrices}
    return _runs(rows.reshape(-1))


def _stretches(rows: Any) -> Any:
    """First and end of the one stretch of true elements in each row, on the CPU; None if a row has several."""
    torch = sys.modules["torch"]
    columns, found = rows.shape[1], []
    for part in rows.split(max(1, CHUNK // columns)):
        bits = part.to(torch.uint8)
        count = bits.sum(1, dtype=torch.int64)
        first = bits.argmax(1)
        last = columns - 1 - bits.flip(1).argmax(1)
        if not bool(((count == 0) | (last - first + 1 == count)).all()):
            return None
        found.append(torch.stack([first, first + count], 1).cpu())
    return torch.cat(found)


def _matrices(ends: Any) -> list[Any] | None:
    """``[times, pieces]`` of each matrix; None if these are too many. `ends`: (matrices, rows, 2)."""
    torch = sys.modules["torch"]
    distinct, times = torch.unique_consecutive(ends.flatten(1), dim=0, return_counts=True)
    found: list[Any] = []
    left = MOST_PIECES
    for one, count in zip(distinct.unflatten(1, ends.shape[1:]), times.tolist(), strict=True):
        pieces = _pieces(one, left)
        if pieces is None:
            return None
        left -= len(pieces)
        found.append([count, pieces])
    return found


def _pieces(ends: Any, most: int) -> list[list[int]] | None:
    """Rows as pieces in which both ends move evenly; None if there are more than `most`. `ends`: (rows, 2)."""
    torch = sys.modules["torch"]
    steps, times = torch.unique_consecutive(ends[1:] - ends[:-1], dim=0, return_counts=True)
    if len(times) > 2 * most:  # a piece may be a single row between two runs of steps
        return None
    found, row, rows = [], 0, ends.shape[0]
    runs = list(zip(times.tolist(), steps.tolist(), strict=True))
    while row < rows:
        while runs and runs[0][0] == 0:
            runs.pop(0)
        count, (first, end) = runs.pop(0) if runs else (0, (0, 0))
        found.append([count + 1, int(ends[row, 0]), first, int(ends[row, 1]), end])
        row += count + 1
        if runs:  # the step to the next piece is none of its own
            runs[0] = (runs[0][0] - 1, runs[0][1])
    return found if len(found) <= most else None


def _runs(marked: Any) -> Json | None:
    """Lengths of runs, of which the first is not marked (and may be empty)."""
    changes = marked[1:] != marked[:-1]
    if int(changes.sum()) >= MOST_PIECES:
        return None
    ends = [0, *(changes.nonzero().reshape(-1) + 1).tolist(), marked.numel()]
    lengths = [b - a for a, b in pairwise(ends)]
    return {"runs": [0, *lengths] if bool(marked[0]) else lengths}


def make_pattern(pattern: Json, device: Any) -> Any:
    """The boolean tensor, flat, that :func:`find_pattern` found the pattern of."""
    torch = sys.modules["torch"]
    if "runs" in pattern:
        lengths = torch.tensor(pattern["runs"], device=device)
        return (torch.arange(len(lengths), device=device) % 2 == 1).repeat_interleave(lengths)
    columns = torch.arange(pattern["columns"], device=device)
    made = []
    for times, pieces in pattern["matrices"]:
        first = _ends([(count, at, step) for count, at, step, _, _ in pieces]).to(device)
        end = _ends([(count, at, step) for count, _, _, at, step in pieces]).to(device)
        inside = (columns >= first) & (columns < end)
        made.append((inside if pattern["marked_inside"] else ~inside).reshape(-1).repeat(times))
    return torch.cat(made)


def _ends(pieces: list[tuple[int, int, int]]) -> Any:
    """One end of each row, as a column. `pieces`: rows, the first one's end, the step."""
    torch = sys.modules["torch"]
    return torch.cat([at + step * torch.arange(count) for count, at, step in pieces]).unsqueeze(1)
