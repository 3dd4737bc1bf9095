"""Triton source and launch of C = act(A @ B + bias), shared by ``matmul`` and ``fused_matmul``.

Three families compute the same thing. ``pointer`` runs on any GPU and any shape. ``tma`` moves tiles with the tensor
memory accelerator (Hopper and later, rows of a multiple of 16 bytes). ``persistent_tma`` starts one program per SM and
lets each walk over several tiles, so that the epilogue of one tile overlaps the loads of the next.

A is (M, K) row-major; B is (K, N), row-major or column-major; bias is (N,); C is (M, N) row-major. Operands are fp16 or
bf16, accumulation is fp32, the result is rounded once.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton import knobs
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.activations import Activation, activate
from kernels.gemm_space import GemmConfig, cdiv, programs
from kernels.hardware import Hardware

INTERPRETED = tl.constexpr(bool(knobs.runtime.interpret))
"""Whether this process runs kernels in Triton's interpreter: TRITON_INTERPRET was set when this module was imported."""


@triton.jit
def multiply_add(a, b, acc):
    """acc + a @ b in fp32."""
    if INTERPRETED:
        # The interpreter holds bf16 as bits and would multiply those as integers (seen in Triton 3.6 and 3.9).
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc)


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """`x` (fp32) rounded to nearest even in `dtype`."""
    if INTERPRETED and dtype == tl.bfloat16:
        # The interpreter truncates where the GPU rounds: round the bits first, so that truncation loses nothing.
        bits = x.to(tl.uint32, bitcast=True)
        bits += 0x7FFF + ((bits >> 16) & 1)
        x = bits.to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def tile_position(tile, M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr):
    """Row and column (in tiles) of the `tile`-th tile: down GROUP_M tiles, then one column on, so that tiles which
    run at the same time share operands in L2."""
    tiles_m = tl.cdiv(M, BLOCK_M)
    group_tiles = GROUP_M * tl.cdiv(N, BLOCK_N)
    first_m = tile // group_tiles * GROUP_M
    rows = min(tiles_m - first_m, GROUP_M)
    within = tile % group_tiles
    return first_m + within % rows, within // rows


@triton.jit
def epilogue(acc, bias_ptr, cols, N, ACTIVATION: tl.constexpr):
    """act(acc + bias) in fp32. `cols` are the columns of `acc` in C."""
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + cols, mask=cols < N, other=0.0)
        acc += bias.to(tl.float32)[None, :]
    return activate(acc, ACTIVATION)


