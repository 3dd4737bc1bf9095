"""Family ``trimmed`` of ``grouped_matmul``, in Gluon: ``warp_specialized`` for groups that end within a tile.

Each of CONSUMERS consumers has its own rows of a tile and its own buffers of A. Three things follow:

- Rows that a group does not have are neither loaded nor multiplied, in units of BLOCK_M / CONSUMERS rows.
- Programs take equal numbers of such units (``kernels.grouped.equal_shares``). Two units of a share that follow one
  another in a column are one tile. Two others, the end of a column and the beginning of the next, come one after the
  other: the first consumer multiplies, the second one only releases the stages of the ring.
- fp8 operands are multiplied too. Their scales are applied to the accumulators, as in the other families.

With OVERLAP the programs start while the kernel that writes the table still runs, and wait for it before they read the
table. Ring, barriers and epilogue are those of ``kernels.gemm.gluon`` and ``kernels.grouped.gluon``.

Import this module only if ``kernels.grouped.trimmed_space.constraint`` is None.
"""

from __future__ import annotations

import torch
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels.gemm.gluon import halves, load_tile, place
from kernels.gemm.gluon_space import CONSUMER_REGISTERS, LAUNCH_REGISTERS, PRODUCER_REGISTERS
from kernels.gemm.tiles import Scales
from kernels.grouped import equal_shares
from kernels.grouped.config import GroupedConfig, GroupedProblem, planned_rows, programs, whole_tiles
from kernels.grouped.gluon import grouped_tile, store_piece
from kernels.hardware import Hardware
from kernels.triton import overlap

DTYPES = {torch.float16: gl.float16, torch.bfloat16: gl.bfloat16, torch.float8_e4m3fn: gl.float8e4nv}

# Renamed after Triton 3.6.
thread_barrier = getattr(gl, "thread_barrier", None) or gl.barrier

# The same source as in Triton, which the interpreter runs, compiled by Gluon's front end.
whole_shares = gluon.jit(equal_shares.whole_shares.fn)
all_shares = gluon.jit(equal_shares.all_shares.fn)
share = gluon.jit(equal_shares.share.fn)


@gluon.jit
def all_units(plan_ptr, N, BLOCKS, BLOCK_N: gl.constexpr):
    """How many units there are: blocks of one consumer's rows times columns of tiles."""
    return gl.load(plan_ptr + BLOCKS * 4) * gl.cdiv(N, BLOCK_N)


@gluon.jit
def begin(
    index, units, whole, plan_ptr, N,
    ROWS: gl.constexpr, BLOCK_N: gl.constexpr, GROUP_M: gl.constexpr, CONSUMERS: gl.constexpr,
):  # fmt: skip
    """First unit of the `index`-th share, the tiles that it makes, one after the other, and the units of each."""
    first, count = share(index, units, whole, CONSUMERS)
    tiles = count
    if CONSUMERS == 2:
        group, row, col, _ = grouped_tile(first, plan_ptr, N, ROWS, BLOCK_N, GROUP_M * CONSUMERS)
        other, next_row, next_col, _ = grouped_tile(first + count - 1, plan_ptr, N, ROWS, BLOCK_N, GROUP_M * CONSUMERS)
        if (other == group) & (next_col == col) & (next_row == row + ROWS):
            tiles = count - 1
    return first, tiles, count // tiles


@gluon.jit
def tile_rows(
    unit, parts, plan_ptr, N,
    ROWS: gl.constexpr, BLOCK_N: gl.constexpr, GROUP_M: gl.constexpr, CONSUMERS: gl.constexpr,
):  # fmt: skip
    """Group, first row and first column of the tile of `parts` units from `unit` on, and the row after its last one."""
    group, row, col, end = grouped_tile(unit, plan_ptr, N, ROWS, BLOCK_N, GROUP_M * CONSUMERS)
    return group, row, col, min(end, row + parts * ROWS)


