"""Kernels of which a faster form is not to be had, or that tempt to one that is wrong."""

from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl
from pydantic import Field

from kernels.defaults import normal
from kernels.slow_kernels.rows import BlockConfig, Rows, RowsProblem
from kernels.slow_kernels.slow_kernel import Form, SlowKernel
from kernels.spec import Config, Problem


@triton.jit
def add(x_ptr, y_ptr, out_ptr, N, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + places, mask=places < N).to(tl.float32)
    y = tl.load(y_ptr + places, mask=places < N).to(tl.float32)
    tl.store(out_ptr + places, (x + y).to(out_ptr.dtype.element_ty), mask=places < N)


@triton.jit
def add_in_halves(x_ptr, y_ptr, out_ptr, N, BLOCK: tl.constexpr):
    for half in tl.static_range(2):
        places = tl.program_id(0).to(tl.int64) * BLOCK + half * (BLOCK // 2) + tl.arange(0, BLOCK // 2)
        x = tl.load(x_ptr + places, mask=places < N).to(tl.float32)
        y = tl.load(y_ptr + places, mask=places < N).to(tl.float32)
        tl.store(out_ptr + places, (x + y).to(out_ptr.dtype.element_ty), mask=places < N)


@triton.jit
def log_sum_exp(x_ptr, out_ptr, N, BLOCK: tl.constexpr):
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
    result = highest + tl.log(tl.sum(total, 0))
    tl.store(out_ptr + tl.program_id(0), tl.where(tl.abs(highest) == float("inf"), highest, result))


@triton.jit
def log_sum_exp_without_maximum(x_ptr, out_ptr, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * N
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, N, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + columns, mask=columns < N, other=float("-inf")).to(tl.float32)
        total += tl.exp(x)
    tl.store(out_ptr + tl.program_id(0), tl.log(tl.sum(total, 0)))


@triton.jit
def scale_by_length(x_ptr, y_ptr, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * N
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, N, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + columns, mask=columns < N, other=0.0).to(tl.float32)
        total += x * x
    scale = tl.rsqrt(tl.sum(total, 0) + 1e-12)
    for start in range(0, N, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + columns, mask=columns < N, other=0.0).to(tl.float32)
        tl.store(y_ptr + row + columns, (x * scale).to(y_ptr.dtype.element_ty), mask=columns < N)


@triton.jit
def scale_by_length_of_4096(x_ptr, y_ptr, N, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * N
    columns = tl.arange(0, 4096)
    x = tl.load(x_ptr + row + columns, mask=columns < N, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, 0) + 1e-12)
    tl.store(y_ptr + row + columns, (x * scale).to(y_ptr.dtype.element_ty), mask=columns < N)


class AddProblem(Problem):
    dims = ("N",)
    N: int = Field(1 << 27, ge=1)
    dtype: Literal["fp16", "bf16"] = "bf16"


class AddConfig(Config):
    BLOCK: Literal[1024, 2048, 4096, 8192] = 2048
    num_warps: Literal[4, 8] = 4


class NothingBetter(SlowKernel):
    name = "sum_of_arrays"
    habit = "it adds two arrays at the speed of the memory, and nothing is to be gained"
    metric = "gbps"
    problem_type = AddProblem
    config_type = AddConfig
    function = add
    elsewhere = ((1 << 25) + 3,)
    small = (9000,)
    tempting = Form(add_in_halves, "two loads of each operand are under way in each program")

    def inputs(self, problem, generator, device):
        return tuple(normal(problem.shape(), problem.torch_dtype, generator, device) for _ in range(2))

    def launch(self, problem, config, inputs, out, hardware):
        add[(triton.cdiv(problem.N, config.BLOCK),)](*inputs, out, problem.N, **config.model_dump())

    def eager(self, problem, inputs):
        x, y = inputs
        return x + y


class WrongOnLargeInputs(Rows):
    name = "log_sum_exp_of_rows"
    habit = "without the pass for the maximum the sum of exponentials is faster, and overflows on large inputs"
    function = log_sum_exp
    config_type = BlockConfig
    elsewhere = (500, 40000)
    tempting = Form(log_sum_exp_without_maximum, "the first pass over the row is not needed for inputs near zero")

    def output(self, problem, device):
        return torch.empty(problem.M, dtype=torch.float32, device=device)

    def eager(self, problem, inputs):
        (x,) = inputs
        return torch.logsumexp(x if x.dtype == torch.float64 else x.float(), -1)

    def tolerance(self, problem):
        """The logarithm of a sum of N terms of one sign, and its sum with the maximum."""
        return (problem.N + 64) * 2.0**-24


class WrongElsewhere(Rows):
    name = "unit_rows"
    habit = "one block of 4096 elements is faster at rows of 4096, and leaves the rest of longer rows out"
    function = scale_by_length
    config_type = BlockConfig
    elsewhere = (500, 20000)
    small = (3, 2500)
    tempting = Form(scale_by_length_of_4096, "the row is read twice: one block holds it")

    def default_problem(self):
        return RowsProblem(M=32768, N=4096)

    def eager(self, problem, inputs):
        (x,) = inputs
        wide = x if x.dtype == torch.float64 else x.float()
        return (wide * torch.rsqrt(wide.square().sum(-1, keepdim=True) + 1e-12)).to(x.dtype)
