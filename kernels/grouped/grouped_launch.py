"""Triton source and launch of ``grouped_matmul``.

A first, small kernel (``plan_groups``) writes a table of all blocks of rows: a block belongs to one group and has at
most BLOCK_M rows. The second kernel takes tiles from the table. The number of tiles is known on the GPU alone, so the
host never waits for the group sizes.

Tiles are numbered group by group, and within a group like those of a matmul (``tile_position``): GROUP_M blocks of rows
and then the next columns, so that tiles that run at the same time share rows of A and columns of B in L2.

Four families compute the same function:

- ``pointer`` runs on any GPU and any shape.
- ``tma`` moves tiles with the tensor memory accelerator, one program per tile.
- ``persistent_tma`` starts one program per SM. Each program takes several tiles.
- ``warp_specialized`` (``kernels/grouped/gluon.py``) loads and multiplies in different warps.
- ``trimmed`` (``kernels/grouped/trimmed.py``) does that too, and leaves out the rows that a group does not have.

A tile whose group ends within it reads the rows of the next group, which costs nothing, and does not write them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.gemm.tiles import Scales, halves, multiply_add, rounded, tile_position
from kernels.grouped.config import GroupedConfig, GroupedProblem, most_blocks, planned_rows, programs, whole_tiles
from kernels.hardware import Hardware

ENTRY = 4
"""Numbers of a block in the table: its group, the group's first block, the group's first row, the row after its
last."""
MOST_COMPARED = 8192
"""Pairs of a block and a group that one program of ``plan_groups`` compares: 64 a thread."""


@triton.jit
def plan_groups(
    ends_ptr, plan_ptr, E, BLOCKS,
    BLOCK_M: tl.constexpr, EXPERTS: tl.constexpr, PLANNED: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Write PLANNED entries of the table of BLOCKS blocks, and after the table the number of blocks that there are.
    EXPERTS is a power of two, E or more. With OVERLAP the next launch may start at once; it waits for the table."""
    if OVERLAP:
        gdc_launch_dependents()
    group = tl.arange(0, EXPERTS)
    known = group < E
    ends = tl.load(ends_ptr + group, mask=known, other=0)
    starts = tl.load(ends_ptr + group - 1, mask=known & (group > 0), other=0)
    through = tl.cumsum(tl.cdiv(ends - starts, BLOCK_M), 0)

    block = tl.program_id(0) * PLANNED + tl.arange(0, PLANNED)
    before = through[None, :] <= block[:, None]
    owner = tl.sum(before.to(tl.int32), 1)
    first = tl.max(tl.where(before, through[None, :], 0), 1)
    # Groups are in order, so the last end before the block is where its group starts, empty groups between or not.
    start = tl.max(tl.where(before, ends[None, :], 0), 1)
    end = tl.load(ends_ptr + owner, mask=owner < E, other=0)
    at = plan_ptr + block * 4
    inside = block < BLOCKS
    tl.store(at, owner, mask=inside)
    tl.store(at + 1, first, mask=inside)
    tl.store(at + 2, start, mask=inside)
    tl.store(at + 3, end, mask=inside)
    if tl.program_id(0) == 0:
        tl.store(plan_ptr + BLOCKS * 4, tl.max(through, 0))


@triton.jit
def grouped_tile(
    tile, plan_ptr, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, GROUP_M: tl.constexpr
):  # fmt: skip
    """Group, first row and first column of a tile, and the row after its group's last."""
    columns = tl.cdiv(N, BLOCK_N)
    at = plan_ptr + tile // columns * 4
    group = tl.load(at)
    first = tl.load(at + 1)
    start = tl.load(at + 2)
    end = tl.load(at + 3)
    pid_m, pid_n = tile_position(tile - first * columns, end - start, N, BLOCK_M, BLOCK_N, GROUP_M)
    return group, start + pid_m * BLOCK_M, pid_n * BLOCK_N, end


@triton.jit
def scaled(acc, a_scale_ptr, b_scale_ptr, group, rows, cols, M, N, ROW_SCALES: tl.constexpr):
    """acc times the scales of its rows of A and of its columns of the group's B. `rows` and `cols` are those in C."""
    if a_scale_ptr is not None:
        if ROW_SCALES:
            acc *= tl.load(a_scale_ptr + rows, mask=rows < M, other=0.0)[:, None]
            acc *= tl.load(b_scale_ptr + group.to(tl.int64) * N + cols, mask=cols < N, other=0.0)[None, :]
        else:
            acc *= tl.load(a_scale_ptr) * tl.load(b_scale_ptr + group)
    return acc


