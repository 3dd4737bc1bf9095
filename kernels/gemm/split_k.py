"""Family ``split_k`` of the matmul kernels: SPLIT_K programs share the K range of one tile.

A product with few tiles and a long K leaves SMs idle, or needs tiles so narrow that A is read many times. Here each
program writes the fp32 sum of its share of K to a workspace. A second kernel adds the shares and applies the epilogue.
It adds in a fixed order, so that equal inputs give equal bits.

The alternative to a second kernel is a counter that tells the last program of a tile that it is the last. A counter
must be zero before every launch, on every stream and in every CUDA graph. It must either persist between launches or be
cleared, which takes as long as the second kernel. On Hopper and later the launch of the second kernel overlaps the
first kernel (programmatic dependent launch), and its programs wait for the first kernel's results.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents

from kernels.gemm.space import GemmConfig, cdiv, programs
from kernels.gemm.tiles import (
    Scales,
    accumulate,
    accumulate_pointers,
    epilogue,
    operand_descriptors,
    rounded,
    row_scales,
    tile_position,
    wide,
)
from kernels.hardware import Hardware
from kernels.triton import overlap
from kernels.triton.activations import Activation
from kernels.triton.overlap import inputs_ready

SUM_ELEMENTS = 1024
"""Elements of C that one program of the second kernel sums."""


@triton.jit
def share_position(
    M,
    N,
    K,
    SPLIT_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """(share, tile row, tile column, first step, last step) of this program. Programs of one share have consecutive
    numbers, so that programs that run at the same time read the same part of A."""
    tiles = tl.cdiv(M, BLOCK_M) * tl.cdiv(N, BLOCK_N)
    share = tl.program_id(0) // tiles
    pid_m, pid_n = tile_position(tl.program_id(0) % tiles, M, N, BLOCK_M, BLOCK_N, GROUP_M)
    steps = tl.cdiv(K, BLOCK_K)
    return share, pid_m, pid_n, share * steps // SPLIT_K, (share + 1) * steps // SPLIT_K


@triton.jit
def store_share(shares_ptr, acc, share, rows, cols, M, N):
    """Store `acc` at `rows` and `cols` of this share's (M, N) in the workspace (SPLIT_K, M, N)."""
    inside = (rows[:, None] < M) & (cols[None, :] < N)
    at = (share.to(tl.int64) * M + rows[:, None]) * N + cols[None, :]
    tl.store(shares_ptr + at, acc, mask=inside)


