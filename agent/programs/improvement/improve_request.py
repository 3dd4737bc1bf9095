"""What a user asks of ``improve``, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agent.loop.outcome import Outcome
from agent.models.base import EMBEDDED
from agent.programs.improvement.earlier_table import merge_tables
from agent.programs.improvement.improve_plan import Job, Untuned
from agent.programs.improvement.tuned_rows import Judged
from kernels.capture.reading.captured_launches import Capture
from kernels.tuned.tuned_table import TunedEnvironment, TunedTable


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
    earlier: TunedTable = field(default_factory=TunedTable)
    """What the file held before."""
    held_out: frozenset[str] = frozenset()
    """Names of the rows that launches which are held out would have."""

    @property
    def whole(self) -> TunedTable:
        """What is written."""
        return merge_tables(self.earlier, self.table, self.held_out)

    @property
    def proven(self) -> bool:
        return any(judged.status == "proven" for _, judged, _ in self.rows)
