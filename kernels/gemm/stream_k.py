"""Family ``stream_k`` of the matmul kernels: programs share the K steps of the last wave's tiles evenly.

The last wave of tiles leaves SMs idle, on average half of them. Here each program takes an equal number of the wave's
K steps; its share may begin and end inside a tile (``kernels.gemm.stream_k_schedule`` computes the shares). If one
program has all steps of a tile, it finishes the tile. Otherwise each program writes its fp32 part to its own slot in a
workspace. A second kernel adds the parts of a tile and applies the epilogue. It adds in the order of K, so that equal
inputs give equal bits. ``kernels.gemm.split_k`` explains why there is a second kernel and how it overlaps the first.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents

from kernels.gemm.space import GemmConfig
from kernels.gemm.split_k import SUM_ELEMENTS, by_descriptors, store_result
from kernels.gemm.stream_k_schedule import schedule
from kernels.gemm.tiles import (
    Scales,
    accumulate,
    accumulate_pointers,
    operand_descriptors,
    row_scales,
    tile_position,
    wide,
)
from kernels.hardware import Hardware
from kernels.triton import overlap
from kernels.triton.activations import Activation
from kernels.triton.overlap import inputs_ready


@triton.jit
def first_and_last(whole, streamed, programs, steps):
    """First and last step (exclusive) of this program, counted over all tiles."""
    share = tl.program_id(0) - whole
    total = streamed * steps
    if share < 0:
        first = tl.program_id(0) * steps
        last = first + steps
    else:
        first = whole * steps + share * total // programs
        last = whole * steps + (share + 1) * total // programs
    return first, last


@triton.jit
def within(tile, first, last, steps):
    """Those of the steps `first` to `last` that belong to `tile`, counted from the tile's first step."""
    return max(first - tile * steps, 0), min(last - tile * steps, steps)