@gluon.jit
def produce(
    a_desc, b_desc, ring, plan_ptr, N, K, BLOCKS,
    BLOCK_N: gl.constexpr, B_COL: gl.constexpr, GROUP_M: gl.constexpr, CONSUMERS: gl.constexpr,
):  # fmt: skip
    """Load every tile of this program, BLOCK_K at a time: B, and A for the consumers that have rows."""
    a_bufs, b_bufs, empty, full = ring
    STAGES: gl.constexpr = b_bufs.shape[0]
    ROWS: gl.constexpr = a_bufs.shape[1]
    BLOCK_K: gl.constexpr = a_bufs.shape[2]
    ONE: gl.constexpr = a_desc.block_type.nbytes + b_desc.block_type.nbytes
    BOTH: gl.constexpr = 2 * a_desc.block_type.nbytes + b_desc.block_type.nbytes
    units = all_units(plan_ptr, N, BLOCKS, BLOCK_N)
    whole = whole_shares(units, gl.num_programs(0), CONSUMERS)
    steps = gl.cdiv(K, BLOCK_K)
    filled = gl.to_tensor(0)
    for index in range(gl.program_id(0), all_shares(units, whole, CONSUMERS), gl.num_programs(0)):
        first, tiles, parts = begin(index, units, whole, plan_ptr, N, ROWS, BLOCK_N, GROUP_M, CONSUMERS)
        for tile in range(0, tiles):
            group, row, col, stop = tile_rows(first + tile, parts, plan_ptr, N, ROWS, BLOCK_N, GROUP_M, CONSUMERS)
            for step in range(0, steps):
                k = step * BLOCK_K
                stage, phase = place(filled + step, STAGES)
                # A new barrier counts as having completed its phase 1, so the first round does not wait.
                mbarrier.wait(empty.index(stage), phase ^ 1)
                landed = full.index(stage)
                if CONSUMERS == 1:
                    mbarrier.expect(landed, ONE)
                else:
                    second = row + ROWS < stop
                    mbarrier.expect(landed, BOTH, pred=second)
                    mbarrier.expect(landed, ONE, pred=row + ROWS >= stop)
                    load_tile(a_desc, [row + ROWS, k], landed, a_bufs.index(stage * 2 + 1), pred=second)
                load_tile(a_desc, [row, k], landed, a_bufs.index(stage * CONSUMERS))
                if B_COL:
                    load_tile(b_desc, [group * N + col, k], landed, b_bufs.index(stage))
                else:
                    load_tile(b_desc, [group * K + k, col], landed, b_bufs.index(stage))
            filled += steps


@gluon.jit
def multiply(
    ring, taken, steps,
    B_COL: gl.constexpr, BLOCK_N: gl.constexpr, WARPS: gl.constexpr, WHICH: gl.constexpr, CONSUMERS: gl.constexpr,
):  # fmt: skip
    """This consumer's rows of one tile of A @ B in fp32. The tile takes `steps` >= 1 fills of the ring, from the
    `taken`-th on. A stage is released when its own step has finished and the next one has been issued."""
    a_bufs, b_bufs, empty, full = ring
    STAGES: gl.constexpr = b_bufs.shape[0]
    ROWS: gl.constexpr = a_bufs.shape[1]
    DEPTH: gl.constexpr = 256 // a_bufs.dtype.primitive_bitwidth
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, BLOCK_N, DEPTH])
    acc = gl.zeros((ROWS, BLOCK_N), gl.float32, layout)
    # Triton 3.9 puts a barrier before the first wait of the loop unless there is one here, and so into every step.
    thread_barrier()
    for step in range(0, steps):
        stage, phase = place(taken + step, STAGES)
        mbarrier.wait(full.index(stage), phase)
        b = b_bufs.index(stage)
        if B_COL:
            b = b.permute((1, 0))
        acc = warpgroup_mma(a_bufs.index(stage * CONSUMERS + WHICH), b, acc, use_acc=step > 0, is_async=True)
        acc = warpgroup_mma_wait(1, deps=(acc,))
        mbarrier.arrive(empty.index((taken + step - 1) % STAGES), count=1, pred=step > 0)
    acc = warpgroup_mma_wait(0, deps=(acc,))
    mbarrier.arrive(empty.index((taken + steps - 1) % STAGES), count=1)
    return acc