@triton.jit
def store_result(
    c_ptr,
    acc,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    rows,
    cols,
    M,
    N,
    ldc,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Apply the epilogue to `acc` and store it by pointers at `rows` and `cols` of C. Elements past the edge are
    dropped."""
    c = epilogue(acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ROW_SCALES, ACTIVATION)
    inside = (rows[:, None] < M) & (cols[None, :] < N)
    c_at = rows[:, None].to(tl.int64) * ldc + cols[None, :]
    tl.store(c_ptr + c_at, rounded(c, c_ptr.dtype.element_ty), mask=inside)


@triton.jit
def split_k_pointer(
    a_ptr,
    b_ptr,
    shares_ptr,
    M,
    N,
    K,
    lda,
    ldb,
    B_COL: tl.constexpr,
    EVEN_K: tl.constexpr,
    WIDE: tl.constexpr,
    SPLIT_K: tl.constexpr,
    OVERLAP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One program per tile and share, by pointer loads."""
    if OVERLAP:
        gdc_launch_dependents()
    share, pid_m, pid_n, first, last = share_position(M, N, K, SPLIT_K, BLOCK_M, BLOCK_N, BLOCK_K, GROUP_M)
    index: tl.constexpr = tl.int64 if WIDE else tl.int32
    rows = (pid_m * BLOCK_M + tl.arange(0, BLOCK_M)).to(index)
    cols = (pid_n * BLOCK_N + tl.arange(0, BLOCK_N)).to(index)
    acc = accumulate_pointers(
        a_ptr, b_ptr, rows, cols, first, last, M, N, K, lda, ldb, B_COL, EVEN_K, WIDE, BLOCK_M, BLOCK_N, BLOCK_K
    )
    store_share(shares_ptr, acc, share, rows, cols, M, N)


@triton.jit
def split_k_tma(
    a_desc,
    b_desc,
    shares_ptr,
    M,
    N,
    K,
    B_COL: tl.constexpr,
    SPLIT_K: tl.constexpr,
    OVERLAP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One program per tile and share, by descriptor loads."""
    if OVERLAP:
        gdc_launch_dependents()
    share, pid_m, pid_n, first, last = share_position(M, N, K, SPLIT_K, BLOCK_M, BLOCK_N, BLOCK_K, GROUP_M)
    row, col = pid_m * BLOCK_M, pid_n * BLOCK_N
    acc = accumulate(a_desc, b_desc, row, col, first, last, B_COL, BLOCK_M, BLOCK_N, BLOCK_K)
    store_share(shares_ptr, acc, share, row + tl.arange(0, BLOCK_M), col + tl.arange(0, BLOCK_N), M, N)


@triton.jit
def sum_shares(
    shares_ptr,
    c_ptr,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    ldc,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    SPLIT_K: tl.constexpr,
    OVERLAP: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    """Compute C (M, N) from the shares, in the order of K. One program computes (ROWS, COLS)."""
    inputs_ready(OVERLAP)
    across = tl.cdiv(N, COLS)
    rows = tl.program_id(0) // across * ROWS + tl.arange(0, ROWS)
    cols = tl.program_id(0) % across * COLS + tl.arange(0, COLS)
    inside = (rows[:, None] < M) & (cols[None, :] < N)
    at = rows[:, None].to(tl.int64) * N + cols[None, :]
    acc = tl.zeros((ROWS, COLS), dtype=tl.float32)
    for share in tl.static_range(SPLIT_K):
        start = tl.full((), share, tl.int64) * M * N
        acc += tl.load(shares_ptr + start + at, mask=inside, other=0.0)
    store_result(c_ptr, acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ldc, ROW_SCALES, ACTIVATION)


def by_descriptors(a: torch.Tensor, b: torch.Tensor, hardware: Hardware) -> bool:
    """Whether hardware and row lengths allow descriptor loads of A and of B in its layout in memory."""
    rows = (a.stride(0), b.stride(1) if b.stride(1) != 1 else b.stride(0))
    return hardware.has_tma and all(stride * a.element_size() % 16 == 0 for stride in rows)


def launch(
    a: torch.Tensor,
    b: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    activation: Activation,
    config: GemmConfig,
    hardware: Hardware,
    scales: Scales | None,
) -> None:
    """Launch one ``split_k`` config once and write `out`. Arguments are those of ``kernels.gemm.launch.launch_gemm``.

    The workspace comes from the caching allocator. It belongs to this launch's stream, or to the CUDA graph that
    records the launch."""
    (M, K), N = a.shape, b.shape[1]
    b_col = b.stride(1) != 1
    lda, ldb = a.stride(0), b.stride(1) if b_col else b.stride(0)
    early = overlap.possible(hardware)
    shares = torch.empty((config.SPLIT_K, M, N), dtype=torch.float32, device=a.device)
    grid = (programs(M, N, config, hardware),)
    choices = {
        "B_COL": b_col,
        "SPLIT_K": config.SPLIT_K,
        "OVERLAP": early,
        "BLOCK_M": config.BLOCK_M,
        "BLOCK_N": config.BLOCK_N,
        "BLOCK_K": config.BLOCK_K,
        "GROUP_M": config.GROUP_M,
        "num_warps": config.num_warps,
        "num_stages": config.num_stages,
    }
    if by_descriptors(a, b, hardware):
        a_desc, b_desc = operand_descriptors(a, b, config)
        split_k_tma[grid](a_desc, b_desc, shares, M, N, K, **choices)
    else:
        split_k_pointer[grid](
            a,
            b,
            shares,
            M,
            N,
            K,
            lda,
            ldb,
            EVEN_K=K % config.BLOCK_K == 0,
            WIDE=wide(M, N, K, lda, ldb, N, b_col, config),
            **choices,
        )
    cols = min(SUM_ELEMENTS, triton.next_power_of_2(N))
    rows = SUM_ELEMENTS // cols
    sum_shares[(cdiv(M, rows) * cdiv(N, cols),)](
        shares,
        out,
        bias,
        *(scales or (None, None)),
        M,
        N,
        out.stride(0),
        ROW_SCALES=row_scales(scales),
        ACTIVATION=activation,
        SPLIT_K=config.SPLIT_K,
        OVERLAP=early,
        ROWS=rows,
        COLS=cols,
        num_warps=4,
        **overlap.attribute(early),
    )
