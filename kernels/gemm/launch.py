"""Triton source and launch of C = act(A @ B + bias), shared by ``matmul`` and ``fused_matmul``.

Six families compute the same function:

- ``pointer`` runs on any GPU and any shape.
- ``tma`` moves tiles with the tensor memory accelerator (Hopper and later, rows of a multiple of 16 bytes).
- ``persistent_tma`` starts one program per SM. Each program takes several tiles, so that the epilogue of one tile
  overlaps the loads of the next.
- ``split_k`` (``kernels/gemm/split_k.py``) divides the K range of every tile among several programs.
- ``stream_k`` (``kernels/gemm/stream_k.py``) divides the K steps of the last wave's tiles among as many programs as
  there are SMs.
- ``warp_specialized`` (``kernels/gemm/gluon.py``) loads and multiplies in different warps.

A is (M, K) row-major; B is (K, N), row-major or column-major; bias is (N,); C is (M, N) row-major. Operands are fp16 or
bf16, accumulation is fp32, the result is rounded once. Operands in fp8 have fp32 scales: one number per operand, or one
for each row of A and each column of B. The epilogue multiplies by them: C = act((A @ B) * scale_a * scale_b + bias).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.gemm import split_k, stream_k
from kernels.gemm.space import GemmConfig, programs
from kernels.gemm.tiles import (
    Scales,
    accumulate,
    accumulate_pointers,
    epilogue,
    multiply_add,
    operand_descriptors,
    rounded,
    row_scales,
    store_columns,
    store_pieces,
    tile_position,
    wide,
)
from kernels.hardware import Hardware
from kernels.triton import overlap
from kernels.triton.activations import Activation
from kernels.triton.overlap import inputs_ready

__all__ = ["Scales", "launch_gemm", "multiply_add", "rounded", "tile_position"]


@triton.jit
def gemm_pointer(
    a_ptr,
    b_ptr,
    c_ptr,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    K,
    lda,
    ldb,
    ldc,
    B_COL: tl.constexpr,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EVEN_K: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One program per tile. WIDE means that element offsets may exceed 31 bits."""
    index: tl.constexpr = tl.int64 if WIDE else tl.int32
    pid_m, pid_n = tile_position(tl.program_id(0), M, N, BLOCK_M, BLOCK_N, GROUP_M)
    rows = (pid_m * BLOCK_M + tl.arange(0, BLOCK_M)).to(index)
    cols = (pid_n * BLOCK_N + tl.arange(0, BLOCK_N)).to(index)
    steps = tl.cdiv(K, BLOCK_K)
    acc = accumulate_pointers(
        a_ptr, b_ptr, rows, cols, 0, steps, M, N, K, lda, ldb, B_COL, EVEN_K, WIDE, BLOCK_M, BLOCK_N, BLOCK_K
    )
    c = epilogue(acc, bias_ptr, a_scale_ptr, b_scale_ptr, rows, cols, M, N, ROW_SCALES, ACTIVATION)
    inside = (rows[:, None] < M) & (cols[None, :] < N)
    tl.store(c_ptr + rows[:, None] * ldc + cols[None, :], rounded(c, c_ptr.dtype.element_ty), mask=inside)