@gluon.jit
def release(ring, taken, steps):
    """Let `steps` fills of the ring pass, from the `taken`-th on."""
    _, b_bufs, empty, full = ring
    STAGES: gl.constexpr = b_bufs.shape[0]
    for step in range(0, steps):
        stage, phase = place(taken + step, STAGES)
        mbarrier.wait(full.index(stage), phase)
        mbarrier.arrive(empty.index(stage), count=1)


@gluon.jit
def scaled(acc, a_scale_ptr, b_scale_ptr, group, row, col, stop, N, ROW_SCALES: gl.constexpr):
    """acc times the scales of its rows of A and of its columns of the group's B."""
    if a_scale_ptr is not None:
        if ROW_SCALES:
            rows = row + gl.arange(0, acc.shape[0], layout=gl.SliceLayout(1, acc.type.layout))
            cols = col + gl.arange(0, acc.shape[1], layout=gl.SliceLayout(0, acc.type.layout))
            of_rows = gl.load(a_scale_ptr + rows, mask=rows < stop, other=0.0)
            of_cols = gl.load(b_scale_ptr + group.to(gl.int64) * N + cols, mask=cols < N, other=0.0)
            acc *= gl.expand_dims(of_rows, 1)
            acc *= gl.expand_dims(of_cols, 0)
        else:
            acc *= gl.load(a_scale_ptr) * gl.load(b_scale_ptr + group)
    return acc


@gluon.jit
def store_rows(
    c_desc, c_ptr, even, odd, acc, row, col, stop, N,
    WHOLE: gl.constexpr, SUBTILE: gl.constexpr, BUFFERS: gl.constexpr, WARPS: gl.constexpr,
):  # fmt: skip
    """Store the rows of `acc` before `stop`, in SUBTILE pieces. With WHOLE all are, and the stores of a piece overlap
    those of the next one; otherwise each piece waits for the stores before it."""
    WIDTH: gl.constexpr = c_desc.block_shape[1]
    if SUBTILE == 1:
        store_piece(c_desc, c_ptr, even, acc, row, col, stop, N, WHOLE, BUFFERS, WARPS)
    else:
        left, right = halves(acc)
        if SUBTILE == 2:
            store_piece(c_desc, c_ptr, even, left, row, col, stop, N, WHOLE, BUFFERS, WARPS)
            store_piece(c_desc, c_ptr, odd, right, row, col + WIDTH, stop, N, WHOLE, BUFFERS, WARPS)
        else:
            gl.static_assert(SUBTILE == 4)
            first, second = halves(left)
            store_piece(c_desc, c_ptr, even, first, row, col, stop, N, WHOLE, BUFFERS, WARPS)
            store_piece(c_desc, c_ptr, odd, second, row, col + WIDTH, stop, N, WHOLE, BUFFERS, WARPS)
            third, fourth = halves(right)
            store_piece(c_desc, c_ptr, even, third, row, col + 2 * WIDTH, stop, N, WHOLE, BUFFERS, WARPS)
            store_piece(c_desc, c_ptr, odd, fourth, row, col + 3 * WIDTH, stop, N, WHOLE, BUFFERS, WARPS)


