"""``rms_norm``: out[i, :] = x[i, :] / sqrt(mean(x[i, :]^2) + eps) * weight, in fp32, rounded once."""

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
def rms_norm_rows(
    x_ptr,
    weight,
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
    """ROWS whole rows in registers; N is at most BLOCK_N."""
    rows = tl.cast(group, tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK_N)[None, :]
    inside = within(rows, cols, M, N, ROWS, BLOCK_N, EVEN)
    x = tl.load(x_ptr + rows * N + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, 1) / N + eps)
    y = rounded(x * scale[:, None] * weight, out_ptr.dtype.element_ty)
    tl.store(out_ptr + rows * N + cols, y, mask=inside, cache_modifier=WRITE)


@triton.jit
def rms_norm_row(
    x_ptr,
    weight_ptr,
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
    rms_norm_rows(x_ptr, weight, out_ptr, tl.program_id(0), M, N, eps, ROWS, BLOCK_N, EVEN, READ, WRITE)


@triton.jit
def rms_norm_walk(
    x_ptr,
    weight_ptr,
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
    for group in tl.range(tl.program_id(0), tl.cdiv(M, ROWS), PROGRAMS, num_stages=STAGES):
        rms_norm_rows(x_ptr, weight, out_ptr, group, M, N, eps, ROWS, BLOCK_N, EVEN, READ, WRITE)


@triton.jit
def rms_norm_loop(
    x_ptr,
    weight_ptr,
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
    """One pass over the row sums the squares, a second pass writes the result."""
    inputs_ready(OVERLAP)
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK_N)[None, :]
    KEEP: tl.constexpr = "evict_last" if READ == "evict_first" else ""
    squares = tl.zeros((ROWS, BLOCK_N), tl.float32)
    for start in range(0, N, BLOCK_N):
        inside = within(rows, start + cols, M, N, ROWS, BLOCK_N, EVEN)
        x = tl.load(x_ptr + rows * N + start + cols, mask=inside, other=0.0, eviction_policy=KEEP).to(tl.float32)
        squares += x * x
    scale = 1.0 / tl.sqrt(tl.sum(squares, 1) / N + eps)
    for start in range(0, N, BLOCK_N):
        inside = within(rows, start + cols, M, N, ROWS, BLOCK_N, EVEN)
        x = tl.load(x_ptr + rows * N + start + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
        weight = tl.load(
            weight_ptr + start + cols,
            mask=below(cols, N - start, BLOCK_N, EVEN),
            other=0.0,
            eviction_policy="evict_last",
        )
        y = rounded(x * scale[:, None] * weight.to(tl.float32), out_ptr.dtype.element_ty)
        tl.store(out_ptr + rows * N + start + cols, y, mask=inside, cache_modifier=WRITE)


class RmsNormProblem(RowsProblem):
    """out (M, N) = rms_norm(x (M, N)) * weight (N)."""

    eps: float = Field(default=1e-6, gt=0, le=1)


class RmsNorm(Rows[RmsNormProblem]):
    """Root-mean-square norm with weight; inputs are (x, weight)."""

    name = "rms_norm"
    aliases = ("rmsnorm", "rms normalisation", "rms normalization")
    problem_type = RmsNormProblem
    kernels: ClassVar = {"row": rms_norm_row, "walk": rms_norm_walk, "loop": rms_norm_loop}
    roundings = 2

    def inputs(self, problem: RmsNormProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """x (M, N) standard normal; weight (N) about 1, so that no element is much larger than the others."""
        weight = normal((problem.N,), problem.torch_dtype, generator, device, scale=0.25)
        return (*super().inputs(problem, generator, device), weight.add_(1.0))

    def bytes(self, problem: RmsNormProblem) -> int:
        """x and weight read once, the result written once."""
        return super().bytes(problem) + ELEMENT_BYTES * problem.N

    def arguments(self, problem: RmsNormProblem, inputs: Inputs, out: torch.Tensor) -> tuple[Any, ...]:
        return (*super().arguments(problem, inputs, out), problem.eps)

    def eager(self, problem: RmsNormProblem, inputs: Inputs) -> torch.Tensor:
        x, weight = inputs
        assert x is not None
        return F.rms_norm(x, (problem.N,), weight, problem.eps)