@triton.jit
def gemm_pointer(
    a_ptr,
    b_ptr,
    c_ptr,
    bias_ptr,
    M,
    N,
    K,
    lda,
    ldb,
    ldc,
    B_COL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EVEN_K: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One program per tile. WIDE: element offsets may exceed 31 bits."""
    index: tl.constexpr = tl.int64 if WIDE else tl.int32
    pid_m, pid_n = tile_position(tl.program_id(0), M, N, BLOCK_M, BLOCK_N, GROUP_M)
    rows = (pid_m * BLOCK_M + tl.arange(0, BLOCK_M)).to(index)
    cols = (pid_n * BLOCK_N + tl.arange(0, BLOCK_N)).to(index)
    ks = tl.arange(0, BLOCK_K).to(index)
    # Rows and columns past the edge wrap around: nothing outside the operands is read, the loop needs no mask for
    # them, and the store drops what they give.
    a_ptrs = a_ptr + (rows % M)[:, None] * lda + ks[None, :]
    if B_COL:
        b_ptrs = b_ptr + ks[:, None] + (cols % N)[None, :] * ldb
    else:
        b_ptrs = b_ptr + ks[:, None] * ldb + (cols % N)[None, :]

    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BLOCK_K)):
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

    c = rounded(epilogue(acc, bias_ptr, cols, N, ACTIVATION), c_ptr.dtype.element_ty)
    inside = (rows[:, None] < M) & (cols[None, :] < N)
    tl.store(c_ptr + rows[:, None] * ldc + cols[None, :], c, mask=inside)


@triton.jit
def accumulate(
    a_desc,
    b_desc,
    row,
    col,
    K,
    B_COL: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """The tile of A @ B at (row, col) in fp32, by descriptor loads, which read zero past every edge."""
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BLOCK_K)):
        a = a_desc.load([row, k * BLOCK_K])
        b = b_desc.load([col, k * BLOCK_K]).T if B_COL else b_desc.load([k * BLOCK_K, col])
        acc = multiply_add(a, b, acc)
    return acc


@triton.jit
def store_columns(c_desc, acc, bias_ptr, row, col, N, ACTIVATION: tl.constexpr, WIDTH: tl.constexpr):
    """Epilogue and descriptor store of WIDTH columns of C from (row, col) on; what lies past the edge is dropped."""
    c = epilogue(acc, bias_ptr, col + tl.arange(0, WIDTH), N, ACTIVATION)
    c_desc.store([row, col], rounded(c, c_desc.dtype))


@triton.jit
def halves(x, ROWS: tl.constexpr, COLS: tl.constexpr):
    """The left and the right half of the columns of `x` (ROWS, COLS)."""
    return tl.permute(tl.reshape(x, (ROWS, 2, COLS // 2)), (0, 2, 1)).split()


@triton.jit
def gemm_tma(
    a_desc,
    b_desc,
    c_desc,
    bias_ptr,
    M,
    N,
    K,
    B_COL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One program per tile."""
    pid_m, pid_n = tile_position(tl.program_id(0), M, N, BLOCK_M, BLOCK_N, GROUP_M)
    row, col = pid_m * BLOCK_M, pid_n * BLOCK_N
    acc = accumulate(a_desc, b_desc, row, col, K, B_COL, BLOCK_M, BLOCK_N, BLOCK_K)
    store_columns(c_desc, acc, bias_ptr, row, col, N, ACTIVATION, BLOCK_N)


@triton.jit
def gemm_persistent_tma(
    a_desc,
    b_desc,
    c_desc,
    bias_ptr,
    M,
    N,
    K,
    B_COL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    EPILOGUE_SUBTILE: tl.constexpr,
    FLATTEN: tl.constexpr,
):
    """PROGRAMS programs, each taking every PROGRAMS-th tile. EPILOGUE_SUBTILE stores a tile in that many pieces through
    a staging buffer that is smaller by the same factor; FLATTEN makes one pipelined loop of tiles and K."""
    WIDTH: tl.constexpr = BLOCK_N // EPILOGUE_SUBTILE
    tiles = tl.cdiv(M, BLOCK_M) * tl.cdiv(N, BLOCK_N)
    # The epilogue counts its tiles itself: a position carried over from the loads would be one more value that the
    # pipelined loop keeps alive between its stages.
    done = tl.program_id(0) - PROGRAMS
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=FLATTEN):
        pid_m, pid_n = tile_position(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M)
        acc = accumulate(a_desc, b_desc, pid_m * BLOCK_M, pid_n * BLOCK_N, K, B_COL, BLOCK_M, BLOCK_N, BLOCK_K)

        done += PROGRAMS
        pid_m, pid_n = tile_position(done, M, N, BLOCK_M, BLOCK_N, GROUP_M)
        row, col = pid_m * BLOCK_M, pid_n * BLOCK_N
        if EPILOGUE_SUBTILE == 1:
            store_columns(c_desc, acc, bias_ptr, row, col, N, ACTIVATION, WIDTH)
        else:
            left, right = halves(acc, BLOCK_M, BLOCK_N)
            if EPILOGUE_SUBTILE == 2:
                store_columns(c_desc, left, bias_ptr, row, col, N, ACTIVATION, WIDTH)
                store_columns(c_desc, right, bias_ptr, row, col + WIDTH, N, ACTIVATION, WIDTH)
            else:
                tl.static_assert(EPILOGUE_SUBTILE == 4)
                first, second = halves(left, BLOCK_M, BLOCK_N // 2)
                store_columns(c_desc, first, bias_ptr, row, col, N, ACTIVATION, WIDTH)
                store_columns(c_desc, second, bias_ptr, row, col + WIDTH, N, ACTIVATION, WIDTH)
                third, fourth = halves(right, BLOCK_M, BLOCK_N // 2)
                store_columns(c_desc, third, bias_ptr, row, col + 2 * WIDTH, N, ACTIVATION, WIDTH)
                store_columns(c_desc, fourth, bias_ptr, row, col + 3 * WIDTH, N, ACTIVATION, WIDTH)


def launch_gemm(
    a: torch.Tensor,
    b: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    activation: Activation,
    config: GemmConfig,
    hardware: Hardware,
) -> None:
    """Launch one config once, writing `out`. Reads no data and asks no device anything: it runs on meta tensors too.

    `b` is (K, N) with a unit stride along N (row-major) or, failing that, along K (column-major)."""
    (M, K), N = a.shape, b.shape[1]
    b_col = b.stride(1) != 1
    ldb = b.stride(1) if b_col else b.stride(0)
    tile = {"BLOCK_M": config.BLOCK_M, "BLOCK_N": config.BLOCK_N, "BLOCK_K": config.BLOCK_K, "GROUP_M": config.GROUP_M}
    resources = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    grid = (programs(M, N, config, hardware),)
    if config.family == "pointer":
        gemm_pointer[grid](
            a,
            b,
            out,
            bias,
            M,
            N,
            K,
            a.stride(0),
            ldb,
            out.stride(0),
            B_COL=b_col,
            ACTIVATION=activation,
            EVEN_K=K % config.BLOCK_K == 0,
            WIDE=_wide(M, N, K, a.stride(0), ldb, out.stride(0), b_col, config),
            **tile,
            **resources,
        )
        return

    width = config.BLOCK_N // config.EPILOGUE_SUBTILE
    a_desc = TensorDescriptor.from_tensor(a, [config.BLOCK_M, config.BLOCK_K])
    if b_col:
        b_desc = TensorDescriptor.from_tensor(b.T, [config.BLOCK_N, config.BLOCK_K])
    else:
        b_desc = TensorDescriptor.from_tensor(b, [config.BLOCK_K, config.BLOCK_N])
    c_desc = TensorDescriptor.from_tensor(out, [config.BLOCK_M, width])
    if config.family == "tma":
        gemm_tma[grid](a_desc, b_desc, c_desc, bias, M, N, K, B_COL=b_col, ACTIVATION=activation, **tile, **resources)
    else:
        gemm_persistent_tma[grid](
            a_desc,
            b_desc,
            c_desc,
            bias,
            M,
            N,
            K,
            B_COL=b_col,
            ACTIVATION=activation,
            PROGRAMS=grid[0],
            EPILOGUE_SUBTILE=config.EPILOGUE_SUBTILE,
            FLATTEN=config.FLATTEN,
            **tile,
            **resources,
        )


def _wide(M: int, N: int, K: int, lda: int, ldb: int, ldc: int, b_col: bool, config: GemmConfig) -> bool:
    """Whether an offset that ``gemm_pointer`` computes, padding included, may not fit 31 bits."""
    m = cdiv(M, config.BLOCK_M) * config.BLOCK_M
    n = cdiv(N, config.BLOCK_N) * config.BLOCK_N
    k = cdiv(K, config.BLOCK_K) * config.BLOCK_K
    last = max(m * lda + k, n * ldb + k if b_col else k * ldb + n, m * ldc + n)
    return last >= 2**31