@gluon.jit
def consume(
    c_desc, c_ptr, ring, staging, plan_ptr, a_scale_ptr, b_scale_ptr, N, K, BLOCKS,
    B_COL: gl.constexpr, ROW_SCALES: gl.constexpr, WHOLE: gl.constexpr, GROUP_M: gl.constexpr,
    SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr, WARPS: gl.constexpr, WHICH: gl.constexpr,
):  # fmt: skip
    """Multiply and store the rows of consumer number WHICH, which has WARPS warps, of every tile of the program."""
    ROWS: gl.constexpr = c_desc.block_shape[0]
    WIDTH: gl.constexpr = c_desc.block_shape[1]
    BLOCK_N: gl.constexpr = WIDTH * SUBTILE
    BLOCK_K: gl.constexpr = ring[0].shape[2]
    BUFFERS: gl.constexpr = staging.shape[0] // CONSUMERS
    even = staging.index(WHICH * BUFFERS)
    odd = staging.index(WHICH * BUFFERS + BUFFERS - 1)
    units = all_units(plan_ptr, N, BLOCKS, BLOCK_N)
    whole = whole_shares(units, gl.num_programs(0), CONSUMERS)
    steps = gl.cdiv(K, BLOCK_K)
    taken = gl.to_tensor(0)  # fills of the ring before those of this tile
    for index in range(gl.program_id(0), all_shares(units, whole, CONSUMERS), gl.num_programs(0)):
        first, tiles, parts = begin(index, units, whole, plan_ptr, N, ROWS, BLOCK_N, GROUP_M, CONSUMERS)
        for tile in range(0, tiles):
            group, row, col, stop = tile_rows(first + tile, parts, plan_ptr, N, ROWS, BLOCK_N, GROUP_M, CONSUMERS)
            row += WHICH * ROWS
            if row < stop:
                acc = multiply(ring, taken, steps, B_COL, BLOCK_N, WARPS, WHICH, CONSUMERS)
                acc = scaled(acc, a_scale_ptr, b_scale_ptr, group, row, col, stop, N, ROW_SCALES)
                if WHOLE or row + ROWS <= stop:
                    store_rows(c_desc, c_ptr, even, odd, acc, row, col, stop, N, True, SUBTILE, BUFFERS, WARPS)
                else:
                    store_rows(c_desc, c_ptr, even, odd, acc, row, col, stop, N, False, SUBTILE, BUFFERS, WARPS)
            else:
                release(ring, taken, steps)
            taken += steps
    tma.store_wait(0)  # shared memory is freed when the program ends


@gluon.jit(do_not_specialize=["N", "K", "BLOCKS"])
def grouped_trimmed(
    a_desc, b_desc, c_desc, c_ptr, plan_ptr, a_scale_ptr, b_scale_ptr, N, K, BLOCKS,
    B_COL: gl.constexpr, ROW_SCALES: gl.constexpr, WHOLE: gl.constexpr, OVERLAP: gl.constexpr, GROUP_M: gl.constexpr,
    STAGES: gl.constexpr, SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr,
    CONSUMER_REGISTERS: gl.constexpr, PRODUCER_REGISTERS: gl.constexpr,
):  # fmt: skip
    """Each of n programs takes every n-th share. The kernel is launched with the warps of one consumer. The first
    consumer runs on them; the second consumer and the producer run on additional warps. The descriptors' blocks are
    those of one consumer."""
    WARPS: gl.constexpr = gl.num_warps()
    BLOCK_N: gl.constexpr = c_desc.block_shape[1] * SUBTILE
    BUFFERS: gl.constexpr = CONSUMERS if SUBTILE == 1 else 2 * CONSUMERS
    a_bufs = gl.allocate_shared_memory(a_desc.dtype, [STAGES * CONSUMERS] + a_desc.block_shape, a_desc.layout)  # noqa: RUF005
    b_bufs = gl.allocate_shared_memory(b_desc.dtype, [STAGES] + b_desc.block_shape, b_desc.layout)  # noqa: RUF005
    staging = gl.allocate_shared_memory(c_desc.dtype, [BUFFERS] + c_desc.block_shape, c_desc.layout)  # noqa: RUF005
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(STAGES):
        mbarrier.init(empty.index(i), count=CONSUMERS)
        mbarrier.init(full.index(i), count=1)
    fence_async_shared()
    if OVERLAP:
        gl.inline_asm_elementwise("griddepcontrol.wait; // dummy $0", "=r", [], dtype=gl.int32, is_pure=False, pack=1)

    ring = (a_bufs, b_bufs, empty, full)
    # Each role's arguments are written out, because a name for the tuple would turn compile-time values into tensors.
    # fmt: off
    if CONSUMERS == 1:
        gl.warp_specialize([
            (consume, (
                c_desc, c_ptr, ring, staging, plan_ptr, a_scale_ptr, b_scale_ptr, N, K, BLOCKS,
                B_COL, ROW_SCALES, WHOLE, GROUP_M, SUBTILE, CONSUMERS, WARPS, 0,
            )),
            (produce, (a_desc, b_desc, ring, plan_ptr, N, K, BLOCKS, BLOCK_N, B_COL, GROUP_M, CONSUMERS)),
        ], [1], [PRODUCER_REGISTERS])
    else:
        gl.warp_specialize([
            (consume, (
                c_desc, c_ptr, ring, staging, plan_ptr, a_scale_ptr, b_scale_ptr, N, K, BLOCKS,
                B_COL, ROW_SCALES, WHOLE, GROUP_M, SUBTILE, CONSUMERS, WARPS, 0,
            )),
            (consume, (
                c_desc, c_ptr, ring, staging, plan_ptr, a_scale_ptr, b_scale_ptr, N, K, BLOCKS,
                B_COL, ROW_SCALES, WHOLE, GROUP_M, SUBTILE, CONSUMERS, WARPS, 1,
            )),
            (produce, (a_desc, b_desc, ring, plan_ptr, N, K, BLOCKS, BLOCK_N, B_COL, GROUP_M, CONSUMERS)),
        ], [WARPS, 1], [CONSUMER_REGISTERS, PRODUCER_REGISTERS])
    # fmt: on


