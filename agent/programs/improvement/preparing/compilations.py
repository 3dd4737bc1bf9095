"""Compiles for launches whose search has not begun, on all cores: a survey and a run would compile one config after the
other."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from agent.programs.improvement.improve_plan import Job
from kernels.hardware import Hardware
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.results import CompileResult

FIRST_LOOK = 12
"""Configs that a search proposes first (``suggest_configs``)."""
LAST = 19
"""Niceness of these compilers: a run's own go first."""

Begun = dict[str, Future[CompileResult]]
"""Compilations by the config's key."""


class Compilations:
    """Those of one capture."""

    def __init__(self, hardware: Hardware | None) -> None:
        """`hardware`: the facts of the GPU; None if nothing is timed, and so nothing compiled."""
        self._hardware = hardware
        self._pool: LocalCompilePool | None = None
        self._begun: dict[str, Begun] = {}
        self._one_at_a_time = threading.Lock()

    def begin(self, job: Job) -> list[Future[CompileResult]]:
        """Begin with the owner's config, those of its autotuner, whose choice is made anew, and behind them what the
        search will look at first. The former are returned, the owner's first."""
        kernel = job.kernel
        needed = dict.fromkeys([kernel.owner_config(), *kernel.tuner_configs()])
        with self._one_at_a_time:
            begun = self._begun.setdefault(job.launch.digest, {})
            if not begun and self._hardware is not None:
                pool = self._pool = self._pool or LocalCompilePool(self._hardware, nice=LAST)
                problem = kernel.default_problem()
                for config in dict.fromkeys([*needed, *kernel.promising(problem, self._hardware)[:FIRST_LOOK]]):
                    begun[config.key()] = pool.submit(kernel, problem, config)
        return [begun[config.key()] for config in needed if config.key() in begun]

    def begun(self, job: Job) -> Begun:
        """What was begun of a launch."""
        return self._begun[job.launch.digest]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
