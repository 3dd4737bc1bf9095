"""Draws numbers for the tensors of a captured launch, from what the file holds of their values.

Floats are drawn from the captured distribution, in the argument's own dtype. Whole numbers keep range, order, steps and
uniqueness, and marks (-100, padding, the infinity of a mask) stay where their pattern was. What tensors have to do with
each other (:mod:`kernels.capture.structure.related_tensors`) is kept. Where nothing is known of whole numbers nothing
is made up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kernels.capture.capture_file import Json
from kernels.capture.describing.values import QUANTILES
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from kernels.capture.structure.mask_pattern import make_pattern
from kernels.capture.structure.related_tensors import source_of

DRAWN = 1_048_573
"""Floats that are drawn for one tensor; a larger one repeats them. To draw billions would take longer than to tune. A
prime, so that rows and blocks do not repeat."""
STEP = 4.0
"""By which drawn floats are damped once. A program's tensors belong together (a product's factors are normalised, a
state decays): drawn one by one from their distributions, they may make a recurrence overflow."""
SPAN = 16
"""Times as many numbers as are drawn are listed to draw them without repetition."""
MAX_INT64 = 2**63 - 1
MOST_ROWS = 512
"""Rows of a table that are drawn one by one; of more only the range is kept."""
TINY = 1e-9
"""In place of a sum of nothing."""


class Drawer:
    """Draws for the tensors of one launch. `values`: what is known of them by path; `shapes`: their shapes, with 1 for
    a dimension of stride 0."""

    def __init__(
        self,
        values: Mapping[str, Json],
        shapes: Mapping[str, Sequence[int]],
        generator: torch.Generator,
        damped: int,
    ) -> None:
        self._factor = STEP**-damped
        self._values, self._shapes = values, shapes
        self._random: dict[str, Any] = {"generator": generator, "device": generator.device}
        self._integers: dict[str, torch.Tensor] = {}

    def numbers(self, path: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Numbers for all elements of a tensor that has some, in their order. Repeated ones are repeated on `device`:
        to do so here and copy all of them takes ten times as long."""
        known, count = self._values.get(path), math.prod(self._shapes[path])
        if dtype.is_floating_point:
            block = self._floats(known, min(count, DRAWN)).to(dtype)
            return self._masked(known, _repeated(block.to(device), count))
        if dtype == torch.bool:
            if known is not None and "where" in known:
                return make_pattern(known["where"], device)
            share = known["true"] if known else 0.5
            return torch.rand(count, **self._random) < share
        return self._whole_numbers(path).to(dtype)

    def _floats(self, known: Json | None, count: int) -> torch.Tensor:
        if known is None:
            return torch.randn(count, **self._random) * self._factor
        if "all" in known and len(known["all"]) == count:
            return torch.tensor([float(x) for x in known["all"]], dtype=torch.float64)
        drawn = torch.rand(count, dtype=torch.float64, **self._random)
        if "quantiles" in known:
            drawn = _interpolated(drawn, known["quantiles"])
        drawn *= self._factor
        chance, infinite, minus = torch.rand(count, **self._random), known["inf"], known.get("minus_inf", 0.0)
        if "mask" in known:  # which holds those below
            infinite, minus = infinite - minus, 0.0
        drawn[chance < known["zero"]] = 0.0
        drawn[chance > 1 - infinite] = float("inf")
        drawn[chance > 1 - minus] = -float("inf")  # they are among the infinite ones
        drawn[chance > 1 - known["nan"]] = float("nan")
        return drawn

    def _masked(self, known: Json | None, drawn: torch.Tensor) -> torch.Tensor:
        """With the mask's value where its pattern has it, and elsewhere no more of it."""
        mask = (known or {}).get("mask")
        if mask is None:
            return drawn
        low, high = (drawn.new_tensor(float(mask[n])) for n in ("low", "high"))
        if "where" in mask:
            marked = make_pattern(mask["where"], drawn.device)
        else:
            block = torch.rand(min(drawn.numel(), DRAWN), **self._random) < mask["share"]
            marked = _repeated(block.to(drawn.device), drawn.numel())
        return torch.where(marked, low, drawn if bool(high.isnan()) else high)

    def _whole_numbers(self, path: str) -> torch.Tensor:
        if path not in self._integers:
            self._integers[path] = self._drawn(path)
        return self._integers[path]

    def _drawn(self, path: str) -> torch.Tensor:
        known, shape = self._values.get(path), self._shapes[path]
        if known is None:
            raise CannotRebuild(f"the capture holds no range of the integers in {path}: capture it without --no-values")
        if known["kind"] == "addresses":
            raise CannotRebuild(f"{path} holds addresses, and a capture does not hold what they point to")
        source = source_of(known)
        if source is None:
            return self._alone(known, math.prod(shape))
        theirs = self._whole_numbers(source)
        if "same_as" in known:
            after = known["same_as"]["after"]
            return theirs[after : after + math.prod(shape)]
        if "differences_of" in known:
            last = known["differences_of"].get("last")
            steps = theirs[1:] - theirs[:-1]
            return steps if last is None else torch.cat([steps, steps.new_tensor([last])])
        per = known["rows_of"]["per"]
        needed = ((theirs + per - 1) // per).clamp(max=shape[-1])
        marked = torch.arange(shape[-1], device=theirs.device) >= needed[:, None]
        return self._among_marks(known, marked.reshape(-1))

    def _alone(self, known: Json, count: int) -> torch.Tensor:
        """Of a tensor that has to do with no other."""
        marks = self._marks(known, count)
        if not len(marks):
            return self._ordered(known, count, unique=known["distinct"] == known["of"] == count)
        if "where" in known:
            return self._among_marks(known, make_pattern(known["where"], self._random["device"]))
        marked = torch.arange(count, device=self._random["device"]) < len(marks)
        drawn = self._among_marks(known, marked[torch.randperm(count, **self._random)])
        return drawn.sort().values if known["rises"] and "rest" not in known else drawn  # of an older capture

    def _among_marks(self, known: Json, marked: torch.Tensor) -> torch.Tensor:
        """Marks where they are `marked`, other numbers elsewhere."""
        drawn = torch.empty(marked.numel(), dtype=torch.int64, device=marked.device)
        marks, places = self._marks(known, marked.numel()), int(marked.sum())
        order = torch.randperm(places, **self._random) if len(known["marks"]) > 1 else slice(None)
        drawn[marked] = marks.repeat(-(-places // len(marks)))[:places][order]
        rest, free = known.get("rest"), marked.numel() - places
        if rest is None and free:  # of a sample, or of an older capture, range and uniqueness alone
            unique = known["distinct"] == known["of"] == marked.numel()
            rest = {"min": known["others"][0], "max": known["others"][1], "distinct": int(unique), "of": 1}
        if rest is not None and free:
            drawn[~marked] = self._ordered(rest, free, unique=rest["distinct"] == rest["of"])
        return drawn

    def _marks(self, known: Json, count: int) -> torch.Tensor:
        """Each mark as often as it was seen, at least once; `count` of them if there was nothing else."""
        marks = torch.tensor(known.get("marks", ()), dtype=torch.int64, device=self._random["device"]).reshape(-1, 2)
        times = (marks[:, 1] * count / known["of"]).round().long().clamp(min=1)
        found = marks[:, 0].repeat_interleave(times)[:count]
        if known.get("others", ()) is None:
            found = found.repeat(-(-count // len(found)))[:count]
        return found

    def _ordered(self, known: Json, count: int, unique: bool) -> torch.Tensor:
        """Numbers without marks."""
        low, high, same = known["min"], known["max"], known["of"] == count
        if same and "runs" in known:
            return torch.cat([first + torch.arange(n, device=self._random["device"]) for n, first in known["runs"]])
        # Beyond 64 bits sums wrap around, and in older captures the differences did.
        steps = known.get("steps") if (high - low) * count <= MAX_INT64 else None
        if same and steps is not None and steps[0] >= 0:
            return self._climbing(low, high, count, *steps)
        if same and steps is not None and steps[1] <= 0:
            return self._climbing(low, high, count, -steps[1], -steps[0]).flip(0)
        if same and "rows" in known and (drawn := self._rows(low, high, count, known["rows"])) is not None:
            return drawn
        unique = unique and high - low + 1 >= count
        drawn = self._unique(low, high, count) if unique else self._uniform(low, high, count)
        if known.get("rises"):
            drawn = drawn.sort().values
            drawn[0], drawn[-1] = low, high
        return drawn

    def _climbing(self, low: int, high: int, count: int, least: int, most: int) -> torch.Tensor:
        """From `low` to `high` in `count` - 1 steps of `least` to `most`. The largest and the smallest step occur if
        they fit in."""
        steps, room = count - 1, most - least
        left = high - low - steps * least
        ends = [room, 0] if steps > 1 and room <= left <= (steps - 1) * room else []
        left, free = left - sum(ends), steps - len(ends)
        # Each step gets a part of what is left, and what does not fit into one goes to others.
        share = torch.rand(free, dtype=torch.float64, **self._random)
        parts = (share / share.sum().clamp(min=TINY) * left).floor().long().clamp(max=room)
        spare = room - parts
        order = torch.randperm(free, **self._random)
        before = spare[order].cumsum(0) - spare[order]
        parts[order] += (left - int(parts.sum()) - before).clamp(min=0).minimum(spare[order])
        for end in ends:
            at = int(self._uniform(0, len(parts), 1))
            parts = torch.cat([parts[:at], parts.new_tensor([end]), parts[at:]])
        return low + torch.cat([parts.new_zeros(1), (parts + least).cumsum(0)])

    def _rows(self, low: int, high: int, count: int, rows: Json) -> torch.Tensor | None:
        """Of a table whose rows climb or fall, or hold no number twice; None if to draw it would take too long."""
        columns = rows["columns"]
        many = count // columns
        if "distinct" in rows:
            span = high - low + 1
            if span * many > SPAN * count:
                return None
            keys = torch.rand(many, span, **self._random)
            return low + keys.argsort(1)[:, :columns].reshape(-1)
        (least, most), (firsts, lasts) = rows["steps"], rows["ends"]
        if most <= 0 and least < 0:
            turned = {**rows, "steps": [-most, -least], "ends": [lasts, firsts]}
            drawn = self._rows(low, high, count, turned)
            return None if drawn is None else drawn.reshape(many, columns).flip(1).reshape(-1)
        if many > MOST_ROWS:
            return None
        made, steps = [], columns - 1
        starts, ends = (self._uniform(at[0], at[1], many).tolist() for at in (firsts, lasts))
        for first, last in zip(starts, ends, strict=True):
            start = min(first, high - least * steps)
            end = min(max(last, start + least * steps), start + most * steps, high)
            made.append(self._climbing(start, end, columns, least, most))
        return torch.cat(made)

    def _uniform(self, low: int, high: int, count: int) -> torch.Tensor:
        """Whole numbers from `low` to `high`, both of 64 bits."""
        drawn = torch.empty(count, dtype=torch.int64, device=self._random["device"])
        end = None if high == MAX_INT64 else high + 1  # `random_` excludes the end, and None is one beyond 64 bits
        return drawn.random_(low, end, generator=self._random["generator"])

    def _unique(self, low: int, high: int, count: int) -> torch.Tensor:
        """The same, and no number stands twice."""
        span = high - low + 1
        if span <= SPAN * count:
            return low + torch.randperm(span, **self._random)[:count]
        # Identifiers or hashes: one of each of `count` equal parts of the range, which need not be listed.
        part = min(span // count, MAX_INT64)
        first = torch.arange(count, device=self._random["device"]) * part
        return (low + first + self._uniform(0, part - 1, count))[torch.randperm(count, **self._random)]


def _repeated(block: torch.Tensor, count: int) -> torch.Tensor:
    return block.repeat(-(-count // len(block)))[:count]


def _interpolated(uniform: torch.Tensor, quantiles: list[float]) -> torch.Tensor:
    points = torch.tensor(QUANTILES, dtype=uniform.dtype, device=uniform.device)
    heights = torch.tensor(quantiles, dtype=uniform.dtype, device=uniform.device)
    right = torch.searchsorted(points, uniform).clamp(1, len(points) - 1)
    share = (uniform - points[right - 1]) / (points[right] - points[right - 1])
    return heights[right - 1] + share * (heights[right] - heights[right - 1])
