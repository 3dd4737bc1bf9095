"""What a run may spend in the harness, and the defaults of it. Imports nothing heavy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

MAX_EVALS = 40
"""Evaluations of a run that names no number."""
MAX_SECONDS = 600.0
"""Seconds of search of a run that names no number."""


@dataclass
class Budget:
    """What a run may spend. An evaluation is a config that is measured for the first time in this run, whatever
    becomes of it; a repeated config costs nothing."""

    max_evals: int = MAX_EVALS
    max_seconds: float = MAX_SECONDS
    started: float = field(default_factory=time.monotonic)
    """``time.monotonic()`` when the search began."""
    evals: int = 0

    def evals_left(self) -> int:
        return max(0, self.max_evals - self.evals)

    def seconds_left(self) -> float:
        return max(0.0, self.max_seconds - (time.monotonic() - self.started))
