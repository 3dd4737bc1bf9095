"""What the GPU's tests have ready before they ask: device workers with their imports done, and compiled code.

Each device has processes of its own as before, because what a cheat or a fault does to one must not reach the next
test; only their start, seconds of imports, is over. Code is compiled on all cores before a test launches it.
"""

from __future__ import annotations

import copy
from collections import deque
from pathlib import Path

from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.devices.live import LiveDevice
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