@triton.jit
def gemm_tma(
    a_desc,
    b_desc,
    c_desc,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    K,
    B_COL: tl.constexpr,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    OVERLAP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One program per tile. OVERLAP means that programs may start before the previous launch has ended (programmatic
    dependent launch). They read and write nothing before it has ended. The next launch may start early too."""
    inputs_ready(OVERLAP)
    if OVERLAP:
        gdc_launch_dependents()
    pid_m, pid_n = tile_position(tl.program_id(0), M, N, BLOCK_M, BLOCK_N, GROUP_M)
    row, col = pid_m * BLOCK_M, pid_n * BLOCK_N
    acc = accumulate(a_desc, b_desc, row, col, 0, tl.cdiv(K, BLOCK_K), B_COL, BLOCK_M, BLOCK_N, BLOCK_K)
    store_columns(
        c_desc, acc, bias_ptr, a_scale_ptr, b_scale_ptr, row, col, M, N, ROW_SCALES, ACTIVATION, BLOCK_M, BLOCK_N
    )


@triton.jit
def gemm_persistent_tma(
    a_desc,
    b_desc,
    c_desc,
    bias_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    K,
    B_COL: tl.constexpr,
    ROW_SCALES: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    EPILOGUE_SUBTILE: tl.constexpr,
    FLATTEN: tl.constexpr,
):
    """PROGRAMS programs, each of which takes every PROGRAMS-th tile. EPILOGUE_SUBTILE is the number of pieces in which
    a tile is stored; the staging buffer is smaller by the same factor. FLATTEN makes one pipelined loop over both tiles
    and K."""
    tiles = tl.cdiv(M, BLOCK_M) * tl.cdiv(N, BLOCK_N)
    # The epilogue computes its own position. A position passed on from the loads would be one more value that the
    # pipelined loop keeps alive between its stages.
    done = tl.program_id(0) - PROGRAMS
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=FLATTEN):
        pid_m, pid_n = tile_position(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M)
        row, col = pid_m * BLOCK_M, pid_n * BLOCK_N
        acc = accumulate(a_desc, b_desc, row, col, 0, tl.cdiv(K, BLOCK_K), B_COL, BLOCK_M, BLOCK_N, BLOCK_K)

        done += PROGRAMS
        pid_m, pid_n = tile_position(done, M, N, BLOCK_M, BLOCK_N, GROUP_M)
        row, col = pid_m * BLOCK_M, pid_n * BLOCK_N
        store_pieces(
            c_desc,
            acc,
            bias_ptr,
            a_scale_ptr,
            b_scale_ptr,
            row,
            col,
            M,
            N,
            ROW_SCALES,
            ACTIVATION,
            BLOCK_M,
            BLOCK_N,
            EPILOGUE_SUBTILE,
        )


def launch_gemm(
    a: torch.Tensor,
    b: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    activation: Activation,
    config: GemmConfig,
    hardware: Hardware,
    scales: Scales | None = None,
) -> None:
    """Launch one config once and write `out`. This function reads no data and queries no device, so it also runs on
    meta tensors.

    `b` is (K, N) with a unit stride along N (row-major) or else along K (column-major). Only fp8 operands have
    `scales`."""
    if config.family == "warp_specialized":
        from kernels.gemm import gluon  # Gluon differs between versions of Triton, so only its own family imports it

        gluon.launch(a, b, bias, out, activation, config, hardware)
        return
    if config.family == "split_k":
        split_k.launch(a, b, bias, out, activation, config, hardware, scales)
        return
    if config.family == "stream_k":
        stream_k.launch(a, b, bias, out, activation, config, hardware, scales)
        return
    (M, K), N = a.shape, b.shape[1]
    b_col = b.stride(1) != 1
    a_scale, b_scale = scales or (None, None)
    grid = (programs(M, N, config, hardware),)
    choices = {
        "B_COL": b_col,
        "ROW_SCALES": row_scales(scales),
        "ACTIVATION": activation,
        "BLOCK_M": config.BLOCK_M,
        "BLOCK_N": config.BLOCK_N,
        "BLOCK_K": config.BLOCK_K,
        "GROUP_M": config.GROUP_M,
        "num_warps": config.num_warps,
        "num_stages": config.num_stages,
    }
    if config.family == "pointer":
        ldb = b.stride(1) if b_col else b.stride(0)
        gemm_pointer[grid](
            a,
            b,
            out,
            bias,
            a_scale,
            b_scale,
            M,
            N,
            K,
            a.stride(0),
            ldb,
            out.stride(0),
            EVEN_K=K % config.BLOCK_K == 0,
            WIDE=wide(M, N, K, a.stride(0), ldb, out.stride(0), b_col, config),
            **choices,
        )
        return
    a_desc, b_desc = operand_descriptors(a, b, config)
    c_desc = TensorDescriptor.from_tensor(out, [config.BLOCK_M, config.BLOCK_N // config.EPILOGUE_SUBTILE])
    if config.family == "tma":
        early = config.OVERLAP and overlap.possible(hardware)
        choices |= {"OVERLAP": early, **overlap.attribute(early)}
        gemm_tma[grid](a_desc, b_desc, c_desc, bias, a_scale, b_scale, M, N, K, **choices)
    else:
        gemm_persistent_tma[grid](
            a_desc,
            b_desc,
            c_desc,
            bias,
            a_scale,
            b_scale,
            M,
            N,
            K,
            PROGRAMS=grid[0],
            EPILOGUE_SUBTILE=config.EPILOGUE_SUBTILE,
            FLATTEN=config.FLATTEN,
            **choices,
        )
