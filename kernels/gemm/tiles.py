"""Device functions for one tile of a matmul: its position, its product along a range of K, its epilogue, its store.

Names: rows and cols are those of C. A step is BLOCK_K elements of K. WIDE means that element offsets may exceed 31
bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.gemm.config import GemmConfig, cdiv
from kernels.triton.activations import activate

Scales = tuple[torch.Tensor, torch.Tensor]
"""fp32 scales of A (one number or (M,)) and of B (one number or (N,))."""


@triton.jit
def multiply_add(a, b, acc):
    """acc + a @ b in fp32. fp8 operands are accumulated in the tensor core's precision; see ``Gemm.tolerance``."""
    return tl.dot(a, b, acc)


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """`x` (fp32) rounded to nearest even in `dtype`."""
    return x.to(dtype)


@triton.jit
def tile_position(tile, M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr):
    """Row and column (in tiles) of the `tile`-th tile. The order goes down GROUP_M tiles and then to the next column,
    so that tiles that run at the same time share operands in L2."""
    tiles_m = tl.cdiv(M, BLOCK_M)
    group_tiles = GROUP_M * tl.cdiv(N, BLOCK_N)
    first_m = tile // group_tiles * GROUP_M
    rows = min(tiles_m - first_m, GROUP_M)
    within = tile % group_tiles
    return first_m + within % rows, within // rows


@triton.jit
def epilogue(
    acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ROW_SCALES: tl.constexpr, ACTIVATION: tl.constexpr
):
    """act(acc * scales + bias) in fp32. `rows` and `cols` are those of `acc` in C."""
    if a_scale_ptr is not None:
        if ROW_SCALES:
            acc *= tl.load(a_scale_ptr + rows, mask=rows < M, other=0.0)[:, None]
            acc *= tl.load(b_scale_ptr + cols, mask=cols < N, other=0.0)[None, :]
        else:
            acc *= tl.load(a_scale_ptr) * tl.load(b_scale_ptr)
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + cols, mask=cols < N, other=0.0)
        acc += bias.to(tl.float32)[None, :]
    return activate(acc, ACTIVATION)


@triton.jit
def accumulate_pointers(
    a_ptr,
    b_ptr,
    rows,
    cols,
    first,
    last,
    M,
    N,
    K,
    lda,
    ldb,
    B_COL: tl.constexpr,
    EVEN_K: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The sum of the steps `first` to `last` (exclusive) along K of the tile of A @ B at `rows` and `cols`, in fp32.

    Rows and columns past the edge wrap around, so that nothing outside the operands is read and the loop needs no mask
    for them. The store drops their results."""
    index: tl.constexpr = tl.int64 if WIDE else tl.int32
    ks = tl.arange(0, BLOCK_K)
    at = (first * BLOCK_K + ks).to(index)
    a_ptrs = a_ptr + (rows % M)[:, None] * lda + at[None, :]
    if B_COL:
        b_ptrs = b_ptr + at[:, None] + (cols % N)[None, :] * ldb
    else:
        b_ptrs = b_ptr + at[:, None] * ldb + (cols % N)[None, :]

    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(first, last):
        if EVEN_K:
            a = tl.load(a_ptrs)
            b = tl.load(b_ptrs)
        else:
            left = K - k * BLOCK_K
            a = tl.load(a_ptrs, mask=ks[None, :] < left, other=0.0)
            b = tl.load(b_ptrs, mask=ks[:, None] < left, other=0.0)
        acc = multiply_add(a, b, acc)
        a_ptrs += BLOCK_K
        if B_COL:
            b_ptrs += BLOCK_K
        else:
            b_ptrs += tl.full((), BLOCK_K, index) * ldb
    return acc


@triton.jit
def accumulate(
    a_desc,
    b_desc,
    row,
    col,
    first,
    last,
    B_COL: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The sum of the steps `first` to `last` (exclusive) along K of the tile of A @ B at (row, col), in fp32. Loads are
    by descriptor and read zero past every edge."""
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(first, last):
        a = a_desc.load([row, k * BLOCK_K])
        b = b_desc.load([col, k * BLOCK_K]).T if B_COL else b_desc.load([k * BLOCK_K, col])
        acc = multiply_add(a, b, acc)
    return acc


@triton.jit
def store_columns(
    c_desc,
    acc,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    row,
    col,
    M,
    N,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Apply the epilogue and store (HEIGHT, WIDTH) of C from (row, col) on by descriptor. Elements past the edge are
    dropped."""
    rows, cols = row + tl.arange(0, HEIGHT), col + tl.arange(0, WIDTH)
    c = epilogue(acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ROW_SCALES, ACTIVATION)
    c_desc.store([row, col], rounded(c, c_desc.dtype))


@triton.jit
def halves(x, ROWS: tl.constexpr, COLS: tl.constexpr):
    """The left and the right half of the columns of `x` (ROWS, COLS)."""
    return tl.permute(tl.reshape(x, (ROWS, 2, COLS // 2)), (0, 2, 1)).split()


@triton.jit
def store_pieces(
    c_desc,
    acc,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    row,
    col,
    M,
    N,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIECES: tl.constexpr,
):
    """``store_columns`` of (HEIGHT, WIDTH) in PIECES pieces, a power of two, from left to right."""
    if PIECES == 1:
        store_columns(
            c_desc, acc, bias_ptr, a_scale_ptr, b_scale_ptr, row, col, M, N, ROW_SCALES, ACTIVATION, HEIGHT, WIDTH
        )
    else:
        left, right = halves(acc, HEIGHT, WIDTH)
        half: tl.constexpr = WIDTH // 2
        for side in tl.static_range(2):
            store_pieces(
                c_desc,
                left if side == 0 else right,
                bias_ptr,
                a_scale_ptr,
                b_scale_ptr,
                row,
                col + side * half,
                M,
                N,
                ROW_SCALES,
                ACTIVATION,
                HEIGHT,
                half,
                PIECES // 2,
            )


def operand_descriptors(
    a: torch.Tensor, b: torch.Tensor, config: GemmConfig
) -> tuple[TensorDescriptor, TensorDescriptor]:
    """Descriptors of A and of B in its layout in memory."""
    a_desc = TensorDescriptor.from_tensor(a, [config.BLOCK_M, config.BLOCK_K])
    if b.stride(1) != 1:
        return a_desc, TensorDescriptor.from_tensor(b.T, [config.BLOCK_N, config.BLOCK_K])
    return a_desc, TensorDescriptor.from_tensor(b, [config.BLOCK_K, config.BLOCK_N])


def row_scales(scales: Scales | None) -> bool:
    """Whether each row of A and each column of B has its own scale. If there is one row and one column, the two cases
    are the same."""
    return scales is not None and max(s.numel() for s in scales) > 1


def wide(M: int, N: int, K: int, lda: int, ldb: int, ldc: int, b_col: bool, config: GemmConfig) -> bool:
    """Whether an offset that the pointer kernels compute, including padding, may exceed 31 bits."""
    m = cdiv(M, config.BLOCK_M) * config.BLOCK_M
    n = cdiv(N, config.BLOCK_N) * config.BLOCK_N
    k = cdiv(K, config.BLOCK_K) * config.BLOCK_K
    last = max(m * lda + k, n * ldb + k if b_col else k * ldb + n, m * ldc + n)
    return last >= 2**31
