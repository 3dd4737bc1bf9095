"""What a user asks of ``improve``, and what comes of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.loop.outcome import Outcome
from agent.models.base import EMBEDDED
from agent.programs.improvement.earlier_table import EarlierTable
from agent.programs.improvement.improve_plan import Job, Untuned
from agent.programs.improvement.tuned_rows import Judged, name_of_row
from kernels.capture.reading.captured_launches import Capture
from kernels.tuned.tuned_table import TunedEnvironment, TunedRow, TunedTable


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    file: Path
    out: Path
    kernel: str | None = None
    device: str = "auto"
    max_seconds: float = 600.0
    share: float = 0.95
    model: str = EMBEDDED
    base_url: str | None = None
    memory: Path | None = None
    cold: bool = False
    bitwise: bool = False
    """Whether a proven config must give the bits of the launch as captured."""
    seed: int = 0
    edit: bool = False
    """Whether device code may be edited: by known rewrites, or by the model."""
    held_out: int = 0
    """Launches of each kernel that lie between others and are not tuned: the table's answers for them are timed."""
    even: bool = False
    """Whether each launch is given the same time, instead of by what it promises."""
    began: float = field(default_factory=time.monotonic)
    """From when `max_seconds` count, by ``time.monotonic()``."""


@dataclass
class Improved:
    """What came of it."""

    capture: Capture
    environment: TunedEnvironment
    table: TunedTable
    rows: list[tuple[Job, Judged, Outcome | None]] = field(default_factory=list)
    untuned: list[Untuned] = field(default_factory=list)
    seconds: float = 0.0
    timed: bool = True
    earlier: EarlierTable = field(default_factory=EarlierTable)
    """What the file held before."""

    def leave(self, reason: str, *jobs: Job) -> None:
        """Note that nothing is found out about these launches. `reason` is a sentence's end."""
        for job in jobs:
            title = f"{job.launch.name} ({job.launch.digest[:8]})"
            self.untuned.append(Untuned(title, f"{reason}{self._earlier_of(job)}", job.function))

    def _earlier_of(self, job: Job) -> str:
        """What becomes of the row that the launch had before, for the end of a sentence."""
        row = self.earlier.row(name_of_row(job.launch, job.key, self.environment))
        if row is None:
            return ""
        fault = self.earlier.fault(row)
        return f"; its {row.status} row of before stays" if fault is None else f"; its row of before goes: {fault}"

    @property
    def whole(self) -> TunedTable:
        """What is written."""
        return self.earlier.merged_with(self.table)

    @property
    def taken_out(self) -> list[TunedRow]:
        """Rows of before that are not in the file any more, though nothing was decided in their place."""
        return self.earlier.taken_out(self.table)

    @property
    def proven(self) -> bool:
        return any(judged.status == "proven" for _, judged, _ in self.rows)
