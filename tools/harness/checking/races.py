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
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from kernels.capture.describing.interpreted_stores import WRITERS

Array = np.ndarray[Any, Any]
KINDS = {"store": "stores", "atomic": "atomics"}
ACCESSES = {"create_masked_load": ("loads", 0, 1)} | {name: (KINDS[how], *at) for name, (how, *at) in WRITERS.items()}
"""Methods of the interpreter's builder: which list of :class:`Accesses` they fill, and where their pointers and their
mask are, if they have one."""
X_BITS, Y_BITS = 31, 16
"""Of a program's place in the grid: CUDA has 2^31 - 1 programs in x, and 65,535 in y and in z."""
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
    storing: set[int] = field(default_factory=set)
    """Programs that stored something."""
    uses_atomics: bool = False
    """Whether a program used the number that an atomic gave back, which depends on the programs before."""

    @property
    def noted(self) -> int:
        """Elements that were noted, one as often as it was accessed."""
        return sum(a.shape[1] for kind in (self.loads, self.stores, self.atomics) for a in kind)

    def race(self) -> bool:
        loads, stores, atomics = (_programs(x) for x in (self.loads, self.stores, self.atomics))
        return any(_meet(a, b) for a, b in ((stores, loads), (stores, atomics), (atomics, loads)))

    def dependent(self) -> bool:
        """Whether what a program computes depends on which others ran before."""
        return self.uses_atomics or self.race()


@contextmanager
def watch_accesses() -> Iterator[list[Accesses]]:
    """Note what the programs of each interpreted launch inside the block access."""
    builder: Any = InterpreterBuilder
    kept = {name: getattr(builder, name) for name in (*ACCESSES, "set_grid_dim")}
    found: list[Accesses] = []

    def begin(self: Any, *dimensions: int) -> Any:
        found.append(Accesses())
        return kept["set_grid_dim"](self, *dimensions)

    def noting(name: str, kind: str, pointers_at: int, mask_at: int | None) -> Any:
        def access(self: Any, *given: Any, **named: Any) -> Any:
            mask = True if mask_at is None else given[mask_at].data
            pointers, masks = np.broadcast_arrays(given[pointers_at].data, mask)
            addresses = np.unique(pointers[masks.astype(bool)].reshape(-1).astype(np.uint64))
            program = number_of(self.grid_idx)
            getattr(found[-1], kind).append(np.stack([addresses, np.full_like(addresses, program)]))
            if kind == "stores" and len(addresses):
                found[-1].storing.add(program)
            made = kept[name](self, *given, **named)
            return _GivenBack(made, found[-1]) if kind == "atomics" else made

        return access

    builder.set_grid_dim = begin
    for name, about in ACCESSES.items():
        setattr(builder, name, noting(name, *about))
    try:
        yield found
    finally:
        for name, function in kept.items():
            setattr(builder, name, function)


def number_of(place: tuple[int, ...]) -> int:
    """The program at this place of the grid as :class:`Accesses` has it."""
    x, y, z = place
    return (z << X_BITS + Y_BITS) + (y << X_BITS) + x


def places_of(numbers: Array) -> Array:
    """The places of programs in the grid, from their :func:`number_of`: a row each for x, y and z."""
    x, y = numbers & ((1 << X_BITS) - 1), numbers >> X_BITS & ((1 << Y_BITS) - 1)
    return np.stack([x, y, numbers >> X_BITS + Y_BITS])


class _GivenBack(TensorHandle):  # type: ignore[misc]
    """What an atomic gives back. That it is looked at is noted."""

    def __init__(self, made: Any, accesses: Accesses) -> None:
        self._accesses, self._numbers = accesses, made.data
        self.dtype, self.attr = made.dtype, made.attr

    @property
    def data(self) -> Any:
        self._accesses.uses_atomics = True
        return self._numbers


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
