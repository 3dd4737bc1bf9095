"""What is kept of whole numbers: range, order and uniqueness, never the numbers of a random sequence.

Marks come first: a kernel compares with -100 or -1 and does not index by it, so that -99, which lies in the range as
well, would be an index in front of the memory. What pads a table whose other numbers stand once, and the greater of two
values, are marks too. Where they stand is kept by its pattern (:mod:`kernels.capture.structure.mask_pattern`), and
order and uniqueness (``rest``) are those of the other numbers: slots of a cache stay distinct beside padding.
"""

from __future__ import annotations

import sys
from typing import Any

from .mask_pattern import find_pattern

Json = dict[str, Any]

MARKS = 8
"""Distinct negative numbers, and greatest numbers of 32 and 64 bits, that are taken for marks. More negative ones are a
range like any other: a kernel cannot compare with each."""
GREATEST = (2**31 - 1, 2**32 - 1, 2**63 - 1)
ADDRESS = 1 << 32
"""Integers above this, all multiples of 16, are taken for addresses. PyTorch's memory lies above 4 GiB on 64-bit."""
MOST_RUNS, LEAST_RUN = 256, 4
"""Numbers that count up by one, from starts that are kept: positions in packed sequences. So many runs at most, and so
long on average at least: numbers of a random sequence make no such runs."""


def describe_integers(seen: Any, low: int, high: int, wide: bool, whole: bool) -> Json:
    """Of a tensor's numbers. `seen`: in 64 bits on the CPU, all of them in their shape if `whole`, else a sample. `low`
    and `high` are those of all elements. `wide`: whether they have 64 bits."""
    numbers, times = seen.unique(return_counts=True)
    if wide and _are_addresses(seen):
        return {"kind": "addresses", "distinct": len(numbers)}
    found: Json = {"kind": "int", "min": low, "max": high, **_order(seen, whole, len(numbers))}
    marks, others = _marks(seen, low, high)
    if whole and not marks and seen.numel() > 2:
        marks = _padding(numbers, times, found)
        others = _range([], seen[~_is_any(seen, marks)]) if marks else others
    if marks:
        found |= {"marks": marks, "others": others}
    if marks and whole:
        marked = _is_any(seen, marks)
        pattern = find_pattern(marked)
        found |= {"where": pattern} if pattern is not None else {}
        rest = seen[~marked]
        if rest.numel():
            low, high = (int(x) for x in rest.aminmax())
            found["rest"] = {"min": low, "max": high, **_order(rest, whole, len(numbers) - len(marks))}
    return found


def _order(seen: Any, whole: bool, distinct: int) -> Json:
    """How the numbers, of which so many are `distinct`, are ordered. Of a sample nothing more is known."""
    flat = seen.reshape(-1)
    line = whole and _is_line(seen) and flat.numel() > 1
    steps = flat[1:] - flat[:-1] if line and not _wraps(flat) else None
    found: Json = {
        "distinct": distinct,
        "of": flat.numel(),
        "rises": bool((flat[1:] >= flat[:-1]).all()) if line else None,
        "steps": [int(steps.min()), int(steps.max())] if steps is not None else None,
    }
    if whole and not _is_line(seen) and seen.shape[-1] > 1 and not _wraps(flat):
        found |= _rows(seen.reshape(-1, seen.shape[-1]))
    return found | (_counting(flat) if whole and found["rises"] is not True else {})


def _rows(rows: Any) -> Json:
    """Of a table: what holds within each of its rows."""
    steps = rows[:, 1:] - rows[:, :-1]
    if bool((steps >= 0).all()) or bool((steps <= 0).all()):
        ends = [[int(x) for x in column.aminmax()] for column in (rows[:, 0], rows[:, -1])]
        return {"rows": {"columns": rows.shape[1], "steps": [int(steps.min()), int(steps.max())], "ends": ends}}
    ordered = rows.sort(1).values
    distinct = bool((ordered[:, 1:] != ordered[:, :-1]).all())
    return {"rows": {"columns": rows.shape[1], "distinct": True}} if distinct else {}


def _counting(flat: Any) -> Json:
    """``runs``: ``[length, first number]`` of each, if the numbers count up by one again and again."""
    breaks = (flat[1:] - flat[:-1] != 1).nonzero().reshape(-1) + 1
    count = breaks.numel() + 1
    if count > MOST_RUNS or flat.numel() < LEAST_RUN * count:
        return {}
    starts = [0, *breaks.tolist()]
    lengths = [b - a for a, b in zip(starts, [*starts[1:], flat.numel()], strict=True)]
    return {"runs": [list(run) for run in zip(lengths, flat[starts].tolist(), strict=True)]}


def _is_line(seen: Any) -> bool:
    return bool(seen.dim() == 1)


def _wraps(flat: Any) -> bool:
    """Whether differences go beyond 64 bits."""
    return bool(int(flat.max()) - int(flat.min()) >= 2**63)


def _are_addresses(seen: Any) -> bool:
    """Whether these are addresses, among which 0 and -1 stand for none."""
    others = seen[(seen != 0) & (seen != -1)]
    return others.numel() > 0 and int(others.min()) > ADDRESS and not bool((others % 16).any())


def _marks(seen: Any, low: int, high: int) -> tuple[list[list[int]], list[int] | None]:
    """Pairs of a mark and how often it was `seen`, and least and greatest of the other numbers, None if there are
    none."""
    if low >= 0 and high not in GREATEST:
        return [], None
    greatest = _is_any(seen, [[x, 0] for x in GREATEST])
    found: dict[int, int] = {}
    for marked, least in ((seen < 0) | greatest, 0), (greatest, low):  # negative numbers are marks if they are few
        numbers, times = seen[marked].unique(return_counts=True)
        found = dict(zip(numbers.tolist(), times.tolist(), strict=True))
        for end in (low, high):  # which a sample may have missed
            if end < least or end in GREATEST:
                found.setdefault(end, 1)
        if len(found) <= MARKS:
            break
    if not found:
        return [], None
    ends = [x for x in (low, high) if least <= x not in GREATEST]
    return [list(pair) for pair in sorted(found.items())], _range(ends, seen[~marked])


def _padding(numbers: Any, times: Any, order: Json) -> list[list[int]]:
    """The number that pads a table whose other numbers stand once, or the greater of two values; nothing if there is no
    such number, or the numbers rise. `times`: how often each of the `numbers` stands there."""
    if len(numbers) == 2:
        return [[int(numbers[1]), int(times[1])]]
    if int((times > 1).sum()) != 1 or order["rises"] or "runs" in order:
        return []
    most = int(times.argmax())
    return [[int(numbers[most]), int(times[most])]] if len(numbers) > 2 else []


def _is_any(seen: Any, marks: list[list[int]]) -> Any:
    torch = sys.modules["torch"]
    return torch.isin(seen, torch.tensor([mark for mark, _ in marks], dtype=torch.int64))


def _range(ends: list[int], others: Any) -> list[int] | None:
    found = [*ends, *(int(x) for x in others.aminmax())] if others.numel() else ends
    return [min(found), max(found)] if found else None
