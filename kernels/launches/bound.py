"""The memory of one launch: inputs and outputs in guarded places of their own, their layout kept.

A storage is copied as a whole, so views stay views, aliases stay aliases, and what lies between the elements of a
strided view is watched like everything else that a launch must not write. Before and behind each storage lie GUARD
bytes: ones about inputs, NaN for whoever reads them as numbers, and others about outputs, so that what is copied from
there is noticed as well.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import torch

from kernels.launches.effects import Effects
from kernels.launches.expected import Results, results_of
from kernels.launches.leaves import leaves, rebuild, tensors_in

GUARD = 512
"""Bytes; the alignment of PyTorch's allocator, so that a guarded tensor is aligned like one of its own."""
HELD_BACK, SPARED = 1024, 64
"""At most so many elements of a storage get their values last, and at most one in so many, so that the caches stay
cold."""
COMMON_FACTORS = 2 * 3 * 5 * 7
"""Of strides. The distance between held elements shares none, or they might all lie between those of a strided view."""
ONES = 0xFF
FILLED = 0xA5
"""About outputs and between their elements."""
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by their size in bytes."""


def spoil(out: torch.Tensor, with_nan: bool, generator: torch.Generator | None = None) -> None:
    """Fill `out` with what no kernel computes: NaN, or finite values that nobody can foresee; integers at random."""
    if not out.dtype.is_floating_point:
        high = 2 if out.dtype == torch.bool else min(torch.iinfo(out.dtype).max, 2**31 - 1)
        out.copy_(torch.randint(0, high, out.shape, generator=generator, device=out.device))
    elif with_nan:
        out.copy_(torch.full((), math.nan, device=out.device).expand(out.shape))
    else:
        out.copy_(torch.randn(out.shape, generator=generator, device=out.device))


class Placed:
    """A nested value whose tensors were moved to guarded memory."""

    def __init__(self, value: Any, copy: bool, extra: int = 0, guard: int = GUARD) -> None:
        """`copy`: with their contents. `extra`: bytes, a multiple of GUARD, by which everything lies further on."""
        self._guard, self._start = guard, guard + extra
        self._pattern = ONES if copy else FILLED
        self._whole: list[torch.Tensor] = []
        self._data: list[torch.Tensor] = []
        self._sizes: list[int] = []
        numbers: dict[int, int] = {}
        for t in tensors_in(value).values():
            key = t.untyped_storage()._cdata
            if key not in numbers:
                numbers[key] = len(self._data)
                self._add(t, copy)
        self.value = rebuild(value, lambda path, leaf: self._moved(leaf, numbers))
        self._numbers = {p: numbers[t.untyped_storage()._cdata] for p, t in tensors_in(value).items()}

    def _add(self, t: torch.Tensor, copy: bool) -> None:
        size = t.untyped_storage().nbytes()
        whole = torch.full((self._start + size + self._guard,), self._pattern, dtype=torch.uint8, device=t.device)
        data = whole[self._start : self._start + size]
        if copy:
            data.copy_(storage_bytes(t))
        self._whole.append(whole)
        self._data.append(data)
        self._sizes.append(min(t.element_size(), max(BITS)))

    def _moved(self, leaf: Any, numbers: dict[int, int]) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        whole = self._whole[numbers[leaf.untyped_storage()._cdata]]
        start = self._start // leaf.element_size() + leaf.storage_offset()
        made = torch.empty(0, dtype=leaf.dtype, device=leaf.device)
        return made.set_(whole.untyped_storage(), start, leaf.shape, leaf.stride())

    def refill(self, fresh: Any) -> None:
        """The contents of `fresh`, a value of the same layout, at the same addresses."""
        for data, source in zip(self._data, self._sources(fresh), strict=True):
            data.copy_(source)

    def _sources(self, fresh: Any) -> Iterator[torch.Tensor]:
        """The storages of `fresh`, in the order of ours."""
        found: dict[int, torch.Tensor] = {}
        for t in tensors_in(fresh).values():
            found.setdefault(t.untyped_storage()._cdata, t)
        return map(storage_bytes, found.values())

    def hold_back(self) -> Callable[[], None]:
        """Invert the bits of some elements of every storage, in places that are drawn anew; the function that is
        returned inverts them again."""
        held = []
        for data, size in zip(self._data, self._sizes, strict=True):
            numbers = data[: data.numel() // size * size].view(BITS[size])
            step = max(SPARED, math.ceil(numbers.numel() / HELD_BACK))
            while math.gcd(step, COMMON_FACTORS) > 1:
                step += 1
            first = secrets.randbelow(min(step, numbers.numel()) or 1)
            held.append(numbers[first::step])

        def invert() -> None:
            for part in held:
                part.bitwise_not_()

        invert()
        return invert

    def unchanged(self, fresh: Any, written: tuple[str, ...]) -> list[tuple[str, torch.Tensor]]:
        """(path, flag) for each storage: apart from the tensors at the paths `written`, it holds what that of `fresh`
        holds. The path is that of its first tensor, or empty if it is written. Guards come last.

        `fresh` is overwritten."""
        ours, theirs = tensors_in(self.value), tensors_in(fresh)
        for path in written:
            theirs[path].copy_(ours[path])
        paths = {number: path for path, number in reversed(self._numbers.items())}
        paths |= {self._numbers[path]: "" for path in written}
        pairs = zip(self._data, self._sources(fresh), strict=True)
        return [*((paths[i], _equal(a, b)) for i, (a, b) in enumerate(pairs)), ("", _all(list(self.guards())))]

    def poison(self, with_nan: bool, generator: torch.Generator | None) -> None:
        """Spoil every tensor, and fill what lies between their elements."""
        for data in self._gaps():
            data.fill_(self._pattern)
        for t in tensors_in(self.value).values():
            spoil(t, with_nan, generator)

    def gaps_unchanged(self) -> torch.Tensor:
        """A boolean tensor: whether the memory between the tensors' elements, and that of the guards, is unchanged."""
        flags = list(self.guards())
        for number, data in enumerate(self._data):
            if not any(data is d for d in self._gaps()):
                continue
            copy = data.clone()
            for path, t in tensors_in(self.value).items():
                if self._numbers[path] == number:
                    size = t.element_size()
                    start = size * t.storage_offset() - data.storage_offset()
                    strides = (*(size * step for step in t.stride()), 1)
                    elements = copy.as_strided((*t.shape, size), strides, start)
                    elements.fill_(self._pattern)
            flags.append((copy == self._pattern).all())
        return _all(flags)

    def _gaps(self) -> list[torch.Tensor]:
        """The storages that are not covered by one dense tensor."""
        covered = [
            t.numel() * t.element_size() == self._data[self._numbers[p]].numel() and _dense(t)
            for p, t in tensors_in(self.value).items()
        ]
        dense = {self._numbers[p] for p, c in zip(tensors_in(self.value), covered, strict=True) if c}
        return [d for i, d in enumerate(self._data) if i not in dense]

    def guards(self) -> Iterator[torch.Tensor]:
        for whole, data in zip(self._whole, self._data, strict=True):
            yield (whole[self._start - self._guard : self._start] == self._pattern).all()
            yield (whole[self._start + data.numel() :] == self._pattern).all()

    def layout(self) -> list[Any]:
        return [
            (p, tuple(x.shape), x.dtype, x.stride(), x.data_ptr()) if isinstance(x, torch.Tensor) else p
            for p, x in leaves(self.value)
        ]


