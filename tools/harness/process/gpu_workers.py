"""The worker processes of one GPU: who runs, who stands by, and what their ends mean."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from kernels.spec import KernelSpec, Problem
from tools.harness.compiling.cache import worker_environment
from tools.harness.process.child import READY, Child, ChildDied, ChildKilled, ChildTimeout
from tools.harness.process.gpu_lock import Turns
from tools.harness.process.identity import describe
from tools.harness.process.prestart import WORKER as WORKER
from tools.harness.process.prestart import Nursery

Role = Literal["candidates", "baselines"]
Answer = dict[str, Any]

JOB_DEADLINE_S = 20.0
"""A screening takes 0.05 s; a launch that has not come back by now hangs."""
START_DEADLINE_S = 120.0
"""Importing torch from a cold disk and creating a context."""
PREPARE_DEADLINE_S = 240.0
"""torch.compile with max-autotune compiles and times some twenty kernels of its own."""
TRIES = 3
GPU_PATIENCE_S, WORKER_PATIENCE_S = JOB_DEADLINE_S, PREPARE_DEADLINE_S / 2
"""How long a job waits for the GPU, and for the baselines' worker, while baselines are prepared ahead. What keeps it
longer hangs by all odds: it is ended, and done again when asked for."""
CLOSE_S = 5.0


class StartFailed(RuntimeError):
    """A worker cannot be had: no candidate is to blame. The message is one sentence."""


class Crew:
    """One worker per role, one job at a time on the GPU, and spares with their imports done."""

    def __init__(
        self,
        index: int,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        cache: Path,
        factory: str = WORKER,
        turns: Path | None = None,
        early: Nursery | None = None,
    ) -> None:
        """`factory` is what a worker serves with (see :class:`tools.harness.process.child.Child`); `turns` the file
        by which these workers and others share the GPU (:class:`tools.harness.process.gpu_lock.Turns`); `early` may
        have workers already."""
        self._factory = factory
        self.cache = cache
        self.shared = turns is not None
        """Whether other crews may have the GPU meanwhile."""
        self._file = None if turns else tempfile.NamedTemporaryFile(prefix="autokernel-turns-")  # noqa: SIM115
        path = str(turns) if self._file is None else self._file.name
        self._gpu = Turns(path)
        self._init = {**describe(spec, problem), "index": index, "turns": path}
        self._environment = worker_environment(cache)
        self._mine: dict[Role, threading.RLock] = {"candidates": threading.RLock(), "baselines": threading.RLock()}
        self._books = threading.RLock()
        self._closed = False
        self._ahead: threading.Thread | None = None
        self._preparing = False
        self._asked = threading.Event()
        self._open: set[Child] = set()
        self.workers: dict[Role, Child] = {}
        self.standby: list[Child] = []
        self.spares = 1
        """How many stand by; more of them ride out a storm of crashes."""
        self.deadline_s = JOB_DEADLINE_S
        self.patience_s = GPU_PATIENCE_S, WORKER_PATIENCE_S
        self.prepared: set[str] = set()
        """Baselines whose one-time work the present worker has done."""
        self.cache_hits = 0
        """Launches so far that found their code compiled."""
        roles: tuple[Role, ...] = ("candidates", "baselines")
        for role in roles:
            child = early.take(factory) if early else None
            if child is not None:
                child.begin(self._init)
                self.workers[role] = child

    def introduce(self) -> Answer:
        """Start the candidates' worker and ask what the GPU is. Raises StartFailed."""
        if "candidates" not in self.workers:
            self.workers["candidates"] = self._start()
        child = self.workers["candidates"]
        try:
            answer = self._first(child, {"op": "info"})
        except (ChildDied, ChildTimeout) as e:
            raise StartFailed(f"the GPU's worker does not start: {e}") from e
        if "missing" in answer:
            child.kill()
            raise StartFailed(answer["missing"])
        return answer

    def run(self, role: Role, job: Answer, deadline_s: float | None = None) -> Answer:
        """One job on the GPU. A worker that hung, crashed or lost its context is replaced before this returns, and the
        answer has the job's true status. Waiting for the GPU is no part of the deadline."""
        with self._worker_of(role):
            return self._tried(role, job, deadline_s or self.deadline_s)

    def prepare(self, baseline: str) -> Answer:
        """A baseline's one-time work, unless it is done; alone on the GPU, unless that is shared. Nothing is prepared
        ahead from now on."""
        self._asked.set()
        job = {"op": "prepare", "baseline": baseline, "samples": 1, "taking_turns": self.shared}
        with self._mine["baselines"]:
            return {"status": "correct"} if baseline in self.prepared else self._prepared(job)

    def prepare_ahead(self, baselines: list[str]) -> None:
        """Do that for one after another while other jobs run, in a thread that ends when one is asked for. What cannot
        be done is left: it will be tried again, and told, when asked for."""

        def work() -> None:
            for baseline in baselines:
                job = {"op": "prepare", "baseline": baseline, "samples": 1, "taking_turns": True, "ahead": True}
                with self._mine["baselines"]:
                    if self._asked.is_set() or self._closed:
                        return
                    self._preparing = True
                    try:
                        if baseline not in self.prepared:
                            self._prepared(job)
                    except RuntimeError:  # our own code's failure, which is raised where the baseline is asked for
                        return
                    finally:
                        self._preparing = False

        self._beside(work)

    def open_ahead(self) -> None:
        """Open the candidates' context while other things are done. That it cannot be had is the first job's news."""

        def work() -> None:
            with self._mine["candidates"]:
                try:
                    self._worker("candidates")
                except (StartFailed, ChildKilled):
                    self._replace("candidates")

        self._beside(work)

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        with self._books:
            self._closed = True
            children = [*self.workers.values(), *self.standby]
        for child in children:
            child.strike()
        if self._ahead is not None:
            self._ahead.join(CLOSE_S)
        for child in children:
            child.kill()
        self._gpu.close()
        if self._file is not None:
            self._file.close()

    # -- who may

    @contextmanager
    def _worker_of(self, role: Role) -> Iterator[None]:
        mine = self._mine[role]
        patience = self._patience(self.patience_s[1]) if role == "baselines" else None
        if not mine.acquire(timeout=-1 if patience is None else patience):
            self._end_what_is_ahead()
            mine.acquire()
        try:
            yield
        finally:
            mine.release()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._gpu.take(self._patience(self.patience_s[0])):
            self._end_what_is_ahead()
            self._gpu.take()
        try:
            yield
        finally:
            self._gpu.give()

    def _patience(self, seconds: float) -> float | None:
        """So many; unlimited where nothing is prepared ahead: what is waited for then has a deadline of its own."""
        return seconds if self._preparing and not self._asked.is_set() else None

    def _beside(self, work: Callable[[], None]) -> None:
        """`work` in a thread, after what another one has begun."""
        before = self._ahead

        def after() -> None:
            if before is not None:
                before.join()
            work()

        self._ahead = threading.Thread(target=after, name="ahead", daemon=True)
        self._ahead.start()

    def _end_what_is_ahead(self) -> None:
        self._asked.set()
        with self._books:
            child = self.workers.get("baselines")
        if child is not None:
            child.strike()

    # -- jobs

    def _prepared(self, job: Answer) -> Answer:
        answer = self._tried("baselines", job, PREPARE_DEADLINE_S)
        if answer["status"] == "correct":
            self.prepared.add(job["baseline"])
        return answer

    def _tried(self, role: Role, job: Answer, deadline_s: float) -> Answer:
        ahead = threading.current_thread() is self._ahead
        for _ in range(TRIES):
            try:
                return self._call(role, job, deadline_s)
            except ChildKilled as e:  # from outside: not the job's doing, and worth another try
                killed = e
            if ahead and self._asked.is_set():
                break
        return {"status": "infrastructure", "reason": f"the worker was killed from outside {TRIES} times: {killed}"}

    def _call(self, role: Role, job: Answer, deadline_s: float) -> Answer:
        try:
            child = self._worker(role)
            with nullcontext() if job.get("taking_turns") else self._turn():
                answer = child.call(job, deadline_s)
        except StartFailed as e:
            self._replace(role)
            return {"status": "infrastructure", "reason": str(e)}
        except ChildKilled:
            self._replace(role)
            raise
        except ChildTimeout as e:
            self._replace(role)
            return {"status": "timeout", "reason": str(e)}
        except ChildDied as e:
            self._replace(role)
            return {"status": "runtime", "reason": str(e)}
        self.cache_hits += answer.pop("cache_hits", 0)
        if answer.pop("broken", False):
            child.kill()
            self._replace(role)
        return answer

    def _worker(self, role: Role) -> Child:
        """The role's worker with its context open; start-up is no part of any job's deadline.

        Raises StartFailed where it cannot be had and ChildKilled where somebody killed it."""
        if role not in self.workers:
            self._replace(role)
        if self._closed:
            raise StartFailed("the device is closed")
        child = self.workers[role]
        if child not in self._open:
            try:
                answer = self._first(child, {"op": "open"})
            except ChildKilled:
                raise
            except (ChildDied, ChildTimeout) as e:
                raise StartFailed(f"the GPU's worker does not start: {e}") from e
            if "missing" in answer:
                child.kill()
                raise StartFailed(answer["missing"])
            self._open.add(child)
            if role == "baselines":
                self._stand_by()
        return child

    def _first(self, child: Child, job: Answer) -> Answer:
        """A job to one that may have to finish its imports before, which others need not wait for."""
        began = time.monotonic()
        child.call(READY, START_DEADLINE_S)
        left = START_DEADLINE_S - (time.monotonic() - began)
        with self._turn():
            return child.call(job, left)

    def _replace(self, role: Role) -> None:
        """Put a spare in `role`'s place and start another: importing torch takes seconds, a spare has done it."""
        with self._books:
            if role == "baselines":
                self.prepared.clear()
            self._open -= {self.workers.get(role)}
            self.standby = [s for s in self.standby if s.alive]
            if not self._closed:
                self.workers[role] = self.standby.pop(0) if self.standby else self._start()
                self._stand_by()

    def _stand_by(self) -> None:
        with self._books:
            if not self._closed:
                self.standby += [self._start() for _ in range(self.spares - len(self.standby))]

    def _start(self) -> Child:
        return Child(self._factory, self._init, self._environment)
