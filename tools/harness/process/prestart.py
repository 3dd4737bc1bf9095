"""Starts a live run's processes before the kernel, the problem and the GPU are known.

Each process imports PyTorch and Triton, which takes seconds, and half a minute for all of them from a cold disk. They
import at once and together, while the driver does imports of its own. Kernel, problem and GPU are sent when they are
known (:meth:`tools.harness.process.child.Child.begin`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from tools.harness.compiling.cache import default_cache, triton_environment, worker_environment
from tools.harness.process.child import Child

WORKER = "tools.harness.measuring.worker:worker"
COMPILER = "tools.harness.compiling.compiler:compiler"
COMPILERS = 8
"""Compilers started in advance: one for each config of the planner's first batch. The pool starts more if needed."""
WORKERS = 2
"""One for candidates, one for baselines."""
COMPILER_NICE = 10
"""Added niceness of a compiler: the run waits for the worker and the driver, which go first."""


class Prestart:
    """Processes by the factory that they will serve with. Whoever takes one has to end it. ``close`` ends the rest."""

    def __init__(self, cache: Path, compilers: int, worker: str | None = WORKER) -> None:
        """Start `compilers` compilers and two device workers of the factory `worker`, or none if that is ``None``."""
        self._waiting: dict[str, list[Child]] = {COMPILER: []}
        try:
            if worker is not None:
                self._waiting[worker] = []
                for _ in range(WORKERS):
                    self._waiting[worker].append(Child(worker, env=worker_environment(cache)))
            for _ in range(compilers):
                child = Child(COMPILER, env=triton_environment(cache), forked=True, nice=COMPILER_NICE)
                self._waiting[COMPILER].append(child)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, device: str) -> Prestart:
        """The processes for a run on `device`: none unless `device` is a single GPU and this machine has one."""
        from tools.harness.measuring.telemetry import gpus_present

        kind, _, which = device.partition(":")
        single = kind == "auto" or (kind == "cuda" and (which or "0").isdecimal())
        if single and gpus_present():
            return cls(default_cache(), min(COMPILERS, len(os.sched_getaffinity(0))))
        return cls(default_cache(), 0, None)

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def take(self, factory: str) -> Child | None:
        """A live process for `factory`, or ``None`` if there is none left."""
        waiting = self._waiting.get(factory, [])
        while waiting:
            child = waiting.pop(0)
            if child.alive:
                return child
            child.kill()
        return None

    def close(self) -> None:
        for waiting in self._waiting.values():
            while waiting:
                waiting.pop().kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
