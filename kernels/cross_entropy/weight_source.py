"""Triton source of the weight's gradient: dweight (N, K) = dlogits (M, N)^T @ x (M, K), or that added to dweight.

dlogits is read along its rows and transposed on the way to the matrix unit, so no transposed copy of it is made."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.gemm.tiles import halves, multiply_add, rounded, tile_position


@triton.jit
def store_sum(
    out_desc,
    acc,
    row,
    col,
    ADD: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIECES: tl.constexpr,
):
    """Store `acc` (HEIGHT, WIDTH) by descriptor in PIECES pieces from left to right, with ADD on top of what is there.
    Elements past the edge are dropped."""
    if PIECES == 1:
        if ADD:
            acc += out_desc.load([row, col]).to(tl.float32)
        out_desc.store([row, col], rounded(acc, out_desc.dtype))
    else:
        left, right = halves(acc, HEIGHT, WIDTH)
        half: tl.constexpr = WIDTH // 2
        for side in tl.static_range(2):
            piece = left if side == 0 else right
            store_sum(out_desc, piece, row, col + side * half, ADD, HEIGHT, half, PIECES // 2)


@triton.jit
def weight_gradient_tma(
    grad_desc,
    x_desc,
    out_desc,
    M,
    N,
    K,
    ADD: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    GROUP: tl.constexpr,
    PIECES: tl.constexpr,
    PERSISTENT: tl.constexpr,
):
    """PROGRAMS programs, each of which takes every PROGRAMS-th tile (BLOCK_N, BLOCK_K) of the result and walks over M
    in steps of BLOCK_M. Loads and stores are by descriptor."""
    tiles = tl.cdiv(N, BLOCK_N) * tl.cdiv(K, BLOCK_K)
    done = tl.program_id(0) - PROGRAMS
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=PERSISTENT):
        tile_n, tile_k = tile_position(tile, N, K, BLOCK_N, BLOCK_K, GROUP)
        acc = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
        for step in range(0, tl.cdiv(M, BLOCK_M)):
            grad = grad_desc.load([step * BLOCK_M, tile_n * BLOCK_N])
            x = x_desc.load([step * BLOCK_M, tile_k * BLOCK_K])
            acc = multiply_add(grad.T, x, acc)
        # As in gemm_persistent_tma, the epilogue computes its own position.
        done += PROGRAMS
        tile_n, tile_k = tile_position(done, N, K, BLOCK_N, BLOCK_K, GROUP)
        store_sum(out_desc, acc, tile_n * BLOCK_N, tile_k * BLOCK_K, ADD, BLOCK_N, BLOCK_K, PIECES)


@triton.jit
def weight_gradient_pointer(
    grad_ptr,
    x_ptr,
    out_ptr,
    M,
    N,
    K,
    stride,
    ADD: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    GROUP: tl.constexpr,
):
    """One program per tile of the result. `stride` is that of the rows of grad."""
    tile_n, tile_k = tile_position(tl.program_id(0), N, K, BLOCK_N, BLOCK_K, GROUP)
    cols_n = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    cols_k = tile_k * BLOCK_K + tl.arange(0, BLOCK_K)
    acc = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    for step in range(0, tl.cdiv(M, BLOCK_M)):
        rows = (step * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)[:, None]
        grad = tl.load(grad_ptr + rows * stride + cols_n[None, :], mask=(rows < M) & (cols_n[None, :] < N), other=0.0)
        x = tl.load(x_ptr + rows * K + cols_k[None, :], mask=(rows < M) & (cols_k[None, :] < K), other=0.0)
        acc = multiply_add(tl.trans(grad), x, acc)
    at = cols_n.to(tl.int64)[:, None] * K + cols_k[None, :]
    inside = (cols_n[:, None] < N) & (cols_k[None, :] < K)
    if ADD:
        acc += tl.load(out_ptr + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, rounded(acc, out_ptr.dtype.element_ty), mask=inside)
