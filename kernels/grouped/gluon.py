"""Family ``warp_specialized`` of ``grouped_matmul``, in Gluon: the persistent Hopper kernel of ``kernels.gemm.gluon``,
whose tiles come from the table of ``kernels.grouped.grouped_launch``.

One *producer* warp loads tiles of A and B into a ring of shared buffers, one or two *consumers* multiply them and store
the result (``kernels.gemm.gluon`` explains ring, barriers and turns). A tile whose group ends within it goes through
the same staging buffers, but by masked stores of the threads, because a store by descriptor would overwrite the next
group's rows.

Import this module only if ``kernels.grouped.space.constraint`` is None.
"""

from __future__ import annotations

import torch
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, tma
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels.gemm.gluon import DTYPES, halves, load_tile, multiply, place, store_tile, tile_position
from kernels.gemm.gluon_space import CONSUMER_REGISTERS, LAUNCH_REGISTERS, PRODUCER_REGISTERS, takes_turns
from kernels.grouped.config import GroupedConfig, GroupedProblem, programs, whole_tiles
from kernels.hardware import Hardware


@gluon.jit
def grouped_tile(tile, plan_ptr, N, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, GROUP_M: gl.constexpr):
    """Group, first row and first column of a tile, and the row after its group's last."""
    columns = gl.cdiv(N, BLOCK_N)
    at = plan_ptr + tile // columns * 4
    group = gl.load(at)
    first = gl.load(at + 1)
    start = gl.load(at + 2)
    end = gl.load(at + 3)
    pid_m, pid_n = tile_position(tile - first * columns, end - start, N, BLOCK_M, BLOCK_N, GROUP_M)
    return group, start + pid_m * BLOCK_M, pid_n * BLOCK_N, end


@gluon.jit
def produce(
    a_desc, b_desc, ring, plan_ptr, N, K, BLOCKS,
    BLOCK_N: gl.constexpr, B_COL: gl.constexpr, GROUP_M: gl.constexpr,
):  # fmt: skip
    """Load every tile of this program, BLOCK_K at a time."""
    a_bufs, b_bufs, empty, full = ring
    STAGES: gl.constexpr = a_bufs.shape[0]
    BLOCK_M: gl.constexpr = a_bufs.shape[1]
    BLOCK_K: gl.constexpr = a_bufs.shape[2]
    BYTES: gl.constexpr = a_desc.block_type.nbytes + b_desc.block_type.nbytes
    steps = gl.cdiv(K, BLOCK_K)
    tiles = gl.load(plan_ptr + BLOCKS * 4) * gl.cdiv(N, BLOCK_N)
    filled = gl.to_tensor(0)
    for tile in range(gl.program_id(0), tiles, gl.num_programs(0)):
        group, row, col, _ = grouped_tile(tile, plan_ptr, N, BLOCK_M, BLOCK_N, GROUP_M)
        for step in range(0, steps):
            k = step * BLOCK_K
            stage, phase = place(filled + step, STAGES)
            # A new barrier counts as having completed its phase 1, so the first round does not wait.
            mbarrier.wait(empty.index(stage), phase ^ 1)
            landed = full.index(stage)
            mbarrier.expect(landed, BYTES)
            load_tile(a_desc, [row, k], landed, a_bufs.index(stage))
            if B_COL:
                load_tile(b_desc, [group * N + col, k], landed, b_bufs.index(stage))
            else:
                load_tile(b_desc, [group * K + k, col], landed, b_bufs.index(stage))
        filled += steps


@gluon.jit
def store_piece(
    c_desc, c_ptr, buffer, acc, row, col, end, N,
    WHOLE: gl.constexpr, BUFFERS: gl.constexpr, WARPS: gl.constexpr,
):  # fmt: skip
    """Round `acc` and store its rows before `end` to C at (row, col) through `buffer`, one of BUFFERS buffers that
    alternate. The store is asynchronous if all rows are before `end`, which WHOLE promises."""
    HEIGHT: gl.constexpr = acc.shape[0]
    WIDTH: gl.constexpr = acc.shape[1]
    c = acc.to(c_desc.dtype)
    if WHOLE:
        tma.store_wait(BUFFERS - 1)  # the store that last used this buffer has read it
        buffer.store(c)
        fence_async_shared()
        store_tile(c_desc, [row, col], buffer)
    else:
        # A masked store commits no group of asynchronous stores, so all of them are waited for.
        tma.store_wait(0)
        buffer.store(c)
        if row + HEIGHT <= end:
            fence_async_shared()
            store_tile(c_desc, [row, col], buffer)
        else:
            OUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // WIDTH, WIDTH // 8], [WARPS, 1], [1, 0])
            part = buffer.load(OUT)
            rows = row + gl.arange(0, HEIGHT, layout=gl.SliceLayout(1, OUT))
            cols = col + gl.arange(0, WIDTH, layout=gl.SliceLayout(0, OUT))
            at = c_ptr + rows.to(gl.int64)[:, None] * N + cols[None, :]
            gl.store(at, part, mask=(rows < end)[:, None] & (cols < N)[None, :])


