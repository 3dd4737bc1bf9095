"""Programs of an interpreted launch that race. The interpreter runs them one behind the other, a GPU in any order and
many at once.

A launch races if one program loads, or changes by an atomic, what another one stores, or loads what another one changes
by an atomic. Stores of several programs at one place are let pass: kernels store the same number several times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from triton.runtime.interpreter import InterpreterBuilder

Array = np.ndarray[Any, Any]
RACES = (
    "one program loads or changes what another one stores in the same launch, which the owner's code does not do: "
    "nothing orders programs, and on a GPU they run at once"
)


@dataclass
class Accesses:
    """Addresses of elements with the programs of one launch that accessed them."""

    loads: list[Array] = field(default_factory=list)
    stores: list[Array] = field(default_factory=list)
    atomics: list[Array] = field(default_factory=list)

    def race(self) -> bool:
        loads, stores, atomics = (_programs(x) for x in (self.loads, self.stores, self.atomics))
        return any(_meet(a, b) for a, b in ((stores, loads), (stores, atomics), (atomics, loads)))


@contextmanager
def watch_accesses() -> Iterator[list[Accesses]]:
    """Note what the programs of each interpreted launch inside the block access."""
    builder: Any = InterpreterBuilder
    names = {"create_masked_load": "loads", "create_masked_store": "stores", "create_atomic_rmw": "atomics"}
    kept = {name: getattr(builder, name) for name in (*names, "set_grid_dim")}
    found: list[Accesses] = []

    def begin(self: Any, *dimensions: int) -> Any:
        found.append(Accesses())
        return kept["set_grid_dim"](self, *dimensions)

    def noting(name: str, kind: str) -> Any:
        def access(self: Any, *given: Any, **named: Any) -> Any:
            places = given[1:] if name == "create_atomic_rmw" else given
            mask = places[1] if name == "create_masked_load" else places[2]
            pointers, masks = np.broadcast_arrays(places[0].data, mask.data)
            addresses = np.unique(pointers[masks.astype(bool)].reshape(-1).astype(np.uint64))
            x, y, z = self.grid_idx
            program = np.uint64((z << 42) + (y << 21) + x)
            getattr(found[-1], kind).append(np.stack([addresses, np.full_like(addresses, program)]))
            return kept[name](self, *given, **named)

        return access

    builder.set_grid_dim = begin
    for name, kind in names.items():
        setattr(builder, name, noting(name, kind))
    try:
        yield found
    finally:
        for name, function in kept.items():
            setattr(builder, name, function)


def _programs(accesses: list[Array]) -> tuple[Array, Array, Array]:
    """The addresses, in order, and the first and the last program at each."""
    empty = np.zeros((2, 0), dtype=np.uint64)
    addresses, programs = np.concatenate([empty, *accesses], axis=1)
    order = np.lexsort((programs, addresses))
    addresses, programs = addresses[order], programs[order]
    found, first = np.unique(addresses, return_index=True)
    last = np.append(first, len(addresses))[1:] - 1
    return found, programs[first], programs[last]


def _meet(one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]) -> bool:
    """Whether two programs are at one address, each in another list."""
    _, i, j = np.intersect1d(one[0], other[0], assume_unique=True, return_indices=True)
    first, last = np.minimum(one[1][i], other[1][j]), np.maximum(one[2][i], other[2][j])
    return bool((first != last).any())
