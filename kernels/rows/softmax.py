"""``softmax``: out[i, :] = softmax(x[i, :]) over the last dimension, in fp32, rounded once."""

from __future__ import annotations

from typing import ClassVar

import torch
import triton
import triton.language as tl

from kernels.gemm.tiles import rounded
from kernels.rows.spec import Rows, RowsProblem, within
from kernels.spec import Inputs
from kernels.triton.overlap import inputs_ready


@triton.jit
def softmax_rows(
    x_ptr,
    out_ptr,
    group,
    M,
    N,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
):
    """ROWS whole rows in registers; N is at most BLOCK_N."""
    rows = tl.cast(group, tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK_N)[None, :]
    inside = within(rows, cols, M, N, ROWS, BLOCK_N, EVEN)
    x = tl.load(x_ptr + rows * N + cols, mask=inside, other=-float("inf"), eviction_policy=READ).to(tl.float32)
    power = tl.exp(x - tl.max(x, 1)[:, None])
    y = rounded(power / tl.sum(power, 1)[:, None], out_ptr.dtype.element_ty)
    tl.store(out_ptr + rows * N + cols, y, mask=inside, cache_modifier=WRITE)


@triton.jit
def softmax_row(
    x_ptr,
    out_ptr,
    M,
    N,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    inputs_ready(OVERLAP)
    softmax_rows(x_ptr, out_ptr, tl.program_id(0), M, N, ROWS, BLOCK_N, EVEN, READ, WRITE)


@triton.jit
def softmax_walk(
    x_ptr,
    out_ptr,
    M,
    N,
    PROGRAMS: tl.constexpr,
    STAGES: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    inputs_ready(OVERLAP)
    for group in tl.range(tl.program_id(0), tl.cdiv(M, ROWS), PROGRAMS, num_stages=STAGES):
        softmax_rows(x_ptr, out_ptr, group, M, N, ROWS, BLOCK_N, EVEN, READ, WRITE)


@triton.jit
def softmax_loop(
    x_ptr,
    out_ptr,
    M,
    N: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """One pass over the row computes the maximum and the sum, which is rescaled when the maximum grows (Milakov and
    Gimelshein 2018). A second pass writes the result."""
    inputs_ready(OVERLAP)
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK_N)[None, :]
    KEEP: tl.constexpr = "evict_last" if READ == "evict_first" else ""
    top = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, N, BLOCK_N):
        inside = within(rows, start + cols, M, N, ROWS, BLOCK_N, EVEN)
        x = tl.load(x_ptr + rows * N + start + cols, mask=inside, other=-float("inf"), eviction_policy=KEEP)
        x = x.to(tl.float32)
        higher = tl.maximum(top, tl.max(x, 1))
        # A row may begin with only -inf, and -inf - -inf is NaN.
        base = tl.where(higher == -float("inf"), 0.0, higher)
        total = total * tl.exp(top - base) + tl.sum(tl.exp(x - base[:, None]), 1)
        top = higher
    base = tl.where(top == -float("inf"), 0.0, top)
    for start in range(0, N, BLOCK_N):
        inside = within(rows, start + cols, M, N, ROWS, BLOCK_N, EVEN)
        x = tl.load(x_ptr + rows * N + start + cols, mask=inside, other=-float("inf"), eviction_policy=READ)
        y = rounded(tl.exp(x.to(tl.float32) - base[:, None]) / total[:, None], out_ptr.dtype.element_ty)
        tl.store(out_ptr + rows * N + start + cols, y, mask=inside, cache_modifier=WRITE)


class SoftmaxProblem(RowsProblem):
    """out (M, N) = softmax(x (M, N)) along N."""


class Softmax(Rows[SoftmaxProblem]):
    """Softmax over the last dimension of a contiguous tensor."""

    name = "softmax"
    problem_type = SoftmaxProblem
    kernels: ClassVar = {"row": softmax_row, "walk": softmax_walk, "loop": softmax_loop}

    def eager(self, problem: SoftmaxProblem, inputs: Inputs) -> torch.Tensor:
        (x,) = inputs
        assert x is not None
        return torch.softmax(x, dim=-1)

    def tolerance(self, problem: SoftmaxProblem) -> float:
        """As for all row kernels. fp16 adds N 2^-28: its smallest step is 2^-24, half a step may be lost, and the
        largest output is about 12/N (the largest exponential of a normal divided by the mean one)."""
        steps = problem.N * 2.0**-28 if problem.dtype == "fp16" else 0.0
        return super().tolerance(problem) + steps
