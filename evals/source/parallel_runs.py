"""Runs of source tasks side by side, each in a process of its own.

A run that crashes, or that the system kills, is no score, and the others go on. When this process ends, whichever way,
those of the runs end with it.
"""

from __future__ import annotations

import json
import queue
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evals.source.run_times import LIKELY, RunTimes, kind_of
from evals.source.source_runs import Place, SourceRun
from evals.source.source_tasks import TRAPS
from tools.harness.process.child import Child, ChildDied
from tools.harness.process.refusal import Refusal

PLAYER = "evals.source.source_runs:player"
"""What a run's process serves."""
NO_DEADLINE = float("inf")
"""A run has limits of its own: its search, its proofs, and how long a model's answer is waited for."""


@dataclass(frozen=True)
class Job:
    """A run to make."""

    task: str
    player: str


class ParallelRuns:
    """Runs, `workers` at a time."""

    def __init__(
        self,
        jobs: Sequence[Job],
        place: Place,
        workers: int,
        stop_after: float | None = None,
        player: str = PLAYER,
        times: RunTimes | None = None,
    ) -> None:
        """`stop_after`: seconds in which all is to end. The first runs are begun in any case. A later one is not begun
        if it would likely end after that, by `times`; one behind it that is shorter may be. What is begun is played to
        its end. `player` is the factory of a run's process."""
        self._waiting = list(jobs)[::-1]
        self._place, self._workers, self._player = place, workers, player
        self._stop_after, self._began = stop_after, time.monotonic()
        self._times = times or RunTimes(place.seconds)
        self._first = workers
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._closed = False
        self._ended: queue.Queue[SourceRun] = queue.Queue()

    def ended(self) -> Iterator[SourceRun]:
        """All runs as they end. Whoever stops early ends those that are under way."""
        count = len(self._waiting)
        with tempfile.TemporaryDirectory(prefix="autokernel-source-", ignore_cleanup_errors=True) as folder:
            lock = Path(folder) / "gpu.lock"
            lock.touch()
            self._place = replace(self._place, lock=lock, folder=Path(folder))
            threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._workers)]
            try:
                for thread in threads:
                    thread.start()
                for _ in range(count):
                    yield self._ended.get()
            finally:
                self._close()
                for thread in threads:
                    if thread.is_alive():
                        thread.join()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._waiting.clear()
            for child in self._children:
                child.send_kill()

    def _work(self) -> None:
        """Make runs, one after another, until none waits."""
        while (begun := self._next()) is not None:
            job, why_not = begun
            if why_not:
                self._ended.put(SourceRun(task=job.task, player=job.player, unplayed=why_not))
                continue
            began = time.monotonic()
            run = self._played(job)
            whole = time.monotonic() - began
            with self._lock:
                self._times.add(run, whole)
            self._ended.put(run.model_copy(update={"whole_seconds": round(whole, 1)}))

    def _next(self) -> tuple[Job, str] | None:
        """The next run, and why it is not begun; empty if it is."""
        with self._lock:
            if not self._waiting:
                return None
            job = self._waiting.pop()
            if self._first:
                self._first -= 1
                return job, ""
            expected = self._times.expected(job.task, job.player)
            late = time.monotonic() - self._began + expected - (self._stop_after or NO_DEADLINE)
            why = "not begun: such a run is likely to take {:.0f} s, and would end after --stop-after {:g}"
            return job, why.format(expected, self._stop_after) if late > 0 else ""

    def _played(self, job: Job) -> SourceRun:
        try:
            child = self._start()
            try:
                return SourceRun.model_validate(child.call(self._request(job), NO_DEADLINE))
            finally:
                self._end(child)
        # A process that does not start, ends or raises, or what is no run: no score, and the others go on.
        except (ChildDied, Refusal, RuntimeError, OSError, ValueError) as e:
            lines = str(e).splitlines() or [""]
            return SourceRun(task=job.task, player=job.player, unplayed=f"{type(e).__name__}: {lines[-1]}"[:300])

    def _start(self) -> Child:
        with self._lock:
            if self._closed:
                raise ChildDied("the command was stopped")
            child = Child(self._player, {})
            self._children.add(child)
            return child

    def _end(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.kill()

    def _request(self, job: Job) -> dict[str, Any]:
        """The run as JSON."""
        found: dict[str, Any] = json.loads(json.dumps({**asdict(job), "place": asdict(self._place)}, default=str))
        return found


def play_order(tasks: Sequence[str]) -> list[str]:
    """The tasks, those that take long before the short ones, for which there is still time when there is none for a
    long one. The traps are spread evenly among them, so that what the time does not reach is not all of them."""
    kinds = [[t for t in tasks if t not in TRAPS], [t for t in tasks if t in TRAPS]]
    kinds[0].sort(key=lambda task: -LIKELY[kind_of(task)])
    places = {task: (i + 0.5) / len(kind) for kind in kinds for i, task in enumerate(kind)}
    return sorted(tasks, key=places.__getitem__)
