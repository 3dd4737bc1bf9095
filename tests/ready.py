"""What the GPU's tests have ready before they ask: device workers with their imports done, and compiled code.

Each device has processes of its own as before, because what a cheat or a fault does to one must not reach the next
test; only their start, seconds of imports, is over. Code is compiled on all cores before a test launches it. Kernels
that do no harm are checked one after another in one process (:class:`SharedWorker`).
"""

from __future__ import annotations

import copy
from collections import deque
from pathlib import Path
from typing import Any

from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.devices.live import LiveDevice
from tools.harness.process.gpu_workers import GpuWorkers
from tools.harness.process.identity import describe
from tools.harness.process.prestart import WORKER, Prestart

PAIRS = 4
"""Pairs of workers that wait: imports take some 5 s, a device in an exploit's test lives for 2 to 6."""


class ReadyWorkers:
    """Pairs of device workers, for candidates and baselines, that are started ahead of the devices that use them."""

    def __init__(self, cache: Path, factory: str = WORKER, pairs: int = PAIRS) -> None:
        self.cache, self.factory = cache, factory
        self.waiting = deque(Prestart(cache, 0, factory) for _ in range(pairs))

    def open(self, spec, problem, spares: int = 0) -> LiveDevice:
        """A device with the pair that has waited longest, and `spares` workers that stand by for lost ones."""
        pair = self.waiting.popleft()
        self.waiting.append(Prestart(self.cache, 0, self.factory))
        with pair:
            device = LiveDevice.open("cuda:0", spec, problem, self.cache, self.factory, prestart=pair)
        device.workers.spares = spares
        return device

    def close(self) -> None:
        while self.waiting:
            self.waiting.pop().close()


class SharedWorker:
    """One candidates' worker that checks kernel after kernel. A launch that ends it costs the next kernel a new one."""

    def __init__(self, cache: Path, factory: str = "tests.ready:kernels_in_turn") -> None:
        """`factory` makes a serve function that takes the kernel with each job, under ``described``."""
        self._cache, self._factory = cache, factory
        self._first: LiveDevice | None = None

    def open(self, spec, problem) -> LiveDevice:
        """A device of this worker. It need not be closed, and it can check and stress configs alone."""
        if self._first is None:
            self._first = LiveDevice.open("cuda:0", spec, problem, self._cache, self._factory)
            self._first.workers.deadline_s = SHARED_DEADLINE_S
        workers: Any = _OneKernel(self._first.workers, describe(spec, problem))
        return LiveDevice(spec, problem, self._first.info, workers)

    def close(self) -> None:
        if self._first is not None:
            self._first.close()


SHARED_DEADLINE_S = 120.0
"""Of a job that compiles what it launches while other processes do the same."""


class _OneKernel:
    """The workers' jobs for one kernel."""

    def __init__(self, workers: GpuWorkers, described: dict[str, Any]) -> None:
        self._workers, self._described, self.cache = workers, described, workers.cache

    def run(self, role, job):
        return self._workers.run(role, {**job, "described": self._described})


def kernels_in_turn(init: dict[str, Any]) -> Any:
    """In the child: serve a device worker's jobs, each with the kernel of its own."""
    from tools.harness.measuring.worker import Worker

    worker, now = Worker(init), None

    def serve(job: dict[str, Any]) -> dict[str, Any]:
        nonlocal worker, now
        described = job.pop("described", now)
        if described != now:
            worker, now = Worker({**init, **described}), described
        return worker.serve(job)

    return serve


class CompiledAhead:
    """Configs of one kernel, all of which begin to be compiled at once."""

    def __init__(self, pool: LocalCompilePool, spec, cases) -> None:
        """`cases`: pairs of problem and config."""
        unlimited = copy.copy(spec)
        unlimited.constraint = lambda problem, config, hardware: None  # tests launch what is no sensible choice, too
        self.begun = {self.key(*case): pool.submit(unlimited, *case) for case in cases}

    def wait(self, problem, config):
        """Until the code of this case is in the cache: what the compiler said. KeyError for one that was not begun."""
        return self.begun[self.key(problem, config)].result()

    @staticmethod
    def key(problem, config) -> tuple[str, str]:
        return problem.model_dump_json(), config.model_dump_json()
