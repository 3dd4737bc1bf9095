"""What a run may spend in the harness, and the defaults of it. Imports nothing heavy."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_EVALS = 40
"""Evaluations of a run that names no number."""
MAX_SECONDS = 600.0
"""Seconds of search of a run that names no number."""

READING_S = 2.0
"""Left for a reading after the first compilations."""
RESERVED_SHARE, LEAST_RESERVED = 5, 4
"""A fifth of the evaluations of a run with a language model is kept for the planner, at least four."""


def reserve_of(max_evals: int) -> int:
    """Evaluations to keep for the planner. One is left to the model in any case."""
    return min(max(-(-max_evals // RESERVED_SHARE), LEAST_RESERVED), max_evals - 1)


@dataclass
class Budget:
    """What a run may spend. An evaluation is a reading or a failure, in the compiler or on the device, of a config that
    the space holds. A config costs one evaluation at most, however often it is compiled, checked and measured."""

    max_evals: int = MAX_EVALS
    max_seconds: float = MAX_SECONDS
    started: float = field(default_factory=time.monotonic)
    """``time.monotonic()`` when the search began."""
    charged: set[str] = field(default_factory=set)
    """Keys (:meth:`kernels.spec.Config.key`) of the configs that cost an evaluation."""
    ends_at: float = math.inf
    """``time.monotonic()`` when the run has to be over, its proofs included."""
    reserve: int = 0
    """Evaluations that are kept for the embedded planner: for what it measures itself, and for its proposals."""
    proposed: set[str] = field(default_factory=set)
    """Keys of the configs that the embedded planner proposed. They may spend the reserve."""
    _reading_until: float | None = None
    """``time.monotonic()`` until which a reading may be begun though the search's time is over."""

    @property
    def evals(self) -> int:
        """Evaluations spent."""
        return len(self.charged)

    def evals_left(self) -> int:
        """Evaluations that may be spent now."""
        return max(0, self.max_evals - self.reserve - self.evals)

    def affordable(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys`, none of them charged yet, that may be tried at once if each costs an evaluation: the first
        ones, and of the planner's proposals as many more as the reserve holds."""
        left, reserve, found = self.evals_left(), self.reserve, set[str]()
        for key in keys:
            if left:
                left -= 1
            elif reserve and key in self.proposed:
                reserve -= 1
            else:
                continue
            found.add(key)
        return found

    def charge(self, key: str) -> None:
        """Charge an evaluation for a config, once. If nothing but the reserve is left, it is taken from there."""
        if key not in self.charged and not self.evals_left():
            self.reserve = max(0, self.reserve - 1)
        self.charged.add(key)

    def release_reserve(self) -> None:
        """Give the reserve to whoever decides."""
        self.reserve = 0

    def allow_a_reading(self) -> None:
        """Leave time for a reading, the first time that this is called: a search whose first compilations took all its
        time would end without a result."""
        if self._reading_until is None:
            self._reading_until = time.monotonic() + READING_S

    def end_reading(self) -> None:
        """There is a reading: nothing more is left than the search has."""
        self._reading_until = -math.inf

    @property
    def search_ends_at(self) -> float:
        """``time.monotonic()`` when the search has to be over."""
        return min(self.started + self.max_seconds, self.ends_at)

    def seconds_left(self) -> float:
        reading_until = -math.inf if self._reading_until is None else min(self._reading_until, self.ends_at)
        return max(0.0, max(self.search_ends_at, reading_until) - time.monotonic())
