"""The rows of one function by key, and what serves a launch whose sizes lie between two rows.

Sizes are the whole numbers, shapes and grid in a key. A launch lies between two rows if its key is theirs but for
sizes, and if these lie on the line from one row to the other: a number of tokens that grows, and shapes that grow with
it. Of all such pairs the closest counts. It is served only by a config that is proven in both rows; two ``stock`` rows
with the same config of an autotuner count as such. Beyond the outermost rows nothing is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tuned_table import Decision, TunedRow, canonical, in_fixed_order

Json = dict[str, Any]


class RowIndex:
    """Rows of one function in one environment."""

    def __init__(self, rows: Sequence[TunedRow]) -> None:
        self.rows = tuple(rows)
        self._exact = {canonical(r.key): r for r in rows}
        self._alike: dict[str, list[tuple[tuple[int, ...], TunedRow]]] = {}
        for row in rows:
            frame, sizes = split_sizes(row.key)
            self._alike.setdefault(canonical(frame), []).append((sizes, row))

    def exact(self, key: Json) -> TunedRow | None:
        return self._exact.get(canonical(key))

    def between(self, key: Json) -> tuple[TunedRow, TunedRow, Decision | None] | None:
        """The rows below and above, and what is proven in both, if anything is; None if there are no such rows."""
        frame, sizes = split_sizes(key)
        rows = self._alike.get(canonical(frame), ())
        pairs = [
            (_distance(low, high), low_row.name, high_row.name, low_row, high_row)
            for low, low_row in rows
            for high, high_row in rows
            if low != high and lies_between(low, sizes, high)
        ]
        if not pairs:
            return None
        *_, low_row, high_row = min(pairs, key=lambda p: p[:3])
        return low_row, high_row, _shared(low_row, high_row)


def split_sizes(key: Json) -> tuple[Any, tuple[int, ...]]:
    """The key with its sizes taken out, and the sizes in a fixed order."""
    sizes: list[int] = []

    def taken(numbers: Sequence[int]) -> int:
        sizes.extend(numbers)
        return len(numbers)

    def without(part: Any) -> Any:
        if type(part) is int:
            sizes.append(part)
            return "size"
        if isinstance(part, list):
            return [without(p) for p in part]
        if isinstance(part, dict):
            return {
                n: {"sizes": taken(p)} if n in ("shape", "strides") and isinstance(p, list) else _inner(n, p)
                for n, p in sorted(part.items())
            }
        return part

    def _inner(name: str, part: Any) -> Any:
        return without(part) if name in ("base", "descriptor") else part

    grid = None if key["grid"] is None else {"sizes": taken(key["grid"])}
    arguments = {n: without(p) for n, p in sorted(key["arguments"].items())}
    return {**key, "grid": grid, "arguments": arguments}, tuple(sizes)


def lies_between(low: Sequence[int], at: Sequence[int], high: Sequence[int]) -> bool:
    """Whether `at` lies between, all its sizes equally far on their way, but for rounding to whole numbers."""
    way = max((h - w for w, h in zip(low, high, strict=True)), default=0)
    if way <= 0:
        return False
    step = next(a - w for w, a, h in zip(low, at, high, strict=True) if h - w == way)
    if not 0 < step < way:
        return False
    return all(abs((a - w) * way - step * (h - w)) < way for w, a, h in zip(low, at, high, strict=True))


def _distance(low: Sequence[int], high: Sequence[int]) -> int:
    return max(h - w for w, h in zip(low, high, strict=True))


def _shared(low: TunedRow, high: TunedRow) -> Decision | None:
    """What both rows have: the lower row's choice, else the upper one's, else the first in the fixed order."""
    if "unproven" in (low.status, high.status) and low.status != high.status:
        return None
    below = [d for d in (low.decision, *low.also) if d is not None]
    above = [d for d in (high.decision, *high.also) if d is not None]
    both = [d for d in below if d in above]
    for first in (low.decision, high.decision):
        if first in both:
            return first
    return next(iter(in_fixed_order(both)), None)