def launch(
    problem: GroupedProblem,
    config: GroupedConfig,
    a: torch.Tensor,
    b: torch.Tensor,
    scales: Scales | None,
    out: torch.Tensor,
    plan: torch.Tensor,
    blocks: int,
    hardware: Hardware,
) -> None:
    """Launch one ``trimmed`` config once and write `out`. `plan` is the table of `blocks` blocks of one consumer's rows
    (``planned_rows``), the other arguments are those of ``kernels.grouped.grouped_launch.launch_grouped``."""
    p, c = problem, config
    b_col = b.stride(2) != 1
    rows = planned_rows(c)
    tall = b.transpose(1, 2).reshape(-1, p.K) if b_col else b.reshape(-1, p.N)
    a_scale, b_scale = scales or (None, None)
    grouped_trimmed[(programs(p, c, hardware.sms),)](
        _descriptor(a, [rows, c.BLOCK_K]),
        _descriptor(tall, [c.BLOCK_N, c.BLOCK_K] if b_col else [c.BLOCK_K, c.BLOCK_N]),
        _descriptor(out, [rows, c.BLOCK_N // c.EPILOGUE_SUBTILE]),
        out,
        plan,
        a_scale,
        b_scale,
        p.N,
        p.K,
        blocks,
        B_COL=b_col,
        ROW_SCALES=scales is not None and p.scales == "row",
        WHOLE=whole_tiles(p, c),
        OVERLAP=c.OVERLAP,
        GROUP_M=c.GROUP_M,
        STAGES=c.num_stages,
        SUBTILE=c.EPILOGUE_SUBTILE,
        CONSUMERS=c.CONSUMERS,
        CONSUMER_REGISTERS=CONSUMER_REGISTERS,
        PRODUCER_REGISTERS=PRODUCER_REGISTERS,
        num_warps=c.num_warps // c.CONSUMERS,
        maxnreg=LAUNCH_REGISTERS,
        **overlap.attribute(c.OVERLAP),
    )


def _descriptor(tensor: torch.Tensor, block: list[int]) -> TensorDescriptor:
    """A descriptor of blocks, with the widest swizzle in shared memory that their size allows."""
    layout = gl.NVMMASharedLayout.get_default_for(block, DTYPES[tensor.dtype])
    return TensorDescriptor.from_tensor(tensor, block, layout)
