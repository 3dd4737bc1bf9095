"""Interpreted launches of a survey: whole if they fit in the time, else some of their programs.

The first launch decides. Its programs are those of the float64 reference
(:func:`tools.harness.checking.float64.promoted_reference.chosen_programs`), or, in another grid than the captured one,
those that probably do the same work; later launches run the same ones. Of a result only what they stored is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch

from kernels.capture.reading.rebuilt_functions import CannotRebuild
from tools.harness.checking.float64.promoted_reference import PROGRAMS, chosen_programs
from tools.harness.checking.races import watch_accesses
from tools.harness.checking.sampling.program_sample import (
    Place,
    Ran,
    counterparts,
    some_programs,
    spread_places,
    until,
)
from tools.harness.checking.sampling.stored_elements import memory_of, stored_by

LAUNCH_S = 10.0
"""Seconds in which a launch that is not sampled has to fit. A survey launches four times, each config once more."""
LATER = 3.0
"""Times as long a later launch may take that runs the same programs."""
Elements = Mapping[str, torch.Tensor]
"""By result, those elements of its memory that are known."""


@dataclass(frozen=True)
class Launched:
    """The tensors of a launch, by path, after it."""

    tensors: dict[str, torch.Tensor]
    elements: Elements | None = None
    """Those that are known of the results; None: all."""

    def numbers(self, path: str) -> torch.Tensor:
        """What is known of the result at `path`."""
        t = self.tensors[path]
        return t if self.elements is None else memory_of(t)[self.elements[path]]


class SurveyLaunches:
    """Those of one captured launch, which may be too long for all of its programs."""

    def __init__(self, grid: list[int], all_fit: bool) -> None:
        """`all_fit`: whether all programs may be run if there is time."""
        x, y, z = (*grid, 1, 1)[:3]
        self._grid, self._all_fit = (x, y, z), all_fit
        self._first: Ran | None = None
        self._wanted = 0
        """Programs of a launch that are enough."""

    @property
    def programs(self) -> str | None:
        """Which were run, if not all."""
        first = self._first
        return None if first is None or first.whole else f"{len(first.places)} of {first.total:,} programs"

    def run(self, launch: Callable[[], None], tensors: dict[str, Any], written: tuple[str, ...]) -> Launched:
        """Call `launch`, which changes the tensors at the paths `written`. Raises CannotRebuild if some of its programs
        say nothing."""
        if self._first is not None and self._first.whole:
            launch()
            return Launched(tensors)
        ends_at = time.monotonic() + LAUNCH_S * (LATER if self._first else 1)
        with watch_accesses() as accesses:
            large = None if self._all_fit else lambda: accesses[-1].noted
            enough = until(ends_at, 1, lambda ran: len(ran.places) // max(1, self._wanted), large)
            with some_programs(self._places, enough) as ran:
                launch()
        if all(r.whole for r in ran):
            self._first = self._first or ran[0]
            return Launched(tensors)
        if len(ran) > 1:
            raise CannotRebuild("it launches several kernels, whose programs take too long in Triton's interpreter")
        self._first = self._first or ran[0]
        if any(a.dependent() for a in accesses):
            total = f"{self._first.total:,}"
            raise CannotRebuild(f"its programs depend on one another, and its {total} take too long in the interpreter")
        elements = {p: torch.from_numpy(np.unique(stored_by(tensors[p], accesses)[0])) for p in written}
        if not any(map(len, elements.values())):
            raise CannotRebuild(f"{self.programs} store nothing that some programs alone decide")
        return Launched(tensors, elements)

    def _places(self, grid: Place) -> Iterator[Place]:
        known = self._first or Ran(self._grid, chosen_programs(list(self._grid), PROGRAMS))
        wanted = dict.fromkeys(counterparts(known.places, known.grid, grid))
        self._wanted = len(wanted)
        yield from wanted
        if self._first is None:
            yield from (p for p in spread_places(grid, Random(0)) if p not in wanted)
