"""A lock on a GPU between processes that do not know each other.

The lock is a file that is locked with flock(2), which the system releases when its holder dies. A torch.compile in
another process works on the CPU while a measurement holds the lock, and autotunes on the GPU between two measurements.

A wait without a deadline is left to the kernel: it costs no CPU time beside a measurement, and a waiter is woken when
the holder releases, even if the holder takes the lock again at once. A library that polls (filelock) keeps neither: in
a loop of measurements of 10 ms, a poller every 1 ms waited up to 490 ms for its turn and used 25 times the CPU time,
and every 50 ms up to 4.3 s, against 25 ms here.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import inspect
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self

from tools.harness.device import DeviceError

COMPILER = (
    "torch._dynamo.convert_frame:CatchErrorsWrapper.__call__",
    "torch._inductor.compile_fx:_InProcessFxCompile.codegen_and_compile",
    "torch._inductor.runtime.triton_heuristics:CachingAutotuner.coordinate_descent_tuning",
)
"""All of a compilation by torch.compile, and no launch of what was compiled. The second: of a backward pass, which
begins when the pass is first run, in autograd's thread of the GPU. The third: at a kernel's first launch, of some
twenty neighbours of its config, one by one; each is timed by AUTOTUNERS."""
AUTOTUNERS = (
    "torch._inductor.select_algorithm:AlgorithmSelectorCache.benchmark_choice|benchmark_in_current_process",
    "torch._inductor.codegen.triton:TritonScheduling.benchmark_codegened_module",
    "torch._inductor.fx_passes.pad_mm:_should_pad|_should_pad_bench",
    "torch._inductor.runtime.triton_heuristics:CachingAutotuner.benchmark_all_configs",
    "torch._inductor.runtime.benchmarking:Benchmarker.benchmark",
    "torch._inductor.runtime.benchmarking:TritonBenchmarker.benchmark_gpu",
    "torch._inductor.runtime.benchmarking:InductorBenchmarker.benchmark_gpu",
)
"""Where Inductor uses the GPU during it: templates of matmul timed, one by one, since some forty of a large product
take a minute; their fusion with what follows, padding, generated kernels; last the functions by which all of them time
(torch 2.13; after ``|`` the name in an older one)."""
VARIABLE = "AUTOKERNEL_GPU_LOCK"
"""Names the lock file that the live devices of this process use. Processes that share one GPU name the same."""
_COMPILING, _TIMING = "compiling", "timing"
POLL_S = 0.001
"""Interval at which a wait with a deadline tries the lock: flock(2) has no timeout."""


class GpuLock:
    """``with lock:`` waits for the GPU. The lock is reentrant within a thread and keeps threads of one process apart
    too. Without a path it does only that."""

    def __init__(self, path: str | None) -> None:
        """Raises OSError if the file at `path` cannot be opened."""
        self._file = None if path is None else Path(path).open("a")  # noqa: SIM115 -- as long as the process
        self._threads = threading.RLock()
        self._depth = 0

    def acquire(self, patience_s: float | None = None) -> bool:
        """Take the lock, which :meth:`release` gives back. False if it was not free within `patience_s` seconds;
        ``None`` waits without limit."""
        until = None if patience_s is None else time.monotonic() + patience_s
        if not self._threads.acquire(timeout=-1 if patience_s is None else patience_s):
            return False
        try:
            taken = self._depth > 0 or self._lock_file(until)
        except BaseException:
            self._threads.release()
            raise
        if taken:
            self._depth += 1
        else:
            self._threads.release()
        return taken

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._unlock_file()
        self._threads.release()

    def _unlock_file(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock_file(self, until: float | None) -> bool:
        """Lock the file before `until` (``time.monotonic()``); ``None`` waits without limit."""
        if self._file is None:
            return True
        if until is None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            return True
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                time.sleep(POLL_S)
            else:
                return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    @contextmanager
    def released_while_compiling(self, synchronize: Callable[[], object]) -> Iterator[None]:
        """Hold the lock, but release it while torch.compile compiles, except when its autotuners use the GPU, in
        whatever thread of this process they do. `synchronize` waits for what this process has launched, before others
        get the lock. If this torch has autotuners that are not listed here, the lock is held throughout: correct, and
        slow for the others."""

        def give() -> None:
            synchronize()
            self._unlock_file()

        turn = _Turn(lambda: self._lock_file(None), give)
        wrappers: list[tuple[tuple[Any, str], Callable[[], AbstractContextManager[object]]]]
        wrappers = [(_resolve(name), lambda: turn.during(_COMPILING)) for name in COMPILER]
        wrappers += [(_resolve(name), lambda: turn.during(_TIMING)) for name in AUTOTUNERS]
        if not can_release_while_compiling():
            wrappers = []
        originals = [(owner, name, inspect.getattr_static(owner, name)) for (owner, name), _ in wrappers]
        with self:
            try:
                for (owner, name), context in wrappers:
                    setattr(owner, name, _wrap(inspect.getattr_static(owner, name), context))
                yield
            finally:
                for owner, name, original in originals:
                    setattr(owner, name, original)


class _Turn:
    """Held at first, and from then on while a thread times something or none compiles.

    Threads are counted together: the one that prepares a baseline waits for autograd's, which compiles the backward
    pass, so that a lock by thread would never come free. Of one thread what it began last counts: Inductor times a
    module whose kernels it compiles meanwhile, and for a reduction of two outputs that takes a minute."""

    def __init__(self, take: Callable[[], object], give: Callable[[], object]) -> None:
        self._take, self._give = take, give
        self._counting = threading.Lock()
        self._doing = {_COMPILING: 0, _TIMING: 0}
        self._mine = threading.local()
        self._held = True

    @contextmanager
    def during(self, doing: str) -> Iterator[None]:
        """Count this thread as one that does `doing` and nothing else."""
        before = getattr(self._mine, "doing", None)
        self._count(before, doing)
        try:
            yield
        finally:
            self._count(doing, before)

    def _count(self, before: str | None, now: str | None) -> None:
        self._mine.doing = now
        with self._counting:
            if before:
                self._doing[before] -= 1
            if now:
                self._doing[now] += 1
            hold = self._doing[_TIMING] > 0 or self._doing[_COMPILING] == 0
            if hold != self._held:
                (self._take if hold else self._give)()
                self._held = hold


def named_lock() -> Path | None:
    """The lock file that the environment names, if it names one. Raises DeviceError if it cannot be opened."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    try:
        GpuLock(path).close()
    except OSError as e:
        raise DeviceError(f"{VARIABLE} names {path}, which cannot be opened ({e.strerror}): name another file") from e
    return Path(path)


def can_release_while_compiling() -> bool:
    """Whether this torch's compiler and all its autotuners are known."""
    return all(_resolve(name)[0] is not None for name in (*COMPILER, *AUTOTUNERS))


def _resolve(name: str) -> tuple[Any, str]:
    """(owner, attribute) of ``module:function`` or ``module:Class.method``. Of several names, separated by ``|``, the
    first that exists; the owner is ``None`` if none does."""
    module, _, path = name.partition(":")
    holder, _, attributes = path.rpartition(".")
    try:
        owner: Any = importlib.import_module(module)
    except ImportError:
        return None, attributes
    owner = getattr(owner, holder, None) if holder else owner
    there = [a for a in attributes.split("|") if owner and inspect.getattr_static(owner, a, None) is not None]
    return (owner, there[0]) if there else (None, attributes)


def _wrap(original: Any, context: Callable[[], Any]) -> Any:
    """`original`, a function or class method, called inside the context that `context` makes."""
    function: Callable[..., Any] = original.__func__ if isinstance(original, classmethod) else original

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with context():
            return function(*args, **kwargs)

    return classmethod(wrapper) if isinstance(original, classmethod) else wrapper
