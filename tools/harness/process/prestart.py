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
COMPILING_WORKER = "tools.harness.measuring.compiling_worker:worker"
"""A WORKER that begins with the imports of torch.compile."""
COMPILER = "tools.harness.compiling.compiler:compiler"
COMPILERS = 8
"""Compilers started in advance: one for each config of the planner's first batch. The pool starts more if needed."""
LEAST_CORES = 4
"""With fewer, what baselines need at the end would be imported at the expense of what candidates need first."""
COMPILER_NICE = 10
"""Added niceness of a compiler: the run waits for the worker and the driver, which go first."""


def has_spare_cores() -> bool:
    """Whether this machine imports for later without a loss now."""
    return len(os.sched_getaffinity(0)) >= LEAST_CORES


class Prestart:
    """Processes by the factory that they will serve with. Whoever takes one has to end it. ``close`` ends the rest."""

    def __init__(
        self,
        cache: Path,
        compilers: int,
        worker: str | None = WORKER,
        shut_in: bool = False,
        baselines: str | None = None,
    ) -> None:
        """Start `compilers` compilers and two device workers, or none if `worker` is ``None``: one of the factory
        `worker` for candidates, one of `baselines` (default: the same) for baselines. With `shut_in` the compilers are
        those of edited code: no network, and they write to the cache and ``scratch``."""
        self._waiting: dict[str, list[Child]] = {COMPILER: []}
        self.most_compilers: int | None = None
        """How many a pool that takes them may have in all; ``None``: as many as it likes."""
        self.scratch = tempfile.TemporaryDirectory(prefix="autokernel-") if shut_in else None
        """The folder of compilers that are shut in. Whoever takes one of them takes the folder too."""
        if shut_in:  # only a folder that exists can be allowed; why this one cannot be made, the pool says
            with contextlib.suppress(OSError):
                cache.mkdir(parents=True, exist_ok=True)
        try:
            for factory in () if worker is None else (worker, baselines or worker):
                self._waiting.setdefault(factory, []).append(Child(factory, env=worker_environment(cache)))
            for _ in range(compilers):
                writable = [self.scratch.name, str(cache)] if self.scratch is not None else None
                environment, forked = triton_environment(cache), writable is None
                child = Child(COMPILER, env=environment, writable=writable, forked=forked, nice=COMPILER_NICE)
                self._waiting[COMPILER].append(child)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(
        cls, device: str, shut_in: bool = False, compilers: int | None = None, torch_compile: bool = False
    ) -> Prestart:
        """The processes for a run on `device`: none unless `device` is a single GPU and this machine has one.
        `shut_in`: whether the run may compile edited code. `compilers`: the run's at most, if it shares the machine.
        `torch_compile`: whether its baselines will be compiled by PyTorch."""
        from tools.harness.measuring.telemetry import gpus_present

        kind, _, which = device.partition(":")
        single = kind == "auto" or (kind == "cuda" and (which or "0").isdecimal())
        if single and gpus_present():
            most = len(os.sched_getaffinity(0)) if compilers is None else compilers
            baselines = COMPILING_WORKER if torch_compile and has_spare_cores() else None
            found = cls(default_cache(), min(COMPILERS, most), shut_in=shut_in, baselines=baselines)
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

    def take_worker(self, factory: str, baselines: bool) -> Child | None:
        """A live worker that `factory` makes, for baselines one that begins with their imports, if there is one."""
        found = self.take(COMPILING_WORKER) if baselines and factory == WORKER else None
        return found or self.take(factory)

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
