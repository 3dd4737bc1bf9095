"""Turns on a GPU between processes that know nothing of each other: a lock on a file, which the system releases when
its holder dies. So PyTorch's compiler works on the CPU beside a measurement, and autotunes on the GPU between two.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

COMPILER = ("torch._dynamo.convert_frame:CatchErrorsWrapper.__call__",)
"""All of a compilation by torch.compile, and no launch of what was compiled."""
AUTOTUNERS = (
    "torch._inductor.select_algorithm:AlgorithmSelectorCache.benchmark_in_current_process",
    "torch._inductor.codegen.triton:TritonScheduling.benchmark_codegened_module",
    "torch._inductor.fx_passes.pad_mm:_should_pad|_should_pad_bench",
    "torch._inductor.runtime.triton_heuristics:CachingAutotuner.benchmark_all_configs",
    "torch._inductor.runtime.benchmarking:Benchmarker.benchmark",
    "torch._inductor.runtime.benchmarking:TritonBenchmarker.benchmark_gpu",
    "torch._inductor.runtime.benchmarking:InductorBenchmarker.benchmark_gpu",
)
"""Where Inductor uses the GPU during it: templates of matmul timed, their fusion with what follows, padding, generated
kernels; last the functions by which all of them time (torch 2.13; after ``|`` the name in an older one)."""
LOOK_S = 0.001
"""Between two looks at a lock that is waited for with limited patience."""


class Turns:
    """``with turns:`` waits for the GPU; within it further ``with turns:`` of this thread pass. Without a path it only
    keeps the threads of this process apart."""

    def __init__(self, path: str | None) -> None:
        self._file = None if path is None else Path(path).open("a")  # noqa: SIM115 -- as long as the process
        self._mine = threading.RLock()
        self._depth = 0

    def take(self, patience_s: float | None = None) -> bool:
        """Begin a turn, which :meth:`give` ends; not where the GPU stays taken for longer than `patience_s`."""
        until = None if patience_s is None else time.monotonic() + patience_s
        if not self._mine.acquire(timeout=-1 if patience_s is None else patience_s):
            return False
        try:
            taken = self._depth > 0 or self._lock(until)
        except BaseException:
            self._mine.release()
            raise
        if taken:
            self._depth += 1
        else:
            self._mine.release()
        return taken

    def give(self) -> None:
        self._depth -= 1
        if self._file is not None and self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._mine.release()

    def _lock(self, until: float | None) -> bool:
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
                time.sleep(LOOK_S)
            else:
                return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *error: object) -> None:
        self.give()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Within this, others may have the GPU, which this thread held."""
        depth = self._depth
        for _ in range(depth):
            self.give()
        try:
            yield
        finally:
            for _ in range(depth):
                self.take()

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """A turn during which others have the GPU while torch.compile compiles, except for what it times there itself.
        With a torch that has other autotuners it is a turn like any other: right, and slow for those who wait."""
        compiler, autotuners = [_found(name) for name in COMPILER], [_found(name) for name in AUTOTUNERS]
        ways = [(place, self._giving_up) for place in compiler] + [(place, self._taking_turns) for place in autotuners]
        if not gives_way():
            ways = []
        kept = [(owner, name, inspect.getattr_static(owner, name)) for (owner, name), _ in ways]
        with self:
            try:
                for (owner, name), changed in ways:
                    setattr(owner, name, changed(inspect.getattr_static(owner, name)))
                yield
            finally:
                for owner, name, way in kept:
                    setattr(owner, name, way)

    def _taking_turns(self, way: Any) -> Any:
        return _within(way, lambda: self)

    def _giving_up(self, way: Any) -> Any:
        return _within(way, self.given_up)


def gives_way() -> bool:
    """Whether this torch's compiler and all its autotuners are known."""
    return all(_found(name)[0] is not None for name in (*COMPILER, *AUTOTUNERS))


def _found(name: str) -> tuple[Any, str]:
    """(owner, attribute) of ``module:function`` or ``module:Class.method``, the first of several that there is; the
    owner is ``None`` where there is none."""
    module, _, path = name.partition(":")
    holder, _, attributes = path.rpartition(".")
    try:
        owner: Any = importlib.import_module(module)
    except ImportError:
        return None, attributes
    owner = getattr(owner, holder, None) if holder else owner
    there = [a for a in attributes.split("|") if owner and inspect.getattr_static(owner, a, None) is not None]
    return (owner, there[0]) if there else (None, attributes)


def _within(way: Any, context: Callable[[], Any]) -> Any:
    """`way`, a function or class method, within what `context` makes."""
    function: Callable[..., Any] = way.__func__ if isinstance(way, classmethod) else way

    @functools.wraps(function)
    def waiting(*args: Any, **kwargs: Any) -> Any:
        with context():
            return function(*args, **kwargs)

    return classmethod(waiting) if isinstance(way, classmethod) else waiting
