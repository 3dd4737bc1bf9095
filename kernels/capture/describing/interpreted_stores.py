"""Which arguments an interpreted kernel writes to, seen at the stores and atomics of Triton's interpreter.

Checksums do not show a store of what was there before: an output in memory that the allocator handed out again, a
factor of 1, zeros into zeros.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from .values import extent
from .writes import ANY

WRITERS = {
    "create_masked_store": ("store", 0, 2),
    "create_atomic_rmw": ("atomic", 1, 3),
    "create_atomic_cas": ("atomic", 0, None),
}
"""Methods of the interpreter's builder by which every store ends: how they write, and at which places they take the
pointers and the mask, if they take one."""


class _Watching(threading.local):
    stores: InterpretedStores | None = None


_WATCHING = _Watching()


class InterpretedStores:
    """What the launches inside :meth:`watch` write. `tensors`: (path, tensor) of each on the CPU."""

    def __init__(self, tensors: list[tuple[str, Any]]) -> None:
        self.found: dict[str, set[str]] = {}
        """Argument → how it is written."""
        self._extents: list[tuple[int, int, str]] = []
        self._storages: dict[tuple[int, int], list[str]] = {}
        for path, t in tensors:
            storage, name = t.untyped_storage(), path.partition(".")[0]
            start = storage.data_ptr()
            first, last = extent(t)
            self._extents.append((start + first, start + last, name))
            self._storages.setdefault((start, start + storage.nbytes()), []).append(name)

    @contextmanager
    def watch(self) -> Iterator[None]:
        before, _WATCHING.stores = _WATCHING.stores, self
        try:
            yield
        finally:
            _WATCHING.stores = before

    def add(self, how: str, addresses: Any) -> None:
        """Count the addresses of one store, an array. What lies behind a tensor is a write to all tensors of that
        memory, because a kernel may be given the start of a tensor."""
        if addresses.size == 0:
            return
        names = [name for first, last, name in self._extents if _reaches(addresses, first, last)]
        left = addresses
        for (start, end), those in self._storages.items():
            if _reaches(left, start, end):
                names += [] if set(names) & set(those) else those
                left = left[(left < start) | (left >= end)]
                if left.size == 0:
                    break
        for name in [*names, ANY] if left.size else names:
            self.found.setdefault(name, set()).add(how)


def _reaches(addresses: Any, start: int, end: int) -> bool:
    return bool(((addresses >= start) & (addresses < end)).any())


def patch_interpreter(module: ModuleType, replace: Callable[[Any, str, Callable[[Any], Any]], None]) -> None:
    """Have the interpreter report its stores. `replace`: ``ModulePatcher.replace``."""
    for name, about in WRITERS.items():
        replace(module.InterpreterBuilder, name, functools.partial(_reporting, *about))


def _reporting(how: str, pointers_at: int, mask_at: int | None, write: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(write)
    def reporting(builder: Any, *args: Any, **kwargs: Any) -> Any:
        stores = _WATCHING.stores
        if stores is not None:
            addresses = args[pointers_at].data
            stores.add(how, addresses[args[mask_at].data] if mask_at is not None else addresses)
        return write(builder, *args, **kwargs)

    return reporting
