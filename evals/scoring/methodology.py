"""The performance score of the auto-tuning methodology, over function evaluations.

Willemsen, Schoonhoven, Filipovič, Tørring, van Nieuwpoort, van Werkhoven, "A methodology for comparing optimization
algorithms for auto-tuning", Future Generation Computer Systems 159 (2024), doi 10.1016/j.future.2024.05.021, and its
reference implementation, ``autotuning_methodology`` 1.1. With the valid times of a space sorted worst to best::

    random(k)  = d[min(N - 1, round(k (N + 1) / (k + 1)))]              expected after k random draws
    P_k        = (random(k) - F(k)) / (random(k) - optimum)            F: best found after k evaluations
    P          = mean of P_k from the 1 % to the 95 % cut-off point

0 is random search, 1 the optimum at once; below 0 is worse than random. The cut-off point of p is the number of draws
after which random search is expected to be at ``optimum + (median - optimum)(1 - p)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

CUTOFF = 0.95
CUTOFF_START = 0.01
"""Defaults of the reference implementation."""
SHORT = 50
"""Evaluations of P50: the 95 % cut-off may lie beyond what anyone would wait for."""


@dataclass(frozen=True)
class Scale:
    """The valid times of one space, ms, worst first."""

    times: tuple[float, ...]

    @staticmethod
    def of(times: Iterable[float]) -> Scale:
        """Raises ValueError where there is no time."""
        ordered = tuple(sorted(times, reverse=True))
        if not ordered:
            raise ValueError("a space without a valid config has no scale")
        return Scale(ordered)

    @property
    def optimum(self) -> float:
        return self.times[-1]

    @cached_property
    def median(self) -> float:
        return median(self.times)

    def random(self, draws: int) -> float:
        """Expected best of so many draws without replacement."""
        n = len(self.times)
        return self.times[min(n - 1, round(draws * (n + 1) / (draws + 1)))]

    def cutoff(self, p: float) -> int:
        """Draws to the cut-off point of `p`. Where only the optimum itself is beyond it, the one before counts."""
        n, target = len(self.times), self.optimum + (self.median - self.optimum) * (1 - p)
        place = next(i for i, t in enumerate(self.times) if t <= target)
        if self.times[place] == self.optimum:
            place = max(0, place - 1)
        return math.ceil(place / (n + 1 - place))

    def span(self) -> range:
        """The evaluations that P is the mean over."""
        start = max(1, self.cutoff(CUTOFF_START))
        return range(start, max(start, self.cutoff(CUTOFF)) + 1)

    def short_span(self) -> range:
        return range(1, min(SHORT, len(self.times)) + 1)

    def standing(self, draws: int, ms: float) -> float | None:
        """P_k of one point; ``None`` where random search itself is expected to hold the optimum."""
        gap = self.random(draws) - self.optimum
        return (self.random(draws) - ms) / gap if gap > 0 else None

    def score(self, curve: Sequence[float], span: range) -> float | None:
        """Mean of P_k over `span`. ``curve[k - 1]`` is F(k); a run that ended keeps its last value, one that holds
        nothing yet is charged the median. ``None`` for a space in which no point can be told from random."""
        held = [self.median if not curve else curve[min(k, len(curve)) - 1] for k in span]
        points = [p for k, ms in zip(span, held, strict=True) if (p := self.standing(k, ms)) is not None]
        return math.fsum(points) / len(points) if points else None
