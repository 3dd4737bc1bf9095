"""Kernels that look as if a rewrite could be made of them, and for which it would be wrong: (rewrite, function)."""

import triton
import triton.language as tl

from kernels.editing.fencing.abstract_values import NUMBER, POINTER, whole
from kernels.editing.owner_function import owner_of


@triton.jit
def running(x_ptr, y_ptr, n, STEP: tl.constexpr):
    """Each turn reads what the one before it has stored."""
    row = tl.program_id(0) * n
    for t in range(0, n, STEP):
        tl.store(y_ptr + row + t + 1, tl.load(y_ptr + row + t) + tl.load(x_ptr + row + t))


@triton.jit
def shifted(x_ptr, n, BLOCK: tl.constexpr):
    """In place: another program's part would be overwritten before it is read."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at + 1, mask=at < n), mask=at < n)


@triton.jit
def shifted_row(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    row = x_ptr + tl.program_id(0) * n
    tl.store(row + at, tl.load(row + at + 1, mask=at < n), mask=at < n)


@triton.jit
def shifted_twice(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """The second pass reads what its turn before has not yet overwritten."""
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        tl.store(x_ptr + at, tl.load(x_ptr + at + 1, mask=at < n), mask=at < n)


@triton.jit
def block_scaled(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """Each block has a scale of its own."""
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n, other=0.0)
        scale = tl.max(tl.abs(x), axis=0)
        y = x / scale
        tl.store(y_ptr + at, y, mask=at < n)


@triton.jit
def block_numbered(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    k = 0
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n) + k, mask=at < n)
        k += 1  # noqa: SIM113 -- device code


@triton.jit
def counted(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """A whole number, which float32 would round."""
    count = 0
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        count += tl.sum((tl.load(x_ptr + at, mask=at < n, other=0.0) > 0).to(tl.int32), axis=0)
    tl.store(y_ptr, count)


@triton.jit
def column_sums(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """What is summed has two dimensions."""
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    columns = tl.arange(0, BLOCK)
    for i in range(0, n, BLOCK):
        rows = i + tl.arange(0, BLOCK)
        total += tl.sum(tl.load(x_ptr + rows[:, None] * BLOCK + columns[None, :], mask=rows[:, None] < n), axis=0)
    tl.store(y_ptr + columns, total)


@triton.jit
def count_into(p, x):
    tl.atomic_add(p, 1.0)
    return x


@triton.jit
def counting(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """A program that is split counts several times."""
    one = count_into(y_ptr, 1.0)
    row = x_ptr + tl.program_id(0) * n
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        tl.store(row + at, one, mask=at < n)


@triton.jit
def centred(x):
    return x - tl.max(x, axis=0)


@triton.jit
def centred_blocks(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """What a block means stands in another function."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, centred(tl.load(x_ptr + at, mask=at < n)), mask=at < n)


@triton.jit
def two_maxima(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """The second loop reads what the first one has made by atomics."""
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        tl.atomic_max(y_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)
    low = 0.0
    for i in range(0, n, BLOCK):
        at = i + tl.arange(0, BLOCK)
        low += tl.sum(tl.load(x_ptr + at, mask=at < n), axis=0) + tl.load(y_ptr)
    tl.store(y_ptr + n, low)


TEMPTING = [
    ("split loops", running),
    ("pipelined loops", running),
    ("wider blocks", shifted),
    ("split rows", shifted_row),
    ("second pass backwards", shifted_twice),
    ("smaller blocks", shifted_twice),
    ("smaller blocks", block_scaled),
    ("smaller blocks", block_numbered),
    ("one reduction", counted),
    ("one reduction", column_sums),
    ("split loops", counting),
    ("wider blocks", centred_blocks),
    ("one pass", two_maxima),
]


def owner(function):
    given = dict.fromkeys(function.arg_names, NUMBER)
    given |= {name: POINTER for name in given if name.endswith("_ptr")}
    return owner_of(function, given | {name: whole(4096) for name in given if name in ("BLOCK", "STEP")})
