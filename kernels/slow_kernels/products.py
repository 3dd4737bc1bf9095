"""Slow matrix products: C = A B."""

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
def load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, BLOCK_K: tl.constexpr):
    inner = k + tl.arange(0, BLOCK_K)
    a_mask = (rows < M)[:, None] & (inner < K)[None, :]
    b_mask = (inner < K)[:, None] & (columns < N)[None, :]
    a = tl.load(a_ptr + rows.to(tl.int64)[:, None] * K + inner[None, :], mask=a_mask, other=0.0)
    b = tl.load(b_ptr + inner.to(tl.int64)[:, None] * N + columns[None, :], mask=b_mask, other=0.0)
    return a, b


@triton.jit
def store_tile(c_ptr, acc, rows, columns, M, N):
    c_mask = (rows < M)[:, None] & (columns < N)[None, :]
    tl.store(c_ptr + rows.to(tl.int64)[:, None] * N + columns[None, :], acc.to(c_ptr.dtype.element_ty), mask=c_mask)


@triton.jit
def rows_of_tiles(a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    program = tl.program_id(0)
    tiles = tl.cdiv(N, BLOCK_N)
    rows = program // tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = program % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, K, BLOCK_K):
        a, b = load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, BLOCK_K)
        acc = tl.dot(a, b, acc)
    store_tile(c_ptr, acc, rows, columns, M, N)


@triton.jit
def groups_of_tiles(
    a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    tiles = tl.cdiv(N, BLOCK_N)
    first = program // (GROUP * tiles) * GROUP
    tall = min(tl.cdiv(M, BLOCK_M) - first, GROUP)
    within = program % (GROUP * tiles)
    rows = (first + within % tall) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = within // tall * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, K, BLOCK_K):
        a, b = load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, BLOCK_K)
        acc = tl.dot(a, b, acc)
    store_tile(c_ptr, acc, rows, columns, M, N)


@triton.jit
def wide_tiles(a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    program = tl.program_id(0)
    tiles = tl.cdiv(M, BLOCK_M)
    rows = program % tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = program // tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, K, BLOCK_K):
        a, b = load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, BLOCK_K)
        acc = tl.dot(a.to(tl.float32), b.to(tl.float32), acc)
    store_tile(c_ptr, acc, rows, columns, M, N)


@triton.jit
def narrow_tiles(a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    program = tl.program_id(0)
    tiles = tl.cdiv(M, BLOCK_M)
    rows = program % tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = program // tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, K, BLOCK_K):
        a, b = load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, BLOCK_K)
        acc = tl.dot(a, b, acc)
    store_tile(c_ptr, acc, rows, columns, M, N)


@triton.jit
def single_stage(a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    program = tl.program_id(0)
    tiles = tl.cdiv(M, BLOCK_M)
    rows = program % tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = program // tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in tl.range(0, K, BLOCK_K, num_stages=1):
        a, b = load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, BLOCK_K)
        acc = tl.dot(a, b, acc)
    store_tile(c_ptr, acc, rows, columns, M, N)


@triton.jit
def many_programs(
    a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    tiles = tl.cdiv(N, TILE_N)
    rows = program // tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = program % tiles * TILE_N + tl.arange(0, TILE_N)
    acc = tl.zeros((BLOCK_M, TILE_N), dtype=tl.float32)
    for k in range(0, K, TILE_K):
        a, b = load_tiles(a_ptr, b_ptr, rows, columns, k, M, N, K, TILE_K)
        acc = tl.dot(a, b, acc)
    store_tile(c_ptr, acc, rows, columns, M, N)


class ProductProblem(Problem):
    dims = ("M", "N", "K")
    M: int = Field(4096, ge=1)
    N: int = Field(4096, ge=1)
    K: int = Field(4096, ge=1)
    dtype: Literal["fp16", "bf16"] = "bf16"


class ProductConfig(Config):
    BLOCK_M: Literal[128] = 128
    BLOCK_N: Literal[128, 256] = 128
    BLOCK_K: Literal[64] = 64
    num_warps: Literal[4, 8] = 8
    num_stages: Literal[3, 4] = 3


class Product(SlowKernel):
    metric = "tflops"
    problem_type = ProductProblem
    config_type: type[Config] = ProductConfig
    small = (70, 260, 200)

    def inputs(self, problem, generator, device):
        a = normal((problem.M, problem.K), problem.torch_dtype, generator, device)
        return a, normal((problem.K, problem.N), problem.torch_dtype, generator, device)

    def launch(self, problem, config, inputs, out, hardware):
        grid = (triton.cdiv(problem.M, config.BLOCK_M) * triton.cdiv(problem.N, config.BLOCK_N),)
        type(self).function[grid](*inputs, out, problem.M, problem.N, problem.K, **config.model_dump())

    def eager(self, problem, inputs):
        a, b = inputs
        return torch.matmul(a, b)

    def tolerance(self, problem):
        """The result's rounding, three more, and K additions in fp32 whose roundings are independent."""
        return 4 * unit(problem.dtype) + 4 * problem.K**0.5 * 2.0**-24

    def flops(self, problem):
        return 2 * problem.M * problem.N * problem.K


class Unswizzled(Product):
    name = "product_1"
    habit = "programs that run at once share a row of A and read all of B, which the L2 does not hold"
    function = rows_of_tiles
    elsewhere = (3000, 16384, 4096)
    known = Form(
        groups_of_tiles, "each wave of programs reads all of B: groups of tiles share both operands",
        {"GROUP": (8, 4, 16)},
    )  # fmt: skip

    def default_problem(self):
        return ProductProblem(M=4096, N=16384, K=4096)


class WideTiles(Product):
    name = "product_2"
    habit = "bf16 tiles are raised to fp32 before they are multiplied"
    function = wide_tiles
    elsewhere = (3000, 4096, 2048)
    known = Form(narrow_tiles, "products of bf16 are exact in fp32 accumulators: no cast to fp32 is needed")


class SingleStage(Product):
    name = "product_3"
    habit = "the loop over K has one stage, so that each product waits for its loads"
    function = single_stage
    elsewhere = (3000, 4096, 2048)
    known = Form(narrow_tiles, "each product waits for its loads: with the launch's stages they are under way before")


class ThinConfig(Config):
    BLOCK_M: Literal[16] = 16
    BLOCK_N: Literal[256] = 256
    BLOCK_K: Literal[64] = 64
    num_warps: Literal[4, 8] = 4
    num_stages: Literal[3, 4, 5] = 3


class FewPrograms(Product):
    name = "product_4"
    habit = "a product of 16 rows has as many programs as it has wide tiles, far fewer than the GPU runs at once"
    function = rows_of_tiles
    config_type = ThinConfig
    elsewhere = (16, 8192, 4096)
    small = (16, 300, 200)
    known = Form(
        many_programs, "16 programs cannot fill the GPU: narrower tiles make more of them",
        {"TILE_N": (32, 16, 64), "TILE_K": (128, 256)}, "cdiv(M, BLOCK_M) * cdiv(N, TILE_N)",
    )  # fmt: skip

    def default_problem(self):
        return ProductProblem(M=16, N=4096, K=16384)
