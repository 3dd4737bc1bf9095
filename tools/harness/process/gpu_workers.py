"""The worker processes of one GPU: which of them run, which are spares, and what status their deaths give a job."""

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
from tools.harness.device import MachineTrouble
from tools.harness.process.child import START_DEADLINE_S, Child, ChildDied, ChildKilled, ChildTimeout, ChildUnborn
from tools.harness.process.gpu_lock import GpuLock
from tools.harness.process.identity import describe
from tools.harness.process.prestart import WORKER as WORKER
from tools.harness.process.prestart import Prestart

Role = Literal["candidates", "baselines"]
Answer = dict[str, Any]

JOB_DEADLINE_S = 20.0
"""A screening takes 0.05 s; a launch that has not come back by now hangs."""
PREPARE_DEADLINE_S = 240.0
"""torch.compile with max-autotune compiles and times some twenty kernels of its own."""
TRIES = 3
GPU_PATIENCE_S, WORKER_PATIENCE_S = JOB_DEADLINE_S, PREPARE_DEADLINE_S / 2
"""How long a job waits for the GPU, and for the baselines' worker, while baselines are prepared in the background. A
preparation that holds either longer is assumed to hang. It is killed and repeated when its result is needed."""
CLOSE_S = 5.0


class StartFailed(RuntimeError):
    """A worker could not be started: no candidate is to blame. The message is one sentence."""