@gluon.jit
def consume(
    c_desc, c_ptr, ring, turn, staging, plan_ptr, N, K, BLOCKS,
    B_COL: gl.constexpr, WHOLE: gl.constexpr, GROUP_M: gl.constexpr,
    SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr, TURNS: gl.constexpr, WARPS: gl.constexpr, WHICH: gl.constexpr,
):  # fmt: skip
    """Multiply and store this consumer's share of the program's tiles. The consumer is number WHICH of CONSUMERS and
    has WARPS warps."""
    BLOCK_M: gl.constexpr = ring[0].shape[1]
    BLOCK_K: gl.constexpr = ring[0].shape[2]
    ROWS: gl.constexpr = c_desc.block_shape[0]
    WIDTH: gl.constexpr = c_desc.block_shape[1]
    BLOCK_N: gl.constexpr = WIDTH * SUBTILE
    BUFFERS: gl.constexpr = staging.shape[0] // CONSUMERS
    even = staging.index(WHICH * BUFFERS)
    odd = staging.index(WHICH * BUFFERS + BUFFERS - 1)

    steps = gl.cdiv(K, BLOCK_K)
    tiles = gl.load(plan_ptr + BLOCKS * 4) * gl.cdiv(N, BLOCK_N)
    start, stride = gl.program_id(0), gl.num_programs(0)
    taken = gl.to_tensor(0)  # fills of the ring before those of this tile
    own = gl.to_tensor(WHICH)  # the phase of `turn`: consumer 0 has the first turn without waiting
    if TURNS:
        start += WHICH * stride
        stride *= CONSUMERS
        taken += WHICH * steps
    for tile in range(start, tiles, stride):
        if TURNS:
            # A barrier's phase distinguishes only two successive uses of a stage. So wait on the ring only when the
            # other consumer has waited for all stages of its own tile.
            mbarrier.wait(turn.index(WHICH), own ^ 1)
            own ^= 1
        acc = multiply(ring, turn, taken, steps, B_COL, ROWS, BLOCK_N, TURNS, WARPS, WHICH)
        taken += steps * CONSUMERS if TURNS else steps
        _, row, col, end = grouped_tile(tile, plan_ptr, N, BLOCK_M, BLOCK_N, GROUP_M)
        if not TURNS:
            row += WHICH * ROWS
        if SUBTILE == 1:
            store_piece(c_desc, c_ptr, even, acc, row, col, end, N, WHOLE, BUFFERS, WARPS)
        else:
            left, right = halves(acc)
            if SUBTILE == 2:
                store_piece(c_desc, c_ptr, even, left, row, col, end, N, WHOLE, BUFFERS, WARPS)
                store_piece(c_desc, c_ptr, odd, right, row, col + WIDTH, end, N, WHOLE, BUFFERS, WARPS)
            else:
                gl.static_assert(SUBTILE == 4)
                first, second = halves(left)
                store_piece(c_desc, c_ptr, even, first, row, col, end, N, WHOLE, BUFFERS, WARPS)
                store_piece(c_desc, c_ptr, odd, second, row, col + WIDTH, end, N, WHOLE, BUFFERS, WARPS)
                third, fourth = halves(right)
                store_piece(c_desc, c_ptr, even, third, row, col + 2 * WIDTH, end, N, WHOLE, BUFFERS, WARPS)
                store_piece(c_desc, c_ptr, odd, fourth, row, col + 3 * WIDTH, end, N, WHOLE, BUFFERS, WARPS)
    tma.store_wait(0)  # shared memory is freed when the program ends


