"""Compiles for launches whose search has not begun, on all cores: a survey and a run would compile one config after the
other.

What is needed first of each launch comes before what is needed later of any: a launch with few configs that compile
fast is searched while those of another, which may take half a minute each, go on.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from concurrent.futures import CancelledError, Future
from functools import partial

from agent.programs.improvement.improve_plan import Job
from kernels.hardware import Hardware
from kernels.spec import Config
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
        self._queue: list[tuple[int, int, Job, Config, Future[CompileResult]]] = []
        """A heap: how many of the launch's configs come before, and a number that keeps the order of what is equal."""
        self._numbers = itertools.count()
        self._running, self._starting = 0, False
        self._lock = threading.RLock()

    def begin(self, job: Job) -> list[Future[CompileResult]]:
        """Begin with the owner's config, those of its autotuner, whose choice is made anew, and behind them what the
        search will look at first. The former are returned, the owner's first."""
        kernel = job.kernel
        needed = dict.fromkeys([kernel.owner_config(), *kernel.tuner_configs()])
        with self._lock:
            begun = self._begun.setdefault(job.launch.digest, {})
            if not begun and self._hardware is not None:
                later = kernel.promising(kernel.default_problem(), self._hardware)[:FIRST_LOOK]
                for place, config in enumerate(dict.fromkeys([*needed, *later])):
                    future: Future[CompileResult] = Future()
                    begun[config.key()] = future
                    heapq.heappush(self._queue, (place, next(self._numbers), job, config, future))
                self._start(self._hardware)
        return [begun[config.key()] for config in needed if config.key() in begun]

    def begun(self, job: Job) -> Begun:
        """What was begun of a launch. What has not been started yet can be cancelled."""
        return self._begun[job.launch.digest]

    def same_code(self, job: Job, values: dict[str, object]) -> bool:
        """Whether a config of the owner's code compiles to the machine code of the owner's config."""
        own = self._begun.get(job.launch.digest, {}).get(job.kernel.owner_config().key())
        if own is None or self._pool is None:
            return False
        config = job.kernel.config_type.model_validate(values)
        code = self._pool.submit(job.kernel, job.kernel.default_problem(), config).result().fingerprint
        return code is not None and code == own.result().fingerprint

    def close(self) -> None:
        with self._lock:
            waiting, self._queue = self._queue, []
        for *_, future in waiting:
            future.cancel()
        if self._pool is not None:
            self._pool.close()

    def _start(self, hardware: Hardware) -> None:
        """Start as many as there are compilers for."""
        with self._lock:
            if self._starting:  # what ends at once comes back here
                return
            pool = self._pool = self._pool or LocalCompilePool(hardware, nice=LAST)
            self._starting = True
            try:
                while self._queue and self._running < pool.workers:
                    *_, job, config, future = heapq.heappop(self._queue)
                    if future.set_running_or_notify_cancel():
                        self._running += 1
                        inner = pool.submit(job.kernel, job.kernel.default_problem(), config)
                        inner.add_done_callback(partial(self._ended, future, hardware))
            finally:
                self._starting = False

    def _ended(self, future: Future[CompileResult], hardware: Hardware, inner: Future[CompileResult]) -> None:
        try:
            error = inner.exception()
        except CancelledError as e:
            error = e
        if error is None:
            future.set_result(inner.result())
        else:
            future.set_exception(error)
        with self._lock:
            self._running -= 1
            if self._queue:
                self._start(hardware)