class GpuWorkers:
    """One worker per role, one job at a time on the GPU, and spares that have finished their imports."""

    def __init__(
        self,
        index: int,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        cache: Path,
        factory: str = WORKER,
        lock: Path | None = None,
        prestart: Prestart | None = None,
    ) -> None:
        """`factory` makes a worker's serve function (:class:`tools.harness.process.child.Child`). `lock` is the file by
        which these workers share the GPU with others (:class:`tools.harness.process.gpu_lock.GpuLock`). `prestart` may
        hold workers that were started before."""
        self._factory = factory
        self.index = index
        self.cache = cache
        self.shared = lock is not None
        """Whether other devices may use the GPU too."""
        self._file = None if lock else tempfile.NamedTemporaryFile(prefix="autokernel-gpu-")  # noqa: SIM115
        path = str(lock) if self._file is None else self._file.name
        self._gpu = GpuLock(path)
        self.index, self.lock = index, Path(path)
        """The GPU's number, and the file by which others share it with these workers."""
        self._init = {**describe(spec, problem), "index": index, "lock": path}
        self._environment = worker_environment(cache)
        self._role_locks: dict[Role, threading.RLock] = {
            "candidates": threading.RLock(),
            "baselines": threading.RLock(),
        }
        self._state_lock = threading.RLock()
        self._closed = False
        self._background: threading.Thread | None = None
        self._preparing = False
        self._needed = threading.Event()
        self._open: set[Child] = set()
        self.by_role: dict[Role, Child] = {}
        self.standby: list[Child] = []
        self.spares = 1
        """How many spares are kept; more of them bridge many crashes in a row."""
        self.deadline_s = JOB_DEADLINE_S
        self.patience_s = GPU_PATIENCE_S, WORKER_PATIENCE_S
        self.prepared: set[str] = set()
        """Baselines whose one-time work the current worker has done."""
        self.ran: dict[str, list[str]] = {}
        """Baseline → names of the GPU kernels that one call of it starts."""
        self.cache_hits = 0
        """Launches so far that found their code compiled."""
        roles: tuple[Role, ...] = ("candidates", "baselines")
        for role in roles:
            child = prestart.take_worker(factory, role == "baselines") if prestart else None
            if child is not None:
                child.begin(self._init)
                self.by_role[role] = child

    def describe_gpu(self) -> Answer:
        """Start the candidates' worker if need be and ask it for the GPU's name, driver and versions. Raises
        StartFailed if there is no such GPU, and MachineTrouble if the worker does not start."""
        if "candidates" not in self.by_role:
            self.by_role["candidates"] = self._start()
        child = self.by_role["candidates"]
        try:
            answer = self._call_when_ready(child, {"op": "info"})
        except ChildUnborn as e:
            raise MachineTrouble(str(e)) from e
        except (ChildDied, ChildTimeout) as e:
            raise MachineTrouble(f"the GPU's worker does not start: {e}") from e
        if "missing" in answer:
            child.kill()
            raise StartFailed(answer["missing"])
        return answer

    def run(self, role: Role, job: Answer, deadline_s: float | None = None) -> Answer:
        """Run one job on the GPU. A worker that hung, crashed or lost its context is replaced before this returns, and
        the answer holds the job's own status. The wait for the GPU does not count towards the deadline.

        Raises MachineTrouble if no worker can open the GPU: then a job that just failed is not to blame either."""
        with self._hold_worker(role):
            return self._call_with_retries(role, job, deadline_s or self.deadline_s)

    def prepare(self, baseline: str) -> Answer:
        """Do a baseline's one-time work unless it is done: alone on the GPU, unless the GPU is shared. From now on
        nothing is prepared in the background."""
        self._needed.set()
        job = {"op": "prepare", "baseline": baseline, "samples": 1, "shares_gpu": self.shared}
        with self._role_locks["baselines"]:
            return {"status": "correct"} if baseline in self.prepared else self._prepare(job)

    def prepare_ahead(self, baselines: list[str]) -> None:
        """Prepare `baselines` one after another in a background thread while other jobs run. The thread ends when a
        baseline is needed. What fails here is tried again, and reported, when the baseline is needed."""

        def work() -> None:
            for baseline in baselines:
                job = {"op": "prepare", "baseline": baseline, "samples": 1, "shares_gpu": True, "ahead": True}
                with self._role_locks["baselines"]:
                    if self._needed.is_set() or self._closed:
                        return
                    self._preparing = True
                    try:
                        if baseline not in self.prepared:
                            self._prepare(job)
                    except RuntimeError:  # ours or the machine's failure, which is raised where it is asked for
                        return
                    finally:
                        self._preparing = False

        self._run_in_background(work)

    def open_ahead(self) -> None:
        """Create the candidates' GPU context in the background. If that fails, the first job reports it."""

        def work() -> None:
            with self._role_locks["candidates"]:
                try:
                    self._worker("candidates")
                except (StartFailed, ChildKilled):
                    self._replace("candidates")

        self._run_in_background(work)

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        with self._state_lock:
            self._closed = True
            children = [*self.by_role.values(), *self.standby]
        for child in children:
            child.send_kill()
        if self._background is not None:
            self._background.join(CLOSE_S)
        for child in children:
            child.kill()
        self._gpu.close()
        if self._file is not None:
            self._file.close()

    # -- who may run

    @contextmanager
    def _hold_worker(self, role: Role) -> Iterator[None]:
        mine = self._role_locks[role]
        patience = self._patience(self.patience_s[1]) if role == "baselines" else None
        if not mine.acquire(timeout=-1 if patience is None else patience):
            self._stop_preparing_ahead()
            mine.acquire()
        try:
            yield
        finally:
            mine.release()

    @contextmanager
    def _hold_gpu(self) -> Iterator[None]:
        if not self._gpu.acquire(self._patience(self.patience_s[0])):
            self._stop_preparing_ahead()
            self._gpu.acquire()
        try:
            yield
        finally:
            self._gpu.release()

    def _patience(self, seconds: float) -> float | None:
        """`seconds` while a baseline is prepared in the background, else no limit: every other job has a deadline."""
        return seconds if self._preparing and not self._needed.is_set() else None

    def _run_in_background(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread after the background work that was begun before."""
        before = self._background

        def after() -> None:
            if before is not None:
                before.join()
            work()

        self._background = threading.Thread(target=after, name="ahead", daemon=True)
        self._background.start()

    def _stop_preparing_ahead(self) -> None:
        self._needed.set()
        with self._state_lock:
            child = self.by_role.get("baselines")
        if child is not None:
            child.send_kill()

    # -- jobs

    def _prepare(self, job: Answer) -> Answer:
        answer = self._call_with_retries("baselines", job, PREPARE_DEADLINE_S)
        if answer["status"] == "correct":
            self.prepared.add(job["baseline"])
            self.ran[job["baseline"]] = answer.get("ran", [])
        return answer

    def _call_with_retries(self, role: Role, job: Answer, deadline_s: float) -> Answer:
        ahead = threading.current_thread() is self._background
        for _ in range(TRIES):
            try:
                return self._call(role, job, deadline_s)
            except ChildKilled as e:  # from outside: not the job's doing, and worth another try
                killed = e
            if ahead and self._needed.is_set():
                break
        return {"status": "infrastructure", "reason": f"the worker was killed from outside {TRIES} times: {killed}"}

    def _call(self, role: Role, job: Answer, deadline_s: float) -> Answer:
        child = self._open_worker(role)
        try:
            with nullcontext() if job.get("shares_gpu") else self._hold_gpu():
                answer = child.call(job, deadline_s)
        except ChildKilled:
            self._replace(role)
            raise
        except ChildTimeout as e:
            answer = {"status": "timeout", "reason": str(e), "broken": True}
        except ChildDied as e:
            answer = {"status": "runtime", "reason": str(e), "broken": True}
        if "trouble" in answer:
            raise MachineTrouble(answer["trouble"])
        self.cache_hits += answer.pop("cache_hits", 0)
        if answer.pop("broken", False):
            child.kill()
            self._replace(role)
            self._open_after(role, answer)
        return answer

    def _open_worker(self, role: Role) -> Child:
        """The role's worker with its GPU context. A worker that does not start is replaced once.

        Raises MachineTrouble if its successor does not start either, and ChildKilled if somebody killed one."""
        try:
            return self._worker(role)
        except StartFailed:
            self._replace(role)
        except ChildKilled:
            self._replace(role)
            raise
        try:
            return self._worker(role)
        except StartFailed as e:
            self._replace(role)
            raise MachineTrouble(str(e)) from e
        except ChildKilled:
            self._replace(role)
            raise

    def _open_after(self, role: Role, answer: Answer) -> None:
        """Open the GPU once more after a job that ended a worker: if that fails, the job's `answer` is no verdict."""
        try:
            self._open_worker(role)
        except ChildKilled:  # the next job reports it if it goes on
            return
        except MachineTrouble as e:
            raise MachineTrouble(f"{e} (after a launch that ended with {answer['reason']})") from e

    def _worker(self, role: Role) -> Child:
        """The role's worker with its GPU context created, which does not count towards a job's deadline.

        Raises StartFailed if it cannot be started and ChildKilled if somebody killed it."""
        if role not in self.by_role:
            self._replace(role)
        if self._closed:
            raise StartFailed("the device is closed")
        child = self.by_role[role]
        if child not in self._open:
            try:
                answer = self._call_when_ready(child, {"op": "open"})
            except ChildKilled:
                raise
            except ChildUnborn as e:
                raise StartFailed(str(e)) from e
            except (ChildDied, ChildTimeout) as e:
                raise StartFailed(f"the GPU's worker does not start: {e}") from e
            if "missing" in answer:
                child.kill()
                raise StartFailed(answer["missing"])
            self._open.add(child)
            if role == "baselines":
                self._start_spares()
        return child

    def _call_when_ready(self, child: Child, job: Answer) -> Answer:
        """Send a job to a worker that may still be importing. The GPU is not held during the imports."""
        began = time.monotonic()
        child.wait_until_ready(START_DEADLINE_S)
        left = START_DEADLINE_S - (time.monotonic() - began)
        with self._hold_gpu():
            return child.call(job, left)

    def _replace(self, role: Role) -> None:
        """Give `role` to a spare, which has finished its imports (seconds), and start another spare."""
        with self._state_lock:
            if role == "baselines":
                self.prepared.clear()
            self._open -= {self.by_role.get(role)}
            self.standby = [s for s in self.standby if s.alive]
            if not self._closed:
                self.by_role[role] = self.standby.pop(0) if self.standby else self._start()
                self._start_spares()

    def _start_spares(self) -> None:
        with self._state_lock:
            if not self._closed:
                self.standby += [self._start() for _ in range(self.spares - len(self.standby))]

    def _start(self) -> Child:
        return Child(self._factory, self._init, self._environment)
