"""Attention that computes what its mask drops."""

from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl
from pydantic import Field

from kernels.defaults import normal, unit
from kernels.slow_kernels.slow_kernel import Form, SlowKernel
from kernels.spec import Config, Problem

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)


@triton.jit
def causal(
    q_ptr, k_ptr, v_ptr, out_ptr, S, scale, DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    base = tl.program_id(1).to(tl.int64) * S * DIM
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    dims = tl.arange(0, DIM)
    places = base + rows[:, None] * DIM + dims[None, :]
    q = tl.load(q_ptr + places, mask=(rows < S)[:, None], other=0.0)
    high = tl.full((BLOCK_M,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK_M,), dtype=tl.float32)
    acc = tl.zeros((BLOCK_M, DIM), dtype=tl.float32)
    for start in range(0, S, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        there = base + keys[:, None] * DIM + dims[None, :]
        k = tl.load(k_ptr + there, mask=(keys < S)[:, None], other=0.0)
        v = tl.load(v_ptr + there, mask=(keys < S)[:, None], other=0.0)
        scores = tl.dot(q, tl.trans(k)) * (scale * LOG2_E)
        scores = tl.where((keys[None, :] <= rows[:, None]) & (keys < S)[None, :], scores, float("-inf"))
        higher = tl.maximum(high, tl.max(scores, 1))
        p = tl.exp2(scores - higher[:, None])
        shrink = tl.exp2(high - higher)
        total = total * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None])
        high = higher
    tl.store(out_ptr + places, (acc / total[:, None]).to(q.dtype), mask=(rows < S)[:, None])


@triton.jit
def causal_to_the_diagonal(
    q_ptr, k_ptr, v_ptr, out_ptr, S, scale, DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    base = tl.program_id(1).to(tl.int64) * S * DIM
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    dims = tl.arange(0, DIM)
    places = base + rows[:, None] * DIM + dims[None, :]
    q = tl.load(q_ptr + places, mask=(rows < S)[:, None], other=0.0)
    high = tl.full((BLOCK_M,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK_M,), dtype=tl.float32)
    acc = tl.zeros((BLOCK_M, DIM), dtype=tl.float32)
    for start in range(0, min(S, (tl.program_id(0) + 1) * BLOCK_M), BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        there = base + keys[:, None] * DIM + dims[None, :]
        k = tl.load(k_ptr + there, mask=(keys < S)[:, None], other=0.0)
        v = tl.load(v_ptr + there, mask=(keys < S)[:, None], other=0.0)
        scores = tl.dot(q, tl.trans(k)) * (scale * LOG2_E)
        scores = tl.where((keys[None, :] <= rows[:, None]) & (keys < S)[None, :], scores, float("-inf"))
        higher = tl.maximum(high, tl.max(scores, 1))
        p = tl.exp2(scores - higher[:, None])
        shrink = tl.exp2(high - higher)
        total = total * shrink + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None])
        high = higher
    tl.store(out_ptr + places, (acc / total[:, None]).to(q.dtype), mask=(rows < S)[:, None])


class CausalProblem(Problem):
    dims = ("H", "S")
    H: int = Field(32, ge=1)
    S: int = Field(4096, ge=1)
    dtype: Literal["fp16", "bf16"] = "bf16"


class CausalConfig(Config):
    BLOCK_M: Literal[64, 128] = 64
    BLOCK_N: Literal[64] = 64
    num_warps: Literal[4, 8] = 4
    num_stages: Literal[2, 3] = 3


class MaskedWork(SlowKernel):
    name = "causal_attention"
    habit = "causal attention goes over all keys and then drops those behind the diagonal"
    metric = "tflops"
    problem_type = CausalProblem
    config_type = CausalConfig
    function = causal
    elsewhere = (8, 3000)
    small = (2, 200)
    known = Form(causal_to_the_diagonal, "half of the products are masked away: the loop can end at the diagonal")

    DIM = 64

    def inputs(self, problem, generator, device):
        shape = (problem.H, problem.S, self.DIM)
        return tuple(normal(shape, problem.torch_dtype, generator, device) for _ in range(3))

    def launch(self, problem, config, inputs, out, hardware):
        grid = (triton.cdiv(problem.S, config.BLOCK_M), problem.H)
        causal[grid](*inputs, out, problem.S, self.DIM**-0.5, DIM=self.DIM, **config.model_dump())

    def eager(self, problem, inputs):
        q, k, v = (x[None] for x in inputs)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0]

    def tolerance(self, problem):
        """Roundings of the probabilities and of the result, twice each for eager's own order."""
        return 6 * unit(problem.dtype)

    def flops(self, problem):
        return 2 * problem.H * problem.S * (problem.S + 1) * self.DIM
