"""Slow kernels whose threads read or write memory far apart."""

from __future__ import annotations

from typing import Literal

import triton
import triton.language as tl

from kernels.defaults import normal
from kernels.slow_kernels.rows import RowsProblem
from kernels.slow_kernels.slow_kernel import Form, SlowKernel
from kernels.spec import Config


@triton.jit
def scale_columns(x_ptr, w_ptr, y_ptr, M, N, BLOCK: tl.constexpr):
    column = tl.program_id(0)
    rows = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    places = rows.to(tl.int64) * N + column
    x = tl.load(x_ptr + places, mask=rows < M, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + column).to(tl.float32)
    tl.store(y_ptr + places, (x * w).to(y_ptr.dtype.element_ty), mask=rows < M)


@triton.jit
def scale_rows(x_ptr, w_ptr, y_ptr, M, N, BLOCK: tl.constexpr, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * TILE + tl.arange(0, TILE)
    x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + columns, mask=columns < N, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * N + columns, (x * w).to(y_ptr.dtype.element_ty), mask=columns < N)


@triton.jit
def transpose_by_rows(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0)
    tl.store(y_ptr + columns.to(tl.int64) * M + row, x, mask=columns < N)


@triton.jit
def transpose_by_tiles(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr, TILE: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    columns = tl.program_id(1).to(tl.int64) * TILE + tl.arange(0, TILE)
    here = (rows < M)[:, None] & (columns < N)[None, :]
    x = tl.load(x_ptr + rows[:, None] * N + columns[None, :], mask=here, other=0.0)
    there = (columns < N)[:, None] & (rows < M)[None, :]
    tl.store(y_ptr + columns[:, None] * M + rows[None, :], tl.trans(x), mask=there)


class LayoutConfig(Config):
    BLOCK: Literal[256, 512, 1024] = 512
    num_warps: Literal[4, 8] = 4


class Uncoalesced(SlowKernel):
    name = "scaled_columns"
    habit = "threads that run together read elements that lie a row apart"
    metric = "gbps"
    problem_type = RowsProblem
    config_type = LayoutConfig
    function = scale_columns
    elsewhere = (1000, 3001)
    small = (300, 70)
    known = Form(
        scale_rows, "each element of a warp comes with its own sector: threads go along the rows instead",
        {"TILE": (1024, 2048)}, "M, cdiv(N, TILE)",
    )  # fmt: skip

    def default_problem(self):
        return RowsProblem(M=8192, N=8192)

    def inputs(self, problem, generator, device):
        x = normal(problem.shape(), problem.torch_dtype, generator, device)
        return x, normal((problem.N,), problem.torch_dtype, generator, device)

    def launch(self, problem, config, inputs, out, hardware):
        grid = (problem.N, triton.cdiv(problem.M, config.BLOCK))
        scale_columns[grid](*inputs, out, *problem.shape(), **config.model_dump())

    def eager(self, problem, inputs):
        x, w = inputs
        return x * w


class Transposition(SlowKernel):
    name = "turned_matrix"
    habit = "a transposition reads along the rows, and each of its stores writes one element of a sector"
    metric = "gbps"
    problem_type = RowsProblem
    config_type = LayoutConfig
    function = transpose_by_rows
    elsewhere = (1000, 3001)
    small = (70, 300)
    known = Form(
        transpose_by_tiles, "stores lie a row apart: square tiles are turned on the chip, and both sides go along rows",
        {"TILE": (64, 32, 128)}, "cdiv(M, TILE), cdiv(N, TILE)",
    )  # fmt: skip

    def default_problem(self):
        return RowsProblem(M=8192, N=8192)

    def inputs(self, problem, generator, device):
        return (normal(problem.shape(), problem.torch_dtype, generator, device),)

    def launch(self, problem, config, inputs, out, hardware):
        grid = (problem.M, triton.cdiv(problem.N, config.BLOCK))
        transpose_by_rows[grid](*inputs, out, *problem.shape(), **config.model_dump())

    def eager(self, problem, inputs):
        return inputs[0].t().contiguous()