@triton.jit
def grouped_pointer(
    a_ptr,
    b_ptr,
    c_ptr,
    plan_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    K,
    BLOCKS,
    B_COL: tl.constexpr,
    ROW_SCALES: tl.constexpr,
    EVEN_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """One program per tile. A and C are row-major, B (E, K, N) or, with B_COL, (E, N, K). All are contiguous."""
    if tl.program_id(0) < tl.load(plan_ptr + BLOCKS * 4) * tl.cdiv(N, BLOCK_N):
        group, row, col, end = grouped_tile(tl.program_id(0), plan_ptr, N, BLOCK_M, BLOCK_N, GROUP_M)
        rows = row + tl.arange(0, BLOCK_M)
        cols = col + tl.arange(0, BLOCK_N)
        ks = tl.arange(0, BLOCK_K)
        # Past an edge the indices wrap around, so that nothing outside the operands is read.
        a_ptrs = a_ptr + (rows % M).to(tl.int64)[:, None] * K + ks[None, :]
        matrix = b_ptr + group.to(tl.int64) * N * K
        if B_COL:
            b_ptrs = matrix + ks[:, None] + (cols % N).to(tl.int64)[None, :] * K
        else:
            b_ptrs = matrix + ks.to(tl.int64)[:, None] * N + (cols % N)[None, :]
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for k in range(tl.cdiv(K, BLOCK_K)):
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
                b_ptrs += tl.full((), BLOCK_K, tl.int64) * N
        c = scaled(acc, a_scale_ptr, b_scale_ptr, group, rows, cols, M, N, ROW_SCALES)
        inside = (rows[:, None] < end) & (cols[None, :] < N)
        tl.store(
            c_ptr + rows.to(tl.int64)[:, None] * N + cols[None, :],
            rounded(c, c_ptr.dtype.element_ty),
            mask=inside,
        )


@triton.jit
def store_group(
    c_desc,
    c_ptr,
    acc,
    a_scale_ptr,
    b_scale_ptr,
    group,
    row,
    col,
    end,
    M,
    N,
    ROW_SCALES: tl.constexpr,
    WHOLE: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIECES: tl.constexpr,
):
    """Apply the scales and store the rows before `end` of (HEIGHT, WIDTH) of C from (row, col) on, in PIECES pieces, a
    power of two. WHOLE means that all rows are before `end`."""
    if PIECES == 1:
        rows, cols = row + tl.arange(0, HEIGHT), col + tl.arange(0, WIDTH)
        c = scaled(acc, a_scale_ptr, b_scale_ptr, group, rows, cols, M, N, ROW_SCALES)
        if WHOLE:
            c_desc.store([row, col], rounded(c, c_desc.dtype))
        else:
            c = rounded(c, c_desc.dtype)
            if row + HEIGHT <= end:
                c_desc.store([row, col], c)
            else:
                at = c_ptr + rows.to(tl.int64)[:, None] * N + cols[None, :]
                tl.store(at, c, mask=(rows[:, None] < end) & (cols[None, :] < N))
    else:
        left, right = halves(acc, HEIGHT, WIDTH)
        half: tl.constexpr = WIDTH // 2
        for side in tl.static_range(2):
            store_group(
                c_desc,
                c_ptr,
                left if side == 0 else right,
                a_scale_ptr,
                b_scale_ptr,
                group,
                row,
                col + side * half,
                end,
                M,
                N,
                ROW_SCALES,
                WHOLE,
                HEIGHT,
                half,
                PIECES // 2,
            )


@triton.jit
def grouped_tma(
    a_desc,
    b_desc,
    c_desc,
    c_ptr,
    plan_ptr,
    a_scale_ptr,
    b_scale_ptr,
    M,
    N,
    K,
    BLOCKS,
    B_COL: tl.constexpr,
    ROW_SCALES: tl.constexpr,
    WHOLE: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    EPILOGUE_SUBTILE: tl.constexpr,
):
    """PROGRAMS programs, each of which takes every PROGRAMS-th tile. B is (E * N, K) with B_COL, else (E * K, N), and
    BLOCK_K then divides K."""
    tiles = tl.load(plan_ptr + BLOCKS * 4) * tl.cdiv(N, BLOCK_N)
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS):
        group, row, col, end = grouped_tile(tile, plan_ptr, N, BLOCK_M, BLOCK_N, GROUP_M)
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        for k in range(tl.cdiv(K, BLOCK_K)):
            a = a_desc.load([row, k * BLOCK_K])
            b = b_desc.load([group * N + col, k * BLOCK_K]).T if B_COL else b_desc.load([group * K + k * BLOCK_K, col])
            acc = multiply_add(a, b, acc)
        store_group(
            c_desc,
            c_ptr,
            acc,
            a_scale_ptr,
            b_scale_ptr,
            group,
            row,
            col,
            end,
            M,
            N,
            ROW_SCALES,
            WHOLE,
            BLOCK_M,
            BLOCK_N,
            EPILOGUE_SUBTILE,
        )


