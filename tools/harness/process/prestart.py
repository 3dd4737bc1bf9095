"""A live run's processes, started before it is known what they will do.

Each imports PyTorch and Triton, seconds of work, half a minute where a cold disk has to give them sixteen times. They
begin with it at once and together, while the driver does imports of its own; kernel, problem and GPU follow when known
(:meth:`tools.harness.process.child.Child.begin`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from tools.harness.compiling.cache import default_cache, triton_environment, worker_environment
from tools.harness.process.child import Child

WORKER = "tools.harness.measuring.worker:worker"
COMPILER = "tools.harness.compiling.compiler:compiler"
COMPILERS = 8
"""As many as the planner's first batch has configs; a pool that needs more starts more."""
WORKERS = 2
"""One for candidates, one for baselines."""
COMPILER_NICE = 10
"""The worker and the driver are waited for."""


class Nursery:
    """Children by the factory that they will serve with. Who takes one has to end it; ``close`` ends the rest."""

    def __init__(self, cache: Path, compilers: int, worker: str | None = WORKER) -> None:
        """`worker` is the device workers' factory; ``None`` for none of them."""
        self._waiting: dict[str, list[Child]] = {COMPILER: []}
        try:
            if worker is not None:
                self._waiting[worker] = []
                for _ in range(WORKERS):
                    self._waiting[worker].append(Child(worker, env=worker_environment(cache)))
            for _ in range(compilers):
                child = Child(COMPILER, env=triton_environment(cache))
                self._waiting[COMPILER].append(child)
                os.setpriority(os.PRIO_PROCESS, child.process.pid, COMPILER_NICE)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, device: str) -> Nursery:
        """For a run on `device`: empty unless that is a single GPU of a machine that has one."""
        from tools.harness.measuring.telemetry import gpus_present

        kind, _, which = device.partition(":")
        single = kind == "auto" or (kind == "cuda" and (which or "0").isdecimal())
        if single and gpus_present():
            return cls(default_cache(), min(COMPILERS, len(os.sched_getaffinity(0))))
        return cls(default_cache(), 0, None)

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def take(self, factory: str) -> Child | None:
        """One that waits for `factory`'s init, if there is one."""
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
