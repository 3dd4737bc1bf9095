"""Slow kernels that compute something of each row, or of each element of it."""

from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl
from pydantic import Field

from kernels.defaults import normal, unit
from kernels.slow_kernels.slow_kernel import Form, SlowKernel
from kernels.spec import Config, Problem


@triton.jit
def softmax_in_three(x_ptr, y_ptr, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * N
    high = tl.full((BLOCK,), float("-inf"), dtype=tl.float32)
    for start in range(0, N, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
        high = tl.maximum(high, x)
    highest = tl.max(high, 0)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, N, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
        total += tl.exp(x - highest)
    scale = 1 / tl.sum(total, 0)
    for start in range(0, N, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
        tl.store(y_ptr + row + columns, (tl.exp(x - highest) * scale).to(y_ptr.dtype.element_ty), mask=columns < N)


@triton.jit
def softmax_in_one(x_ptr, y_ptr, N, BLOCK: tl.constexpr, WHOLE: tl.constexpr, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * N
    if N <= WHOLE:
        columns = tl.arange(0, WHOLE)
        x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
        e = tl.exp(x - tl.max(x, 0))
        tl.store(y_ptr + row + columns, (e * (1 / tl.sum(e, 0))).to(y_ptr.dtype.element_ty), mask=columns < N)
    else:
        # Each thread keeps the maximum and the sum of its own elements, eight of them side by side: no turn waits for
        # other threads.
        lanes = tl.arange(0, TILE // 8)[:, None] * 8 + tl.arange(0, 8)[None, :]
        high = tl.full((TILE // 8,), float("-inf"), dtype=tl.float32)
        total = tl.zeros((TILE // 8,), dtype=tl.float32)
        for start in range(0, N, TILE):
            columns = start + lanes
            x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
            higher = tl.maximum(high, tl.max(x, 1))
            less = tl.where(higher == float("-inf"), 0.0, higher)
            total = total * tl.exp(high - less) + tl.sum(tl.exp(x - less[:, None]), 1)
            high = higher
        highest = tl.max(high, 0)
        scale = 1 / tl.sum(total * tl.exp(high - highest), 0)
        for start in range(0, N, TILE):
            columns = start + tl.arange(0, TILE)
            x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
            y = tl.exp(x - highest) * scale
            tl.store(y_ptr + row + columns, y.to(y_ptr.dtype.element_ty), mask=columns < N)


@triton.jit
def squares_by_turns(x_ptr, out_ptr, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = 0.0
    for start in range(0, N, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
        total += tl.sum(x * x, 0)
    tl.store(out_ptr + row, total)


@triton.jit
def squares_at_once(x_ptr, out_ptr, N, BLOCK: tl.constexpr, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros((TILE,), dtype=tl.float32)
    for start in range(0, N, TILE):
        columns = start + tl.arange(0, TILE)
        x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
        total += x * x
    tl.store(out_ptr + row, tl.sum(total, 0))


@triton.jit
def dot_by_elements(x_ptr, y_ptr, out_ptr, N):
    row = tl.program_id(0).to(tl.int64)
    total = 0.0
    for i in range(0, N):
        x = tl.load(x_ptr + row * N + i).to(tl.float32)
        total += x * tl.load(y_ptr + row * N + i).to(tl.float32)
    tl.store(out_ptr + row, total)


@triton.jit
def dot_by_blocks(x_ptr, y_ptr, out_ptr, N, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros((TILE,), dtype=tl.float32)
    for start in range(0, N, TILE):
        columns = start + tl.arange(0, TILE)
        x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
        total += x * tl.load(y_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
    tl.store(out_ptr + row, tl.sum(total, 0))


@triton.jit
def norm_of_one_row(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, 0) / N + 1e-6)
    tl.store(y_ptr + row * N + columns, (x * scale).to(y_ptr.dtype.element_ty), mask=columns < N)


@triton.jit
def norm_of_many_rows(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    mask = (rows < M)[:, None] & (columns < N)[None, :]
    places = rows[:, None] * N + columns[None, :]
    x = tl.load(x_ptr + places, mask=mask, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, 1) / N + 1e-6)
    tl.store(y_ptr + places, (x * scale[:, None]).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def gelu_of_a_row(x_ptr, y_ptr, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
    y = 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    tl.store(y_ptr + row * N + columns, y.to(y_ptr.dtype.element_ty), mask=columns < N)


@triton.jit
def gelu_of_a_tile(x_ptr, y_ptr, N, BLOCK: tl.constexpr, TILE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * TILE + tl.arange(0, TILE)
    x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=0.0).to(tl.float32)
    y = 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    tl.store(y_ptr + row * N + columns, y.to(y_ptr.dtype.element_ty), mask=columns < N)


class RowsProblem(Problem):
    dims = ("M", "N")
    M: int = Field(8192, ge=1)
    N: int = Field(16384, ge=1)
    dtype: Literal["fp16", "bf16"] = "bf16"


class BlockConfig(Config):
    BLOCK: Literal[1024, 512] = 1024
    num_warps: Literal[4, 8, 16] = 4


class SmallBlockConfig(Config):
    BLOCK: Literal[128] = 128
    num_warps: Literal[1, 2, 4] = 4


class WarpsConfig(Config):
    num_warps: Literal[1, 2, 4] = 1


class WideRowConfig(Config):
    """The block is the row's length, raised to a power of two."""

    num_warps: Literal[8, 16, 32] = 8


class Rows(SlowKernel):
    """A kernel with one program a row."""

    metric = "gbps"
    problem_type = RowsProblem
    config_type: type[Config] = BlockConfig
    elsewhere = (1000, 5000)
    small = (3, 2500)
    counts_rows = False
    """Whether the kernel is given the number of rows."""
    whole_rows = False
    """Whether its block holds a row."""
    operands = 1

    def inputs(self, problem, generator, device):
        shape = problem.shape()
        return tuple(normal(shape, problem.torch_dtype, generator, device) for _ in range(self.operands))

    def launch(self, problem, config, inputs, out, hardware):
        sizes = problem.shape() if self.counts_rows else (problem.N,)
        more = {"BLOCK": triton.next_power_of_2(problem.N)} if self.whole_rows else {}
        type(self).function[(problem.M,)](*inputs, out, *sizes, **more, **config.model_dump())


class SecondPass(Rows):
    name = "softmax_of_rows"
    habit = "softmax reads each row three times, although it fits into registers"
    function = softmax_in_three
    elsewhere = (500, 40000)
    known = Form(
        softmax_in_one, "the row is read three times: it is kept in registers if it fits, and read twice if not",
        {"WHOLE": (16384,), "TILE": (8192,)},
    )  # fmt: skip

    def eager(self, problem, inputs):
        return torch.softmax(inputs[0], -1)


class SerialReduction(Rows):
    name = "squares_of_rows"
    habit = "each turn of the loop reduces a small block to one number before the next turn"
    function = squares_by_turns
    config_type = SmallBlockConfig
    known = Form(
        squares_at_once, "each turn waits for a reduction: blocks are added, and reduced once at the end",
        {"TILE": (2048, 1024, 4096)},
    )  # fmt: skip

    def default_problem(self):
        """So few rows that programs cannot hide each other's waits: with 8192 the known form gained 3 % on an H200."""
        return RowsProblem(M=1024, N=131072)

    def output(self, problem, device):
        return torch.empty(problem.M, dtype=torch.float32, device=device)

    def eager(self, problem, inputs):
        return inputs[0].to(torch.float64 if inputs[0].dtype == torch.float64 else torch.float32).square().sum(-1)

    def tolerance(self, problem):
        """All terms have one sign: N roundings of fp32 at worst."""
        return (problem.N + 64) * 2.0**-24


class ScalarLoop(Rows):
    name = "dot_of_rows"
    habit = "a dot product goes over single elements"
    function = dot_by_elements
    config_type = WarpsConfig
    operands = 2
    small = (3, 300)
    known = Form(
        dot_by_blocks, "it loads one element at a time: blocks of the row are loaded together", {"TILE": (512, 1024)}
    )

    def default_problem(self):
        return RowsProblem(M=65536, N=512)

    def output(self, problem, device):
        return torch.empty(problem.M, dtype=torch.float32, device=device)

    def eager(self, problem, inputs):
        wide = torch.float64 if inputs[0].dtype == torch.float64 else torch.float32
        x, y = (i.to(wide) for i in inputs)
        return (x * y).sum(-1)

    def tolerance(self, problem):
        """N additions in fp32, of terms that may cancel to a tenth of what is added."""
        return 10 * (problem.N + 64) * 2.0**-24


class SmallRows(Rows):
    name = "norm_of_rows"
    habit = "each program computes one row of 64 elements and ends"
    function = norm_of_one_row
    config_type = WarpsConfig
    counts_rows, whole_rows = True, True
    elsewhere = (3001, 100)
    small = (37, 60)
    known = Form(
        norm_of_many_rows, "programs are short, and most of each is its start: one computes many rows",
        {"ROWS": (32, 16, 64, 128)}, "cdiv(M, ROWS)",
    )  # fmt: skip

    def default_problem(self):
        return RowsProblem(M=1 << 20, N=64)

    def eager(self, problem, inputs):
        (x,) = inputs
        wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class Padding(Rows):
    name = "gelu_of_rows"
    habit = "the block is the row's length raised to a power of two, so that two fifths of its lanes compute nothing"
    function = gelu_of_a_row
    config_type = WideRowConfig
    whole_rows = True
    known = Form(
        gelu_of_a_tile, "the block is far longer than the row: tiles of it waste less than one tile a row",
        {"TILE": (1024, 2048, 512)}, "grid_0, cdiv(N, TILE)",
    )  # fmt: skip

    def default_problem(self):
        return RowsProblem(M=16384, N=9216)

    def eager(self, problem, inputs):
        return torch.nn.functional.gelu(inputs[0])

    def tolerance(self, problem):
        """The result's rounding, and that of ``erf``."""
        return 4 * unit(problem.dtype)