@triton.jit
def store_part(parts_ptr, acc, whole, is_later, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Store `acc` in this program's slot for its first tile or for a later tile, in the workspace (programs, 2,
    BLOCK_M, BLOCK_N)."""
    slot = (tl.program_id(0) - whole) * 2 + is_later.to(tl.int32)
    at = tl.arange(0, BLOCK_M)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    tl.store(parts_ptr + slot * (BLOCK_M * BLOCK_N) + at, acc)


@triton.jit
def stream_k_pointer(
    a_ptr,
    b_ptr,
    c_ptr,
    parts_ptr,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    K,
    lda,
    ldb,
    ldc,
    whole,
    streamed,
    programs,
    B_COL: tl.constexpr,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EVEN_K: tl.constexpr,
    WIDE: tl.constexpr,
    OVERLAP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """`whole` programs compute one tile each; `programs` programs share the other tiles. Loads are by pointer."""
    if OVERLAP:
        gdc_launch_dependents()
    index: tl.constexpr = tl.int64 if WIDE else tl.int32
    steps = tl.cdiv(K, BLOCK_K)
    first, last = first_and_last(whole, streamed, programs, steps)
    for tile in range(first // steps, tl.cdiv(last, steps)):
        start, end = within(tile, first, last, steps)
        pid_m, pid_n = tile_position(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M)
        rows = (pid_m * BLOCK_M + tl.arange(0, BLOCK_M)).to(index)
        cols = (pid_n * BLOCK_N + tl.arange(0, BLOCK_N)).to(index)
        acc = accumulate_pointers(
            a_ptr, b_ptr, rows, cols, start, end, M, N, K, lda, ldb, B_COL, EVEN_K, WIDE, BLOCK_M, BLOCK_N, BLOCK_K
        )
        if end - start == steps:
            store_result(c_ptr, acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ldc, ROW_SCALES, ACTIVATION)
        else:
            store_part(parts_ptr, acc, whole, tile > first // steps, BLOCK_M, BLOCK_N)


@triton.jit
def stream_k_tma(
    a_desc,
    b_desc,
    c_ptr,
    parts_ptr,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    K,
    ldc,
    whole,
    streamed,
    programs,
    B_COL: tl.constexpr,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    OVERLAP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """`whole` programs compute one tile each; `programs` programs share the other tiles. Loads are by descriptor."""
    if OVERLAP:
        gdc_launch_dependents()
    steps = tl.cdiv(K, BLOCK_K)
    first, last = first_and_last(whole, streamed, programs, steps)
    for tile in range(first // steps, tl.cdiv(last, steps)):
        start, end = within(tile, first, last, steps)
        pid_m, pid_n = tile_position(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M)
        row, col = pid_m * BLOCK_M, pid_n * BLOCK_N
        acc = accumulate(a_desc, b_desc, row, col, start, end, B_COL, BLOCK_M, BLOCK_N, BLOCK_K)
        if end - start == steps:
            # A descriptor store would need a staging buffer besides the operands in flight, during the whole loop.
            rows, cols = row + tl.arange(0, BLOCK_M), col + tl.arange(0, BLOCK_N)
            store_result(c_ptr, acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ldc, ROW_SCALES, ACTIVATION)
        else:
            store_part(parts_ptr, acc, whole, tile > first // steps, BLOCK_M, BLOCK_N)


@triton.jit
def sum_parts(
    parts_ptr,
    c_ptr,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    ldc,
    whole,
    streamed,
    programs,
    steps,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    OVERLAP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    GROUP_M: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Compute the tiles of C that have several parts, from these parts. One program computes (ROWS, BLOCK_N) of a
    streamed tile."""
    pieces: tl.constexpr = BLOCK_M // ROWS
    tile = tl.program_id(0) // pieces
    total = streamed * steps
    first = ((tile * steps + 1) * programs - 1) // total
    last = ((tile + 1) * steps * programs - 1) // total
    if first < last:
        inputs_ready(OVERLAP)
        row = tl.program_id(0) % pieces * ROWS
        at = (row + tl.arange(0, ROWS))[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
        acc = tl.zeros((ROWS, BLOCK_N), dtype=tl.float32)
        for program in range(first, last + 1):
            is_later = program * total // programs < tile * steps
            slot = program * 2 + is_later.to(tl.int32)
            acc += tl.load(parts_ptr + slot * (BLOCK_M * BLOCK_N) + at)
        pid_m, pid_n = tile_position(whole + tile, M, N, BLOCK_M, BLOCK_N, GROUP_M)
        rows = pid_m * BLOCK_M + row + tl.arange(0, ROWS)
        cols = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
        store_result(c_ptr, acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ldc, ROW_SCALES, ACTIVATION)


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
    """Launch one ``stream_k`` config once and write `out`. Arguments are those of ``kernels.gemm.launch.launch_gemm``;
    the workspace is that of ``kernels.gemm.split_k``."""
    (M, K), N = a.shape, b.shape[1]
    b_col = b.stride(1) != 1
    lda, ldb, ldc = a.stride(0), b.stride(1) if b_col else b.stride(0), out.stride(0)
    plan = schedule(M, N, K, config, hardware.sms)
    parts = torch.empty((plan.programs, 2, config.BLOCK_M, config.BLOCK_N), dtype=torch.float32, device=a.device)
    epilogue = (bias, *(scales or (None, None)))
    early = overlap.possible(hardware)
    shared = {
        "ROW_SCALES": row_scales(scales),
        "ACTIVATION": activation,
        "OVERLAP": early,
        "BLOCK_M": config.BLOCK_M,
        "BLOCK_N": config.BLOCK_N,
        "GROUP_M": config.GROUP_M,
    }
    choices = {
        **shared,
        "B_COL": b_col,
        "BLOCK_K": config.BLOCK_K,
        "num_warps": config.num_warps,
        "num_stages": config.num_stages,
    }
    share = (plan.whole, plan.streamed, plan.programs)
    grid = (plan.whole + plan.programs,)
    if by_descriptors(a, b, hardware):
        descriptors = operand_descriptors(a, b, config)
        stream_k_tma[grid](*descriptors, out, parts, *epilogue, M, N, K, ldc, *share, **choices)
    else:
        stream_k_pointer[grid](
            a,
            b,
            out,
            parts,
            *epilogue,
            M,
            N,
            K,
            lda,
            ldb,
            ldc,
            *share,
            EVEN_K=K % config.BLOCK_K == 0,
            WIDE=wide(M, N, K, lda, ldb, ldc, b_col, config),
            **choices,
        )
    height = min(config.BLOCK_M, SUM_ELEMENTS // config.BLOCK_N)
    sum_parts[(plan.streamed * config.BLOCK_M // height,)](
        parts,
        out,
        *epilogue,
        M,
        N,
        ldc,
        *share,
        plan.steps,
        **shared,
        ROWS=height,
        num_warps=4,
        **overlap.attribute(early),
    )
