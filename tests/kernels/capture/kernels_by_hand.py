"""Triton functions for the tests, defined without the interpreter."""

import types

import torch
import triton
import triton.language as tl

OP = tl.maximum
LIMIT = tl.constexpr(4)
settings = types.ModuleType("settings")
settings.SCALE = 3


@triton.jit
def helper(x, y):
    # a comment
    return OP(x, y) * settings.SCALE


@triton.jit(do_not_specialize=["n"])
def kernel(x_ptr, y_ptr, out_ptr, n, eps, BLOCK: tl.constexpr = LIMIT):
    """Says something."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, helper(x, tl.load(y_ptr + at)) + eps, mask=at < n)
    tl.atomic_add(y_ptr + at, x)


@triton.jit
def looped(x_ptr, out_ptr, table_ptr, n, BLOCK: tl.constexpr):
    pointer = out_ptr
    for _ in range(n):
        tl.store(pointer + tl.arange(0, BLOCK), tl.load(x_ptr + tl.arange(0, BLOCK)))
        pointer += BLOCK
    target = tl.load(table_ptr).to(tl.pointer_type(tl.float32))
    tl.store(target, 1.0)


@triton.jit
def scattered(x_ptr, y_ptr, rows_ptr, stride, n, IGNORED: tl.constexpr):
    row = tl.load(rows_ptr + tl.program_id(0))
    if row == IGNORED:
        return
    tl.store(x_ptr + row * stride, tl.sum(tl.load(y_ptr + tl.arange(0, 16)), axis=0))


@triton.jit
def chosen(x_ptr, y_ptr, z_ptr, flags_ptr, n):
    target = x_ptr
    if tl.load(flags_ptr) > 0:
        target = y_ptr + n
    tl.store(target, 1.0)
    target = x_ptr
    other = z_ptr
    while n > 0:
        tl.atomic_add(target, 1.0)
        swapped = target
        target = other
        other = swapped
        n -= 1


def closure(power):
    @triton.jit
    def powers(x_ptr, BLOCK: tl.constexpr):
        x = tl.load(x_ptr + tl.arange(0, BLOCK))
        for _ in tl.static_range(power):
            x = helper(x, x)
        tl.store(x_ptr + tl.arange(0, BLOCK), x)

    return powers


def arguments(rows=4, columns=8):
    x = torch.ones(rows, columns)
    return x, torch.zeros_like(x), torch.empty_like(x), rows * columns, 1e-6
