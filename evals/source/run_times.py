"""How long a run of a source task is likely to take, from its process's start to the proof on the other shape.

1. A run searches for ``--max-seconds``. What it takes beside that depends on the task's kind: the module of its kernel.
2. At first this is what runs of the kind took on one H200, and as much more as the slowest run so far took beyond that.
3. Once two runs of the kind were proven on the other shape, it is the longest of the kind so far. A run that claims
   nothing has no such proof, and says little of one that does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evals.source.source_runs import SourceRun
from evals.source.source_tasks import ALL

LIKELY: Mapping[str, float] = {"products": 132.0, "attention": 109.0, "rows": 104.0, "traps": 95.0, "layouts": 28.0}
"""Kind → seconds beside the search: the most that runs took in docs/data, written-source-h200.json and
embedded-source-h200.json, four side by side."""
ENOUGH = 2
"""Proven runs of a kind: with so many the next one is likely not to be the longest."""


def kind_of(task: str) -> str:
    """The kind of a task: ``rows``, ``products``, ..."""
    return ALL[task].partition(":")[0].rpartition(".")[2]


@dataclass
class RunTimes:
    """What runs took so far, in seconds."""

    search: float
    """Of ``--max-seconds``."""
    likely: Mapping[str, float] = field(default_factory=lambda: LIKELY)
    """Beside the search, by kind."""
    _ended: list[tuple[SourceRun, float]] = field(default_factory=list)

    def add(self, run: SourceRun, seconds: float) -> None:
        """Note a run that has ended."""
        self._ended.append((run, seconds))

    def expected(self, task: str, player: str) -> float:
        """What a run of this player on this task is likely to take. A player of which no run has ended is taken for as
        slow as the others."""
        own = [(run, s) for run, s in self._ended if run.player == player] or self._ended
        alike = [(run, s) for run, s in own if (run.player, kind_of(run.task)) == (player, kind_of(task))]
        if sum(bool(run.elsewhere) and not run.unplayed for run, _ in alike) >= ENOUGH:
            return max(seconds for _, seconds in alike)
        beyond = [seconds - self._at_first(run.task) for run, seconds in own]
        return self._at_first(task) + max([0.0, *beyond])

    def _at_first(self, task: str) -> float:
        return self.search + self.likely[kind_of(task)]