def launch_grouped(
    problem: GroupedProblem,
    config: GroupedConfig,
    a: torch.Tensor,
    b: torch.Tensor,
    ends: torch.Tensor,
    scales: Scales | None,
    out: torch.Tensor,
    hardware: Hardware,
) -> None:
    """Launch one config once and write `out`. This function reads no data and queries no device, so it also runs on
    meta tensors.

    `b` is (E, K, N) with a unit stride along N (row-major) or else along K (column-major); `ends` (E,) int32 holds the
    row after each group's last one. Only fp8 operands have `scales`: (1,) and (E,), or (M,) and (E, N)."""
    p, c = problem, config
    blocks = most_blocks(p, c)
    plan = torch.empty((blocks + 1, ENTRY), dtype=torch.int32, device=out.device)
    experts = triton.next_power_of_2(p.E)
    planned = min(128, MOST_COMPARED // experts)
    plan_groups[(triton.cdiv(blocks, planned),)](
        ends,
        plan,
        p.E,
        blocks,
        BLOCK_M=planned_rows(c),
        EXPERTS=experts,
        PLANNED=planned,
        OVERLAP=c.OVERLAP,
        num_warps=4,
    )
    if c.family == "warp_specialized":
        from kernels.grouped import gluon  # Gluon differs between versions of Triton, so only its own family imports it

        gluon.launch(p, c, a, b, out, plan, blocks, hardware)
        return
    if c.family == "trimmed":
        from kernels.grouped import trimmed

        trimmed.launch(p, c, a, b, scales, out, plan, blocks, hardware)
        return
    b_col = b.stride(2) != 1
    a_scale, b_scale = scales or (None, None)
    grid = (programs(p, c, hardware.sms),)
    choices = {
        "B_COL": b_col,
        "ROW_SCALES": scales is not None and p.scales == "row",
        "BLOCK_M": c.BLOCK_M,
        "BLOCK_N": c.BLOCK_N,
        "BLOCK_K": c.BLOCK_K,
        "GROUP_M": c.GROUP_M,
        "num_warps": c.num_warps,
        "num_stages": c.num_stages,
    }
    if c.family == "pointer":
        grouped_pointer[grid](
            a, b, out, plan, a_scale, b_scale, p.M, p.N, p.K, blocks, EVEN_K=p.K % c.BLOCK_K == 0, **choices
        )
        return
    tall = b.transpose(1, 2).reshape(-1, p.K) if b_col else b.reshape(-1, p.N)
    grouped_tma[grid](
        TensorDescriptor.from_tensor(a, [c.BLOCK_M, c.BLOCK_K]),
        TensorDescriptor.from_tensor(tall, [c.BLOCK_N, c.BLOCK_K] if b_col else [c.BLOCK_K, c.BLOCK_N]),
        TensorDescriptor.from_tensor(out, [c.BLOCK_M, c.BLOCK_N // c.EPILOGUE_SUBTILE]),
        out,
        plan,
        a_scale,
        b_scale,
        p.M,
        p.N,
        p.K,
        blocks,
        WHOLE=whole_tiles(p, c),
        PROGRAMS=grid[0],
        EPILOGUE_SUBTILE=c.EPILOGUE_SUBTILE,
        **choices,
    )
