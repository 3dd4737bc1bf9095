"""Compiles many configs at once in killable processes of this machine; needs no GPU."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from kernels.hardware import Hardware
from kernels.hardware.gpu_facts import to_json
from kernels.spec import Config, KernelSpec, Problem
from tools.harness.compiling.cache import default_cache, triton_environment
from tools.harness.compiling.compile_turns import NoTurn, Turns
from tools.harness.device import NO_LIMIT, CompileLimit, MachineTrouble
from tools.harness.process.child import START_DEADLINE_S, Child, ChildDied, ChildKilled, ChildTimeout, ChildUnborn
from tools.harness.process.identity import describe
from tools.harness.process.prestart import COMPILER, COMPILER_NICE, Prestart
from tools.harness.process.refusal import Refusal
from tools.harness.results import CompileResult

DEADLINE_S = 60.0
"""A compilation takes 0.3-3 s; one that needs a minute never comes back with something fast."""
Begin = Callable[[], float]
"""Called when a process is ready for a config: the seconds that it has. May raise NoTurn."""
PROBE_BYTES = 1 << 16
"""Written to find out whether a disk has room; a compiled kernel is about this large."""


class LocalCompilePool:
    """Implements :class:`tools.harness.device.CompilePool` with `workers` compile children, by default as many as
    `prestart` allows, else one per core.

    The processes of `prestart` are used first; others are started when they are needed."""

    parallel = True

    def __init__(
        self,
        hardware: Hardware,
        workers: int | None = None,
        cache: Path | None = None,
        deadline_s: float = DEADLINE_S,
        prestart: Prestart | None = None,
        shut_in: bool = False,
        nice: int = COMPILER_NICE,
    ) -> None:
        """`hardware` is the GPU model to compile for, `cache` Triton's cache directory (the project's own by default),
        `deadline_s` the seconds after which a compilation is killed. With `shut_in` the children have no network, and
        write to the cache and a folder of their own alone. Those of `prestart` are used if they are of that kind.
        `nice` is the added niceness of the others.

        Raises MachineTrouble if the cache cannot be written."""
        self.hardware = hardware
        self.cache = cache or default_cache()
        require_writable(self.cache)
        self.deadline_s = deadline_s
        allowed = prestart.most_compilers if prestart is not None else None
        self.workers = workers or allowed or len(os.sched_getaffinity(0))
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._all: list[Child] = []
        self._starting, self._closed = threading.Lock(), False
        self._nice = nice
        self._init = {"hardware": to_json(hardware), "cache": str(self.cache)}
        fitting = prestart if prestart is not None and (prestart.scratch is not None) == shut_in else None
        self._scratch = fitting.take_scratch() if fitting is not None else None
        if shut_in and self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="autokernel-")
        while fitting is not None and (child := fitting.take(COMPILER)) is not None:
            child.begin(self._init)
            self._all.append(child)
            self._idle.put(child)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="compile")

    def compile(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Sequence[Config], limit: CompileLimit = NO_LIMIT
    ) -> list[CompileResult]:
        """Compile all; answers in the order of `configs`. `limit` is that of the batch: one that is larger than the
        pool would take a multiple of it. What is not waited for goes on until the limit that it was begun with. Raises
        MachineTrouble."""
        turns = Turns(limit, self.deadline_s)

        def in_turn(config: Config) -> CompileResult:
            turn = turns.turn()
            try:
                turn.require_time()
                found = self._compile(spec, problem, config, turn.begin)
                return turn.not_judged(config) if found.status == "timeout" and turn.was_short() else found
            except NoTurn:
                return turn.not_judged(config)

        return turns.wait({c: self._threads.submit(in_turn, c) for c in dict.fromkeys(configs)}, configs)

    def compile_iter(
        self, spec: KernelSpec[Any, Any], problem: Problem, configs: Iterable[Config]
    ) -> Iterator[tuple[Config, CompileResult]]:
        """Compile all; answers as they come. Raises MachineTrouble."""
        futures = {self.submit(spec, problem, c): c for c in configs}
        for done in as_completed(futures):
            yield futures[done], done.result()

    def submit(self, spec: KernelSpec[Any, Any], problem: Problem, config: Config) -> Future[CompileResult]:
        """Start one compilation."""
        return self._threads.submit(self._compile, spec, problem, config, lambda: self.deadline_s)

    def keep(self, spec: KernelSpec[Any, Any], problem: Problem, config: Config, folder: Path) -> CompileResult:
        """Compile one config, and write its code into `folder` (``kept_code.py`` says what) if it compiles."""
        return self._compile(spec, problem, config, lambda: self.deadline_s, {"keep": str(folder)})

    def _compile(
        self,
        spec: KernelSpec[Any, Any],
        problem: Problem,
        config: Config,
        begin: Begin,
        more: dict[str, Any] | None = None,
    ) -> CompileResult:
        values = config.model_dump(mode="json")
        broken = spec.constraint(problem, config, self.hardware)
        if broken is not None:
            return CompileResult(config=values, status="constraints", reason=broken)
        job = {**describe(spec, problem), "config": values, **(more or {})}
        try:
            try:
                answer = self._call(job, begin)
            except ChildKilled:  # from outside (the system was out of memory, say): not the config's doing
                if self._closed:
                    raise
                answer = self._call(job, begin)
        except ChildTimeout as e:
            return CompileResult(config=values, status="timeout", reason=f"compilation took over {e.deadline_s:.3g} s")
        except ChildKilled as e:
            why = f"the compiler was {'closed' if self._closed else 'killed twice'}: {e}"
            return CompileResult(config=values, status="infrastructure", reason=why)
        except (ChildUnborn, Refusal) as e:
            raise MachineTrouble(str(e)) from e
        except ChildDied as e:
            return CompileResult(config=values, status="compile", reason=f"the compiler crashed: {e}")
        if "trouble" in answer:
            raise MachineTrouble(answer["trouble"])
        return CompileResult(config=values, **answer)

    def _call(self, job: dict[str, Any], begin: Begin) -> dict[str, Any]:
        child = self._take()
        try:
            load_kernel(child, job)
            return child.call(job, begin())
        finally:
            if child.alive:
                self._idle.put(child)

    def _take(self) -> Child:
        try:
            child = self._idle.get_nowait()
            if child.alive:
                return child
        except queue.Empty:
            pass
        writable = [self._scratch.name, str(self.cache)] if self._scratch else None
        environment, forked = triton_environment(self.cache), writable is None
        with self._starting:
            if self._closed:
                raise ChildKilled("the pool is closed")
            child = Child(COMPILER, self._init, environment, writable, forked=forked, nice=self._nice)
            self._all.append(child)
        return child

    def close(self) -> None:
        """End all processes, from any thread; a compilation under way is ``infrastructure``."""
        with self._starting:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for child in self._all:
            child.kill()
        if self._scratch is not None:
            self._scratch.cleanup()


def load_kernel(child: Child, job: dict[str, Any]) -> None:
    """Have `child` import the kernel of a compile job, once: that is no config's time. Raises as ``Child.call`` does,
    but for ChildTimeout."""
    kernel = job["kernel"]
    if kernel in child.loaded:
        return
    about = {name: value for name, value in job.items() if name not in ("config", "keep")}
    try:
        child.call({**about, "op": "load"}, START_DEADLINE_S)
    except ChildTimeout as e:
        raise ChildUnborn(f"a compiler cannot import {kernel}: no sign of it in {START_DEADLINE_S:g} s") from e
    child.loaded.add(kernel)


def require_writable(cache: Path) -> None:
    """Make the cache's folder and write a file into it. Raises MachineTrouble if that is impossible."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache) as probe:
            probe.write(b"\0" * PROBE_BYTES)
    except OSError as e:
        raise MachineTrouble(
            f"the compile cache {cache} cannot be written ({e.strerror or e}): "
            "make room there, or set XDG_CACHE_HOME to a folder that can be written"
        ) from e
