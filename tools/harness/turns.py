"""Turns on a GPU between processes that know nothing of each other: a lock on a file, which the system releases when
its holder dies. So PyTorch's compiler works on the CPU beside a measurement, and autotunes on the GPU between two.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

AUTOTUNERS = (
    ("torch._inductor.select_algorithm", "AlgorithmSelectorCache", "benchmark_in_current_process"),
    ("torch._inductor.runtime.triton_heuristics", "CachingAutotuner", "benchmark_all_configs"),
)
"""Where Inductor times candidates on the GPU: matmul templates, and generated kernels (seen in torch 2.11 to 2.13)."""


class Turns:
    """``with turns:`` waits for the GPU; within it further ``with turns:`` of this process pass. Without a path every
    turn is granted."""

    def __init__(self, path: str | None) -> None:
        self._file = None if path is None else Path(path).open("a")  # noqa: SIM115 -- as long as the process
        self._mine = threading.RLock()
        self._depth = 0

    def __enter__(self) -> Self:
        self._mine.acquire()
        self._depth += 1
        if self._file is not None and self._depth == 1:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._file is not None and self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._mine.release()

    @property
    def shared(self) -> bool:
        """Whether others may have the GPU meanwhile."""
        return self._file is not None

    @contextmanager
    def for_autotuning(self) -> Iterator[None]:
        """Within this, Inductor takes a turn for each of its timings; where this torch has other autotuners, one turn
        lasts for all of it."""
        found = [(getattr(importlib.import_module(module), owner, None), name) for module, owner, name in AUTOTUNERS]
        if any(inspect.getattr_static(owner, name, None) is None for owner, name in found):
            with self:
                yield
            return
        kept = [(owner, name, inspect.getattr_static(owner, name)) for owner, name in found]
        try:
            for owner, name, way in kept:
                setattr(owner, name, self._taking_turns(way))
            yield
        finally:
            for owner, name, way in kept:
                setattr(owner, name, way)

    def _taking_turns(self, way: Any) -> Any:
        """`way`, a function or class method, within a turn."""
        function: Callable[..., Any] = way.__func__ if isinstance(way, classmethod) else way

        @functools.wraps(function)
        def waiting(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return classmethod(waiting) if isinstance(way, classmethod) else waiting
