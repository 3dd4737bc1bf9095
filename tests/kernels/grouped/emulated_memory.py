"""Values, memory and barriers of ``emulated_gluon``."""

from __future__ import annotations

import math
import types
from typing import Any

import torch

DTYPES = {torch.float16: 16, torch.bfloat16: 16, torch.float8_e4m3fn: 8}
"""Bits of an element of operands and results."""


class Number(int):
    """A loaded integer."""

    def to(self, dtype: torch.dtype) -> int:
        return int(self)


class Array:
    """A tensor in registers."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data
        self.type = types.SimpleNamespace(layout=None)

    @property
    def shape(self) -> list[int]:
        return list(self.data.shape)

    def to(self, dtype: torch.dtype) -> Array:
        return Array(self.data.to(dtype))

    def reshape(self, shape: list[int]) -> Array:
        return Array(self.data.reshape(shape))

    def permute(self, order: tuple[int, ...]) -> Array:
        return Array(self.data.permute(order))

    def split(self) -> tuple[Array, Array]:
        return Array(self.data[..., 0]), Array(self.data[..., 1])

    def __getitem__(self, at: Any) -> Array:
        return Array(self.data[at])

    def __add__(self, other: Any) -> Array:
        return Array(self.data + getattr(other, "data", other))

    def __mul__(self, other: Any) -> Array:
        return Array(self.data * getattr(other, "data", other))

    def __lt__(self, other: Any) -> Array:
        return Array(self.data < other)

    def __and__(self, other: Array) -> Array:
        return Array(self.data & other.data)

    __radd__, __rmul__ = __add__, __mul__


class Pointer:
    """A pointer into a flat tensor, or a block of pointers."""

    def __init__(self, data: torch.Tensor, offset: Any = 0) -> None:
        self.data, self.offset = data, offset

    def __add__(self, more: Any) -> Pointer:
        return Pointer(self.data, self.offset + more)


class Descriptor:
    """A matrix in global memory that is read and written in blocks."""

    def __init__(self, matrix: torch.Tensor, block: list[int]) -> None:
        self.matrix, self.block_shape, self.dtype, self.layout = matrix, block, matrix.dtype, None
        self.block_type = types.SimpleNamespace(nbytes=math.prod(block) * matrix.dtype.itemsize)

    def _inside(self, at: tuple[int, ...]) -> tuple[slice, ...]:
        pairs = zip(at, self.block_shape, self.matrix.shape, strict=True)
        assert all(first >= 0 for first in at)
        return tuple(slice(first, max(first, min(first + side, size))) for first, side, size in pairs)

    def read(self, at: tuple[int, ...]) -> torch.Tensor:
        """The block, zero past the matrix's edges."""
        block = torch.zeros(self.block_shape, dtype=self.dtype)
        found = self.matrix[self._inside(at)]
        block[: found.shape[0], : found.shape[1]] = found
        return block

    def write(self, at: tuple[int, ...], block: torch.Tensor) -> None:
        target = self.matrix[self._inside(at)]
        target.copy_(block[: target.shape[0], : target.shape[1]])


class Shared:
    """Buffers in shared memory, or one of them."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data
        self.dtype = types.SimpleNamespace(primitive_bitwidth=DTYPES[data.dtype])

    @property
    def shape(self) -> list[int]:
        return list(self.data.shape)

    def index(self, at: int) -> Shared:
        assert 0 <= at < len(self.data)
        return Shared(self.data[at])

    def slice(self, first: int, size: int) -> Shared:
        return Shared(self.data[first : first + size])

    def permute(self, order: tuple[int, ...]) -> Shared:
        return Shared(self.data.permute(order))

    def store(self, value: Array) -> None:
        self.data.copy_(value.data)

    def load(self, layout: Any) -> Array:
        return Array(self.data.clone())


class Barrier:
    """An mbarrier: a phase is over once `count` have arrived and all expected bytes have."""

    def __init__(self) -> None:
        self.count = self.missing = self.bytes = self.phases = 0

    def advance(self) -> None:
        assert self.missing >= 0, "more arrivals than the barrier was made for"
        if self.missing == 0 and self.bytes == 0:
            self.phases += 1
            self.missing = self.count


class BarrierArray:
    def __init__(self, size: int) -> None:
        self.barriers = [Barrier() for _ in range(size)]

    def index(self, at: int) -> Barrier:
        return self.barriers[at]
