"""The worker processes of one GPU: who runs, who stands by, and what their ends mean."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal

from kernels.spec import KernelSpec, Problem
from tools.harness.child import Child, ChildDied, ChildKilled, ChildTimeout
from tools.harness.compile_pool import triton_environment
from tools.harness.identity import describe

Role = Literal["candidates", "baselines"]
Answer = dict[str, Any]

WORKER = "tools.harness.worker:worker"
JOB_DEADLINE_S = 20.0
"""A screening takes 0.05 s; a launch that has not come back by now hangs."""
START_DEADLINE_S = 120.0
"""Importing torch from a cold disk and creating a context."""
TRIES = 3


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
    ) -> None:
        """`factory` is what a worker serves with (see :class:`tools.harness.child.Child`); `turns` the file by which
        this crew and others share the GPU (:class:`tools.harness.turns.Turns`)."""
        self._factory = factory
        self.cache = cache
        self._init = {**describe(spec, problem), "index": index, "turns": None if turns is None else str(turns)}
        # PyTorch's compiler keeps its work as well: a second run finds its choices made.
        self._environment = {"TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), **triton_environment(cache)}
        self._gpu = threading.Lock()
        self._open: set[Child] = set()
        self.workers: dict[Role, Child] = {}
        self.standby: list[Child] = []
        self.spares = 1
        """How many stand by; more of them ride out a storm of crashes."""
        self.deadline_s = JOB_DEADLINE_S
        self.prepared: set[str] = set()
        """Baselines whose one-time work the present worker has done."""
        self.cache_hits = 0
        """Launches so far that found their code compiled."""

    def introduce(self) -> Answer:
        """Start the candidates' worker and ask what the GPU is. Raises StartFailed."""
        child = self.workers["candidates"] = self._start()
        try:
            answer = child.call({"op": "info"}, START_DEADLINE_S)
        except (ChildDied, ChildTimeout) as e:
            raise StartFailed(f"the GPU's worker does not start: {e}") from e
        if "missing" in answer:
            child.kill()
            raise StartFailed(answer["missing"])
        return answer

    def run(self, role: Role, job: Answer, deadline_s: float | None = None) -> Answer:
        """One job on the GPU. A worker that hung, crashed or lost its context is replaced before this returns, and the
        answer has the job's true status."""
        with self._gpu:
            for _ in range(TRIES):
                try:
                    return self._call(role, job, deadline_s or self.deadline_s)
                except ChildKilled as e:  # from outside: not the job's doing, and worth another try
                    killed = e
            return {"status": "infrastructure", "reason": f"the worker was killed from outside {TRIES} times: {killed}"}

    def close(self) -> None:
        for child in [*self.workers.values(), *self.standby]:
            child.kill()

    def _call(self, role: Role, job: Answer, deadline_s: float) -> Answer:
        try:
            child = self._worker(role)
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
        child = self.workers[role]
        if child not in self._open:
            try:
                answer = child.call({"op": "open"}, START_DEADLINE_S)
            except ChildKilled:
                raise
            except (ChildDied, ChildTimeout) as e:
                raise StartFailed(f"the GPU's worker does not start: {e}") from e
            if "missing" in answer:
                child.kill()
                raise StartFailed(answer["missing"])
            self._open.add(child)
        return child

    def _replace(self, role: Role) -> None:
        """Put a spare in `role`'s place and start another: importing torch takes seconds, a spare has done it."""
        if role == "baselines":
            self.prepared.clear()
        self._open -= {self.workers.get(role)}
        self.standby = [s for s in self.standby if s.alive]
        self.workers[role] = self.standby.pop(0) if self.standby else self._start()
        self.standby += [self._start() for _ in range(self.spares - len(self.standby))]

    def _start(self) -> Child:
        return Child(self._factory, self._init, self._environment)
