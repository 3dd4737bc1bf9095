"""Starts a live run's processes before the kernel, the problem and the GPU are known.

Each process imports PyTorch and Triton, which takes seconds, and half a minute for all of them from a cold disk. They
import at once and together, while the driver does imports of its own. Kernel, problem and GPU are sent when they are
known (:meth:`tools.harness.process.child.Child.begin`)."""

from __future__ import annotations

import contextlib
import os
import tempfile
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

    def __init__(self, cache: Path, compilers: int, worker: str | None = WORKER, shut_in: bool = False) -> None:
        """Start `compilers` compilers and two device workers of the factory `worker`, or none if that is ``None``. With
        `shut_in` the compilers are those of edited code: no network, and they write to the cache and ``scratch``."""
        self._waiting: dict[str, list[Child]] = {COMPILER: []}
        self.most_compilers: int | None = None
        """How many a pool that takes them may have in all; ``None``: as many as it likes."""
        self.scratch = tempfile.TemporaryDirectory(prefix="autokernel-") if shut_in else None
        """The folder of compilers that are shut in. Whoever takes one of them takes the folder too."""
        if shut_in:  # only a folder that exists can be allowed; why this one cannot be made, the pool says
            with contextlib.suppress(OSError):
                cache.mkdir(parents=True, exist_ok=True)
        try:
            if worker is not None:
                self._waiting[worker] = []
                for _ in range(WORKERS):
                    self._waiting[worker].append(Child(worker, env=worker_environment(cache)))
            for _ in range(compilers):
                writable = [self.scratch.name, str(cache)] if self.scratch is not None else None
                environment, forked = triton_environment(cache), writable is None
                child = Child(COMPILER, env=environment, writable=writable, forked=forked, nice=COMPILER_NICE)
                self._waiting[COMPILER].append(child)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, device: str, shut_in: bool = False, compilers: int | None = None) -> Prestart:
        """The processes for a run on `device`: none unless `device` is a single GPU and this machine has one.
        `shut_in`: whether the run may compile edited code. `compilers`: the run's at most, if it shares the machine."""
        from tools.harness.measuring.telemetry import gpus_present

        kind, _, which = device.partition(":")
        single = kind == "auto" or (kind == "cuda" and (which or "0").isdecimal())
        if single and gpus_present():
            most = len(os.sched_getaffinity(0)) if compilers is None else compilers
            found = cls(default_cache(), min(COMPILERS, most), shut_in=shut_in)
            found.most_compilers = compilers
            return found
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
        if self.scratch is not None:
            self.scratch.cleanup()
            self.scratch = None

    def take_scratch(self) -> tempfile.TemporaryDirectory[str] | None:
        """The folder of compilers that are shut in, which the taker then owns."""
        taken, self.scratch = self.scratch, None
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
