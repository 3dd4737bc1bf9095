"""Watches what an interpreted kernel reads and writes: which elements were stored by one program, which by several, and
that nothing outside the arguments is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from triton.runtime.interpreter import InterpreterBuilder

from kernels.triton.interpreter_float64 import NotPromotable

Array = np.ndarray[Any, Any]


class WatchedMemory:
    """The storages of a launch's tensors. `tensors`: by path, as ``rebuild_arguments`` made them."""

    def __init__(self, launch: Any, tensors: Mapping[str, torch.Tensor]) -> None:
        from kernels.capture.reading.captured_launches import tensors_of

        described = {}
        for name, argument in launch.arguments.items():
            paths = [p for p in tensors if p == name or p.startswith(f"{name}.")]
            described.update(dict(zip(paths, tensors_of(argument), strict=True)))
        self._places: list[tuple[int, int, int, torch.Tensor]] = []
        """(start, end, storage's number, its elements), by address."""
        seen = set()
        for path, tensor in tensors.items():
            start = tensor.data_ptr() - described[path]["offset"] * tensor.element_size()
            number = described[path]["storage"]
            if number not in seen:
                seen.add(number)
                elements = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                # An argument that was not aligned lies a few bytes into its storage.
                base = tensor.untyped_storage().data_ptr()
                end = base + tensor.untyped_storage().nbytes()
                self._places.append((start, end, number, elements[(start - base) // tensor.element_size() :]))
        self._places.sort(key=lambda p: p[0])
        self._starts = np.array([p[0] for p in self._places], dtype=np.uint64)
        self._ends = np.array([p[1] for p in self._places], dtype=np.uint64)
        self._stores: list[Array] = []
        self._this_program: list[Array] = []
        self._atomics: list[Array] = []

    @property
    def atomic(self) -> bool:
        return bool(self._atomics)

    def next_program(self) -> None:
        if self._this_program:
            self._stores.append(np.unique(np.concatenate(self._this_program)))
            self._this_program = []

    def stored(self, whole: bool) -> dict[int, tuple[Array, Array]]:
        """Storage → (elements, values) of what is final: stored by one program alone, or, with `whole` (every program
        ran), added to by atomics."""
        self.next_program()
        empty = np.array([], dtype=np.uint64)
        addresses, times = np.unique(np.concatenate([empty, *self._stores]), return_counts=True)
        atomics = np.unique(np.concatenate([empty, *self._atomics]))
        final = addresses[times == 1]
        final = np.union1d(final, atomics) if whole else np.setdiff1d(final, atomics)
        found = {}
        for start, end, number, elements in self._places:
            inside = final[(final >= start) & (final < end)]
            if inside.size:
                at = ((inside - start) // elements.element_size()).astype(np.int64)
                found[number] = (at, elements[torch.from_numpy(at)].to(torch.float64).numpy())
        return found

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the interpreter's accesses inside the block."""
        builder: Any = InterpreterBuilder
        load, store = builder.create_masked_load, builder.create_masked_store
        add, swap = builder.create_atomic_rmw, builder.create_atomic_cas

        def create_masked_load(self_: Any, pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
            self._check("reads", pointers.data, mask.data)
            return load(self_, pointers, mask, *rest, **named)

        def create_masked_store(self_: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
            self._this_program.append(self._check("writes", pointers.data, mask.data))
            return store(self_, pointers, value, mask, *rest, **named)

        def create_atomic_rmw(self_: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            self._atomics.append(self._check("writes", pointers.data, mask.data))
            return add(self_, operation, pointers, value, mask, *rest)

        def create_atomic_cas(self_: Any, pointers: Any, *rest: Any) -> Any:
            raise NotPromotable("its programs wait for one another (an atomic compare-and-swap)")

        builder.create_masked_load, builder.create_masked_store = create_masked_load, create_masked_store
        builder.create_atomic_rmw, builder.create_atomic_cas = create_atomic_rmw, create_atomic_cas
        try:
            yield
        finally:
            builder.create_masked_load, builder.create_masked_store = load, store
            builder.create_atomic_rmw, builder.create_atomic_cas = add, swap

    def _check(self, what: str, pointers: Array, mask: Array) -> Array:
        """Addresses that are accessed. Raises NotPromotable if one lies outside the arguments' memory."""
        pointers, mask = np.broadcast_arrays(pointers, mask)
        at: Array = pointers[mask].reshape(-1).astype(np.uint64)
        if at.size == 0:
            return at
        place = np.searchsorted(self._starts, at, side="right").astype(np.int64) - 1
        if (place < 0).any() or (at >= self._ends[place]).any():
            raise NotPromotable(f"it {what} outside the memory of its arguments, as they could be made anew")
        return at