class Bound:
    """Placed inputs and outputs of one launch, and its results by name."""

    def __init__(self, effects: Effects, inputs: Any, out: Any, extra: int = 0) -> None:
        self.effects = effects
        self._inputs, self._out = Placed(inputs, copy=True, extra=extra), Placed(out, copy=False, extra=extra)
        self.inputs, self.out = self._inputs.value, self._out.value
        self.results: Results = results_of(effects, self.inputs, self.out)
        self._layout = self._inputs.layout() + self._out.layout()

    def refill(self, fresh: Any) -> None:
        self._inputs.refill(fresh)

    def hold_back(self) -> Callable[[], None]:
        """Spoil some elements of every input (:meth:`Placed.hold_back`)."""
        return self._inputs.hold_back()

    def poison(self, with_nan: bool, generator: torch.Generator | None = None) -> None:
        self._out.poison(with_nan, generator)

    def untouched(self, fresh: Any) -> list[tuple[str, torch.Tensor]]:
        """(path of an input, flag on the device): whether the launch left it as it was. The path is empty for what lies
        about results and between their elements. `fresh` holds the inputs as they were, and is overwritten."""
        return [*self._inputs.unchanged(fresh, self.effects.inplace), ("", self._out.gaps_unchanged())]

    def same_layout(self) -> bool:
        """Whether every tensor is where it was and as it was."""
        return self._inputs.layout() + self._out.layout() == self._layout


def copied(value: Any) -> Any:
    """`value` in memory of its own, its views and aliases kept."""
    return Placed(value, copy=True, guard=0).value


def with_scalars_of(fresh: Any, numbers: dict[str, Any]) -> Any:
    """`fresh` with `numbers`, by path, in place of its own: numbers are part of a launch, not of its memory."""
    return rebuild(fresh, lambda path, leaf: numbers.get(path, leaf))


def storage_bytes(t: torch.Tensor) -> torch.Tensor:
    """All of the memory that `t` is a view of."""
    return torch.empty(0, dtype=torch.uint8, device=t.device).set_(t.untyped_storage())


def _equal(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A flag: equal bytes. Whole words are compared as such, which takes an eighth of the time."""
    if a.storage_offset() % 8 or b.storage_offset() % 8:
        return (a == b).all()
    words = a.numel() // 8 * 8
    same = (a[:words].view(torch.int64) == b[:words].view(torch.int64)).all()
    return same & (a[words:] == b[words:]).all()


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of one shape and dtype hold the same bits, NaN included."""
    return torch.equal(a.view(_bits(a)), b.view(_bits(b)))


def _bits(t: torch.Tensor) -> torch.dtype:
    """The integer type of the same size: NaN differs from itself, its bits do not, and PyTorch compares no unsigned
    integers of more than eight bits."""
    return BITS[t.element_size()]


def _dense(t: torch.Tensor) -> bool:
    """Whether the elements lie one by one without gaps or overlap, in any order of dimensions."""
    step = 1
    for stride, size in sorted((st, n) for st, n in zip(t.stride(), t.shape, strict=True) if n != 1):
        if stride != step:
            return False
        step *= size
    return True


def _all(flags: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(flags).all() if flags else torch.ones((), dtype=torch.bool)
