# ruff: noqa: E501, C408
"""Kernels with arguments for a launch, for edits that are launched in Triton's interpreter and compiled.

Taken from Triton's tutorials (vector addition, matrix multiplication, dropout) or written for this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.editing.argument_values import values_of
from kernels.editing.owner_function import OwnerFunction, owner_of


@triton.jit
def rowsum(x_ptr, y_ptr, n_rows, n_cols, stride, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)
        total += x.to(tl.float32)
    tl.store(y_ptr + row, tl.sum(total, axis=0))


@triton.jit
def add_kernel(x_ptr, y_ptr, output_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    pid = tl.program_id(axis=0)
    block_start = pid * BLOCK_SIZE
    offsets = block_start + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    output = x + y
    tl.store(output_ptr + offsets, output, mask=mask)


@triton.jit
def leaky_relu(x):
    return tl.where(x >= 0, x, 0.01 * x)


@triton.jit
def matmul_kernel(
    a_ptr, b_ptr, c_ptr, M, N, K, stride_am, stride_ak, stride_bk, stride_bn, stride_cm, stride_cn,
    BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
    GROUP_SIZE_M: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(axis=0)
    num_pid_m = tl.cdiv(M, BLOCK_SIZE_M)
    num_pid_n = tl.cdiv(N, BLOCK_SIZE_N)
    num_pid_in_group = GROUP_SIZE_M * num_pid_n
    group_id = pid // num_pid_in_group
    first_pid_m = group_id * GROUP_SIZE_M
    group_size_m = min(num_pid_m - first_pid_m, GROUP_SIZE_M)
    pid_m = first_pid_m + ((pid % num_pid_in_group) % group_size_m)
    pid_n = (pid % num_pid_in_group) // group_size_m
    offs_am = (pid_m * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)) % M
    offs_bn = (pid_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)) % N
    offs_am = tl.max_contiguous(tl.multiple_of(offs_am, BLOCK_SIZE_M), BLOCK_SIZE_M)
    offs_k = tl.arange(0, BLOCK_SIZE_K)
    a_ptrs = a_ptr + (offs_am[:, None] * stride_am + offs_k[None, :] * stride_ak)
    b_ptrs = b_ptr + (offs_k[:, None] * stride_bk + offs_bn[None, :] * stride_bn)
    accumulator = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BLOCK_SIZE_K)):
        a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_SIZE_K, other=0.0)
        b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_SIZE_K, other=0.0)
        accumulator = tl.dot(a, b, accumulator)
        a_ptrs += BLOCK_SIZE_K * stride_ak
        b_ptrs += BLOCK_SIZE_K * stride_bk
    if ACTIVATION == "leaky_relu":
        accumulator = leaky_relu(accumulator)
    c = accumulator.to(tl.float16)
    offs_cm = pid_m * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    offs_cn = pid_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    c_ptrs = c_ptr + stride_cm * offs_cm[:, None] + stride_cn * offs_cn[None, :]
    c_mask = (offs_cm[:, None] < M) & (offs_cn[None, :] < N)
    tl.store(c_ptrs, c, mask=c_mask)


@triton.jit
def _seeded_dropout(x_ptr, output_ptr, n_elements, p, seed, BLOCK_SIZE: tl.constexpr):
    pid = tl.program_id(axis=0)
    block_start = pid * BLOCK_SIZE
    offsets = block_start + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    random = tl.rand(seed, offsets)
    x_keep = random > p
    output = tl.where(x_keep, x / (1 - p), 0.0)
    tl.store(output_ptr + offsets, output, mask=mask)


@triton.jit
def argmax_row(x_ptr, out_ptr, val_ptr, stride, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    best = -float("inf")
    at = 0
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=-float("inf"))
        top = tl.max(x, axis=0)
        where = tl.argmax(x, axis=0)
        at = tl.where(top > best, start + where, at)
        best = tl.maximum(best, top)
    tl.store(out_ptr + row, at)
    tl.store(val_ptr + row, best)


@triton.jit
def linear_scan(x_ptr, g_ptr, y_ptr, T, D, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr):
    d = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    h = tl.zeros((BLOCK_D,), dtype=tl.float32)
    for t in range(0, T):
        x = tl.load(x_ptr + t * D + d, mask=d < D, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + t * D + d, mask=d < D, other=0.0).to(tl.float32)
        h = g * h + x
        tl.store(y_ptr + t * D + d, h, mask=d < D)


@triton.jit
def unpack4(packed_ptr, scale_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(packed_ptr + offs // 8, mask=offs < n, other=0)
    shift = (offs % 8) * 4
    v = (word >> shift) & 0xF
    s = tl.load(scale_ptr + offs // 32, mask=offs < n, other=0.0)
    tl.store(out_ptr + offs, (v - 8) * s, mask=offs < n)


@triton.jit
def transpose(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr):
    m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = (m[:, None] < M) & (n[None, :] < N)
    x = tl.load(x_ptr + m[:, None] * N + n[None, :], mask=mask)
    tl.store(y_ptr + n[None, :] * M + m[:, None], x, mask=mask)


@triton.jit
def rotary(x_ptr, cos_ptr, sin_ptr, y_ptr, D: tl.constexpr, HALF: tl.constexpr, INTERLEAVED: tl.constexpr = False):
    row = tl.program_id(0)
    half = tl.arange(0, HALF)
    c = tl.load(cos_ptr + row * HALF + half)
    s = tl.load(sin_ptr + row * HALF + half)
    if INTERLEAVED:
        a = tl.load(x_ptr + row * D + 2 * half)
        b = tl.load(x_ptr + row * D + 2 * half + 1)
        tl.store(y_ptr + row * D + 2 * half, a * c - b * s)
        tl.store(y_ptr + row * D + 2 * half + 1, a * s + b * c)
    else:
        a = tl.load(x_ptr + row * D + half)
        b = tl.load(x_ptr + row * D + HALF + half)
        tl.store(y_ptr + row * D + half, a * c - b * s)
        tl.store(y_ptr + row * D + HALF + half, a * s + b * c)


@triton.jit
def histo(x_ptr, out_ptr, n, BINS: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    bins = tl.zeros((BINS,), dtype=tl.int32)
    for i in range(0, n, BLOCK):
        x = tl.load(x_ptr + i + offs, mask=i + offs < n, other=-1)
        bins += tl.sum((x[:, None] == tl.arange(0, BINS)[None, :]).to(tl.int32), axis=0)
    tl.store(out_ptr + tl.arange(0, BINS), bins)


@dataclass(frozen=True)
class LaunchedKernel:
    """A kernel with the launch that its edits are held against."""

    function: Any
    arguments: Callable[[], dict[str, Any]]
    """By name; drawn anew from the same seed for each launch."""
    grid: Any


def owner_of_launch(kernel: LaunchedKernel) -> OwnerFunction:
    """Its function as an edit of it sees it."""
    parameters = owner_of(kernel.function, {}).part["parameters"]
    constants = {p["name"] for p in parameters if p["constexpr"]}
    return owner_of(kernel.function, values_of(kernel.function, kernel.arguments(), constants))


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def words(below: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32)


HALF = torch.float16
KERNELS = {
    "ROWSUM": LaunchedKernel(
        rowsum,
        lambda: dict(
            x_ptr=drawn(5, 700), y_ptr=torch.zeros(5), n_rows=5, n_cols=700, stride=700, BLOCK=128
        ), (5,),
    ),
    "ADD": LaunchedKernel(
        add_kernel,
        lambda: dict(x_ptr=drawn(2999), y_ptr=drawn(1, 2999), output_ptr=torch.zeros(2999), n_elements=2999, BLOCK_SIZE=256),
        lambda meta: (triton.cdiv(meta["n_elements"], meta["BLOCK_SIZE"]),),
    ),
    "MATMUL": LaunchedKernel(
        matmul_kernel,
        lambda: dict(
            a_ptr=drawn(72, 48, dtype=HALF), b_ptr=drawn(48, 80, dtype=HALF), c_ptr=torch.zeros(72, 80, dtype=HALF),
            M=72, N=80, K=48, stride_am=48, stride_ak=1, stride_bk=80, stride_bn=1, stride_cm=80, stride_cn=1,
            BLOCK_SIZE_M=32, BLOCK_SIZE_N=32, BLOCK_SIZE_K=16, GROUP_SIZE_M=2, ACTIVATION="leaky_relu",
        ), (9,),
    ),
    "DROPOUT": LaunchedKernel(
        _seeded_dropout,
        lambda: dict(x_ptr=drawn(1000), output_ptr=torch.zeros(1000), n_elements=1000, p=0.3, seed=123, BLOCK_SIZE=256),
        (4,),
    ),
    "ARGMAX": LaunchedKernel(
        argmax_row,
        lambda: dict(
            x_ptr=drawn(4, 500), out_ptr=torch.zeros(4, dtype=torch.int32), val_ptr=torch.zeros(4), stride=500,
            n_cols=500, BLOCK=128,
        ), (4,),
    ),
    "SCAN": LaunchedKernel(
        linear_scan,
        lambda: dict(
            x_ptr=drawn(32, 40), g_ptr=drawn(32, 40).sigmoid(), y_ptr=torch.zeros(32, 40), T=32, D=40, BLOCK_T=16,
            BLOCK_D=16,
        ), (3,),
    ),
    "UNPACK": LaunchedKernel(
        unpack4,
        lambda: dict(packed_ptr=words(2**31 - 1, 128), scale_ptr=drawn(32), out_ptr=torch.zeros(1024), n=1024, BLOCK=256),
        (4,),
    ),
    "TRANSPOSE": LaunchedKernel(
        transpose, lambda: dict(x_ptr=drawn(40, 52), y_ptr=torch.zeros(52, 40), M=40, N=52, BLOCK=16), (3, 4)
    ),
    "ROTARY": LaunchedKernel(
        rotary,
        lambda: dict(
            x_ptr=drawn(6, 64), cos_ptr=drawn(6, 32), sin_ptr=drawn(7, 32), y_ptr=torch.zeros(6, 64), D=64, HALF=32
        ), (6,),
    ),
    "HISTO": LaunchedKernel(
        histo,
        lambda: dict(x_ptr=words(16, 300), out_ptr=torch.zeros(16, dtype=torch.int32), n=300, BINS=16, BLOCK=64),
        (1,),
    ),
}  # fmt: skip
"""By name. Arguments with a default are left out: a launch need not give them."""
