"""``layer_norm``: out[i, :] = (x[i, :] - mean) / sqrt(variance + eps) * weight + bias, in fp32, rounded once."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from pydantic import Field

from kernels.defaults import normal
from kernels.gemm.tiles import rounded
from kernels.rows.spec import ELEMENT_BYTES, Rows, RowsProblem, below, within
from kernels.spec import Inputs
from kernels.triton.overlap import inputs_ready


@triton.jit
def layer_norm_rows(
    x_ptr,
    weight,
    bias,
    out_ptr,
    group,
    M,
    N,
    eps,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
):
    """ROWS whole rows in registers; N is at most BLOCK_N. The variance is computed from the differences from the
    mean."""
    rows = tl.cast(group, tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK_N)[None, :]
    inside = within(rows, cols, M, N, ROWS, BLOCK_N, EVEN)
    x = tl.load(x_ptr + rows * N + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
    mean = tl.sum(x, 1) / N
    centred = tl.where(inside, x - mean[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / N + eps)
    y = rounded(centred * scale[:, None] * weight + bias, out_ptr.dtype.element_ty)
    tl.store(out_ptr + rows * N + cols, y, mask=inside, cache_modifier=WRITE)


@triton.jit
def layer_norm_row(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    M,
    N,
    eps,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    inputs_ready(OVERLAP)
    cols = tl.arange(0, BLOCK_N)[None, :]
    weight = tl.load(weight_ptr + cols, mask=cols < N, other=0.0, eviction_policy="evict_last").to(tl.float32)
    bias = tl.load(bias_ptr + cols, mask=cols < N, other=0.0, eviction_policy="evict_last").to(tl.float32)
    layer_norm_rows(x_ptr, weight, bias, out_ptr, tl.program_id(0), M, N, eps, ROWS, BLOCK_N, EVEN, READ, WRITE)


@triton.jit
def layer_norm_walk(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    M,
    N,
    eps,
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
    cols = tl.arange(0, BLOCK_N)[None, :]
    weight = tl.load(weight_ptr + cols, mask=cols < N, other=0.0, eviction_policy="evict_last").to(tl.float32)
    bias = tl.load(bias_ptr + cols, mask=cols < N, other=0.0, eviction_policy="evict_last").to(tl.float32)
    for group in tl.range(tl.program_id(0), tl.cdiv(M, ROWS), PROGRAMS, num_stages=STAGES):
        layer_norm_rows(x_ptr, weight, bias, out_ptr, group, M, N, eps, ROWS, BLOCK_N, EVEN, READ, WRITE)


@triton.jit
def layer_norm_loop(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    M,
    N: tl.constexpr,
    eps,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """One pass over the row computes mean and variance, a second pass writes the result.

    Each column of a block keeps the sums of the differences from its first element and of their squares. No large sums
    are subtracted, so a mean far from zero costs no digits, and the loop has no division. At the end the columns'
    moments are combined by the formula of Chan, Golub and LeVeque (1979)."""
    inputs_ready(OVERLAP)
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK_N)[None, :]
    KEEP: tl.constexpr = "evict_last" if READ == "evict_first" else ""
    inside = within(rows, cols, M, N, ROWS, BLOCK_N, EVEN)
    first = tl.load(x_ptr + rows * N + cols, mask=inside, other=0.0, eviction_policy=KEEP).to(tl.float32)
    if N <= BLOCK_N:
        mean = tl.sum(first, 1) / N
        apart = first - mean[:, None] if EVEN else tl.where(inside, first - mean[:, None], 0.0)
        variance = tl.sum(apart * apart, 1) / N
    else:
        sums = tl.zeros((ROWS, BLOCK_N), tl.float32)
        squares = tl.zeros((ROWS, BLOCK_N), tl.float32)
        for start in range(BLOCK_N, N, BLOCK_N):
            inside = within(rows, start + cols, M, N, ROWS, BLOCK_N, EVEN)
            x = tl.load(x_ptr + rows * N + start + cols, mask=inside, other=0.0, eviction_policy=KEEP).to(tl.float32)
            apart = x - first if EVEN else tl.where(inside, x - first, 0.0)
            sums += apart
            squares += apart * apart
        count = tl.cdiv(N - cols, BLOCK_N).to(tl.float32)  # elements of each column
        moved = sums / count
        mean = tl.sum(count * (first + moved), 1) / N
        apart = first + moved - mean[:, None]
        variance = tl.sum(squares - sums * moved + count * apart * apart, 1) / N
    scale = 1.0 / tl.sqrt(variance + eps)
    shift = -mean * scale
    for start in range(0, N, BLOCK_N):
        inside = within(rows, start + cols, M, N, ROWS, BLOCK_N, EVEN)
        x = tl.load(x_ptr + rows * N + start + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
        there = below(cols, N - start, BLOCK_N, EVEN)
        weight = tl.load(weight_ptr + start + cols, mask=there, other=0.0, eviction_policy="evict_last")
        bias = tl.load(bias_ptr + start + cols, mask=there, other=0.0, eviction_policy="evict_last")
        y = (x * scale[:, None] + shift[:, None]) * weight.to(tl.float32) + bias.to(tl.float32)
        y = rounded(y, out_ptr.dtype.element_ty)
        tl.store(out_ptr + rows * N + start + cols, y, mask=inside, cache_modifier=WRITE)


class LayerNormProblem(RowsProblem):
    """out (M, N) = layer_norm(x (M, N)) * weight (N) + bias (N)."""

    eps: float = Field(default=1e-5, gt=0, le=1)


class LayerNorm(Rows[LayerNormProblem]):
    """Layer norm with weight and bias; inputs are (x, weight, bias)."""

    name = "layer_norm"
    aliases = ("layernorm", "layer normalisation", "layer normalization")
    problem_type = LayerNormProblem
    kernels: ClassVar = {"row": layer_norm_row, "walk": layer_norm_walk, "loop": layer_norm_loop}
    roundings = 1

    def inputs(self, problem: LayerNormProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """x (M, N) with mean 1/2, because with mean 0 the variance about zero would equal that about the mean; weight
        (N) about 1, bias (N) standard normal."""
        (x,) = super().inputs(problem, generator, device)
        assert x is not None
        weight = normal((problem.N,), problem.torch_dtype, generator, device, scale=0.25)
        bias = normal((problem.N,), problem.torch_dtype, generator, device)
        return x.add_(0.5), weight.add_(1.0), bias

    def flops(self, problem: LayerNormProblem) -> int:
        """About eight operations per element."""
        return 8 * problem.M * problem.N

    def bytes(self, problem: LayerNormProblem) -> int:
        """x, weight and bias read once, the result written once."""
        return super().bytes(problem) + 2 * ELEMENT_BYTES * problem.N

    def arguments(self, problem: LayerNormProblem, inputs: Inputs, out: torch.Tensor) -> tuple[Any, ...]:
        return (*super().arguments(problem, inputs, out), problem.eps)

    def eager(self, problem: LayerNormProblem, inputs: Inputs) -> torch.Tensor:
        x, weight, bias = inputs
        assert x is not None
        return F.layer_norm(x, (problem.N,), weight, bias, problem.eps)