@gluon.jit(do_not_specialize=["N", "K", "BLOCKS"])
def grouped_warp_specialized(
    a_desc, b_desc, c_desc, c_ptr, plan_ptr, N, K, BLOCKS,
    B_COL: gl.constexpr, WHOLE: gl.constexpr, GROUP_M: gl.constexpr, STAGES: gl.constexpr, SUBTILE: gl.constexpr,
    CONSUMERS: gl.constexpr, TURNS: gl.constexpr, CONSUMER_REGISTERS: gl.constexpr, PRODUCER_REGISTERS: gl.constexpr,
):  # fmt: skip
    """Each of n programs takes every n-th tile. The kernel is launched with the warps of one consumer. The first
    consumer runs on them; the second consumer and the producer run on additional warps. The tile's sides are those of
    the descriptors."""
    WARPS: gl.constexpr = gl.num_warps()
    BLOCK_N: gl.constexpr = c_desc.block_shape[1] * SUBTILE
    BUFFERS: gl.constexpr = CONSUMERS if SUBTILE == 1 else 2 * CONSUMERS
    a_bufs = gl.allocate_shared_memory(a_desc.dtype, [STAGES] + a_desc.block_shape, a_desc.layout)  # noqa: RUF005
    b_bufs = gl.allocate_shared_memory(b_desc.dtype, [STAGES] + b_desc.block_shape, b_desc.layout)  # noqa: RUF005
    staging = gl.allocate_shared_memory(c_desc.dtype, [BUFFERS] + c_desc.block_shape, c_desc.layout)  # noqa: RUF005
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(STAGES):
        mbarrier.init(empty.index(i), count=1 if TURNS else CONSUMERS)
        mbarrier.init(full.index(i), count=1)
    turn = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(2):
        mbarrier.init(turn.index(i), count=1)
    fence_async_shared()

    ring = (a_bufs, b_bufs, empty, full)
    # Each role's arguments are written out, because a name for the tuple would turn compile-time values into tensors.
    # fmt: off
    if CONSUMERS == 1:
        gl.warp_specialize([
            (consume, (
                c_desc, c_ptr, ring, turn, staging, plan_ptr, N, K, BLOCKS,
                B_COL, WHOLE, GROUP_M, SUBTILE, CONSUMERS, TURNS, WARPS, 0,
            )),
            (produce, (a_desc, b_desc, ring, plan_ptr, N, K, BLOCKS, BLOCK_N, B_COL, GROUP_M)),
        ], [1], [PRODUCER_REGISTERS])
    else:
        gl.warp_specialize([
            (consume, (
                c_desc, c_ptr, ring, turn, staging, plan_ptr, N, K, BLOCKS,
                B_COL, WHOLE, GROUP_M, SUBTILE, CONSUMERS, TURNS, WARPS, 0,
            )),
            (consume, (
                c_desc, c_ptr, ring, turn, staging, plan_ptr, N, K, BLOCKS,
                B_COL, WHOLE, GROUP_M, SUBTILE, CONSUMERS, TURNS, WARPS, 1,
            )),
            (produce, (a_desc, b_desc, ring, plan_ptr, N, K, BLOCKS, BLOCK_N, B_COL, GROUP_M)),
        ], [WARPS, 1], [CONSUMER_REGISTERS, PRODUCER_REGISTERS])
    # fmt: on


def launch(
    problem: GroupedProblem,
    config: GroupedConfig,
    a: torch.Tensor,
    b: torch.Tensor,
    out: torch.Tensor,
    plan: torch.Tensor,
    blocks: int,
    hardware: Hardware,
) -> None:
    """Launch one ``warp_specialized`` config once and write `out`. `plan` is the table of `blocks` blocks; the other
    arguments are those of ``kernels.grouped.grouped_launch.launch_grouped``."""
    p, c = problem, config
    b_col = b.stride(2) != 1
    turns = takes_turns(c.as_gemm())
    rows = c.BLOCK_M if turns else c.BLOCK_M // c.CONSUMERS
    tall = b.transpose(1, 2).reshape(-1, p.K) if b_col else b.reshape(-1, p.N)
    grouped_warp_specialized[(programs(p, c, hardware.sms),)](
        _descriptor(a, [c.BLOCK_M, c.BLOCK_K]),
        _descriptor(tall, [c.BLOCK_N, c.BLOCK_K] if b_col else [c.BLOCK_K, c.BLOCK_N]),
        _descriptor(out, [rows, c.BLOCK_N // c.EPILOGUE_SUBTILE]),
        out,
        plan,
        p.N,
        p.K,
        blocks,
        B_COL=b_col,
        WHOLE=whole_tiles(p, c),
        GROUP_M=c.GROUP_M,
        STAGES=c.num_stages,
        SUBTILE=c.EPILOGUE_SUBTILE,
        CONSUMERS=c.CONSUMERS,
        TURNS=turns,
        CONSUMER_REGISTERS=CONSUMER_REGISTERS,
        PRODUCER_REGISTERS=PRODUCER_REGISTERS,
        num_warps=c.num_warps // c.CONSUMERS,
        maxnreg=LAUNCH_REGISTERS,
    )


def _descriptor(tensor: torch.Tensor, block: list[int]) -> TensorDescriptor:
    """A descriptor of blocks, with the widest swizzle in shared memory that their size allows."""
    layout = gl.NVMMASharedLayout.get_default_for(block, DTYPES[tensor.dtype])
    return TensorDescriptor.from_tensor(tensor, block, layout)
