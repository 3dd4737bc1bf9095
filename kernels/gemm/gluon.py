"""Family ``warp_specialized`` of the matmul kernels, in Gluon: a persistent kernel for Hopper with specialised warps.

One *producer* warp issues every load of the program. The tensor memory accelerator loads tiles of A and B into a ring
of `num_stages` shared buffers, without a pause between tiles. One or two *consumers* multiply the loaded tiles and hold
the accumulator in registers. Each stage has two barriers: ``full`` completes when the bytes of both operands have
arrived, ``empty`` completes when every consumer of the stage has finished its matrix instructions on it.

Two consumers share the work in one of two ways. ``takes_turns`` decides: it is true if one consumer can hold a whole
tile.

- *halves*: each consumer multiplies half of the tile's rows with the same B. The ring lets one consumer run ahead of
  the other, so that the epilogue of one overlaps the multiplication of the other.
- *turns* ("ping-pong"): each consumer takes every second tile and multiplies while the other stores. A third barrier,
  ``turn``, passes the tensor cores to the other consumer when the last step of a tile has been issued.

The epilogue stores a tile in pieces of BLOCK_N / EPILOGUE_SUBTILE columns, through two alternating staging buffers (one
if the tile is one piece). Its stores are asynchronous: the last stores of a tile overlap the next tile.

Programs take the same tiles in the same order as those of ``persistent_tma``, unless SNAKE reverses a part of the
order. It does so to start a round of tiles with the operands that the round before read last, which L2 still holds.

Semantics are those of ``kernels.gemm.launch``: fp16 or bf16 operands, fp32 accumulation, one rounding, any M, N and K
with rows of a multiple of 16 bytes. Loads past an edge read zero and stores past an edge are dropped.

Gluon's names are those of Triton 3.6. If later versions renamed one, both names are tried below. Import this module
only if ``kernels.gemm.gluon_space.constraint`` is None.
"""

from __future__ import annotations

from typing import Literal

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

from kernels.gemm import tiles
from kernels.gemm.gluon_space import CONSUMER_REGISTERS, LAUNCH_REGISTERS, PRODUCER_REGISTERS, takes_turns
from kernels.gemm.space import GemmConfig, programs
from kernels.hardware import Hardware
from kernels.triton import activations
from kernels.triton.activations import Activation

# Renamed after Triton 3.6. In 3.6 the new names do not exist; in later versions the old ones raise.
load_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared
store_tile = getattr(tma, "async_store", None) or tma.async_copy_shared_to_global

DTYPES = {torch.float16: gl.float16, torch.bfloat16: gl.bfloat16}

# The same source as in the Triton kernels, compiled by Gluon's front end.
activate = gluon.jit(activations.activate.fn)
tile_position = gluon.jit(tiles.tile_position.fn)


@gluon.jit
def walk(tile, M, N, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, GROUP_M: gl.constexpr, SNAKE: gl.constexpr):
    """First row and column of the `tile`-th tile in the order of ``tile_position``. With SNAKE, every second group of
    rows goes from its last column to its first."""
    pid_m, pid_n = tile_position(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M)
    if SNAKE:
        pid_n = gl.where(pid_m // GROUP_M % 2 == 1, gl.cdiv(N, BLOCK_N) - 1 - pid_n, pid_n)
    return pid_m * BLOCK_M, pid_n * BLOCK_N


@gluon.jit
def place(count, STAGES: gl.constexpr):
    """Stage and phase of the ring's `count`-th fill. They are computed and not kept from fill to fill, because Triton's
    front end misses the changes that a loop makes to a name whose value on entry is also that of another name (as after
    ``before = stage``)."""
    return count % STAGES, count // STAGES & 1


@gluon.jit
def produce(
    a_desc, b_desc, ring, M, N, K,
    BLOCK_N: gl.constexpr, B_COL: gl.constexpr, GROUP_M: gl.constexpr, SNAKE: gl.constexpr,
):  # fmt: skip
    """Load every tile of this program, BLOCK_K at a time. With SNAKE 2, every second tile starts from the end of K."""
    a_bufs, b_bufs, empty, full = ring
    STAGES: gl.constexpr = a_bufs.shape[0]
    BLOCK_M: gl.constexpr = a_bufs.shape[1]
    BLOCK_K: gl.constexpr = a_bufs.shape[2]
    BYTES: gl.constexpr = a_desc.block_type.nbytes + b_desc.block_type.nbytes
    steps = gl.cdiv(K, BLOCK_K)
    filled = gl.to_tensor(0)
    backwards = gl.to_tensor(0)
    for tile in range(gl.program_id(0), gl.cdiv(M, BLOCK_M) * gl.cdiv(N, BLOCK_N), gl.num_programs(0)):
        row, col = walk(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M, SNAKE)
        for step in range(0, steps):
            k = gl.where(backwards == 1, steps - 1 - step, step) * BLOCK_K
            stage, phase = place(filled + step, STAGES)
            # A new barrier counts as having completed its phase 1, so the first round does not wait.
            mbarrier.wait(empty.index(stage), phase ^ 1)
            landed = full.index(stage)
            mbarrier.expect(landed, BYTES)
            load_tile(a_desc, [row, k], landed, a_bufs.index(stage))
            if B_COL:
                load_tile(b_desc, [col, k], landed, b_bufs.index(stage))
            else:
                load_tile(b_desc, [k, col], landed, b_bufs.index(stage))
        filled += steps
        if SNAKE == 2:
            backwards ^= 1


@gluon.jit
def multiply(
    ring, turn, taken, steps,
    B_COL: gl.constexpr, ROWS: gl.constexpr, BLOCK_N: gl.constexpr, TURNS: gl.constexpr, WARPS: gl.constexpr,
    WHICH: gl.constexpr,
):  # fmt: skip
    """ROWS rows of one tile of A @ B in fp32. The tile takes `steps` >= 1 fills of the ring, from the `taken`-th on.

    The matrix instructions of one step are in flight while those of the next step are issued. A stage is released when
    its own step has finished and the next one has been issued."""
    a_bufs, b_bufs, empty, full = ring
    STAGES: gl.constexpr = a_bufs.shape[0]
    FIRST_ROW: gl.constexpr = 0 if TURNS else WHICH * ROWS
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, BLOCK_N, 16])
    acc = gl.zeros((ROWS, BLOCK_N), gl.float32, layout)
    for step in range(0, steps):
        stage, phase = place(taken + step, STAGES)
        mbarrier.wait(full.index(stage), phase)
        a = a_bufs.index(stage).slice(FIRST_ROW, ROWS)
        b = b_bufs.index(stage)
        if B_COL:
            b = b.permute((1, 0))
        acc = warpgroup_mma(a, b, acc, use_acc=step > 0, is_async=True)
        acc = warpgroup_mma_wait(1, deps=(acc,))
        mbarrier.arrive(empty.index((taken + step - 1) % STAGES), count=1, pred=step > 0)
    if TURNS:
        mbarrier.arrive(turn.index(1 - WHICH), count=1)
    acc = warpgroup_mma_wait(0, deps=(acc,))
    mbarrier.arrive(empty.index((taken + steps - 1) % STAGES), count=1)
    return acc


@gluon.jit
def halves(x):
    """The left and the right half of the columns of `x`."""
    return x.reshape([x.shape[0], 2, x.shape[1] // 2]).permute((0, 2, 1)).split()


@gluon.jit
def store_columns(c_desc, buffer, acc, bias_ptr, row, col, N, ACTIVATION: gl.constexpr, BUFFERS: gl.constexpr):
    """Round act(acc + bias) and store it asynchronously to C at (row, col) through `buffer`, one of BUFFERS buffers
    that alternate."""
    if bias_ptr is not None:
        cols = col + gl.arange(0, acc.shape[1], layout=gl.SliceLayout(0, acc.type.layout))
        bias = gl.load(bias_ptr + cols, mask=cols < N, other=0.0)
        acc += gl.expand_dims(bias.to(gl.float32), 0)
    c = activate(acc, ACTIVATION).to(c_desc.dtype)
    tma.store_wait(BUFFERS - 1)  # the store that last used this buffer has read it
    buffer.store(c)
    fence_async_shared()
    store_tile(c_desc, [row, col], buffer)


@gluon.jit
def consume(
    c_desc, ring, turn, staging, bias_ptr, M, N, K,
    B_COL: gl.constexpr, ACTIVATION: gl.constexpr, GROUP_M: gl.constexpr,
    SNAKE: gl.constexpr, SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr, TURNS: gl.constexpr, WARPS: gl.constexpr,
    WHICH: gl.constexpr,
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
    start, stride = gl.program_id(0), gl.num_programs(0)
    taken = gl.to_tensor(0)  # fills of the ring before those of this tile
    own = gl.to_tensor(WHICH)  # the phase of `turn`: consumer 0 has the first turn without waiting
    if TURNS:
        start += WHICH * stride
        stride *= CONSUMERS
        taken += WHICH * steps
    for tile in range(start, gl.cdiv(M, BLOCK_M) * gl.cdiv(N, BLOCK_N), stride):
        if TURNS:
            # A barrier's phase distinguishes only two successive uses of a stage. So wait on the ring only when the
            # other consumer has waited for all stages of its own tile.
            mbarrier.wait(turn.index(WHICH), own ^ 1)
            own ^= 1
        acc = multiply(ring, turn, taken, steps, B_COL, ROWS, BLOCK_N, TURNS, WARPS, WHICH)
        taken += steps * CONSUMERS if TURNS else steps
        row, col = walk(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M, SNAKE)
        if not TURNS:
            row += WHICH * ROWS
        if SUBTILE == 1:
            store_columns(c_desc, even, acc, bias_ptr, row, col, N, ACTIVATION, BUFFERS)
        else:
            left, right = halves(acc)
            if SUBTILE == 2:
                store_columns(c_desc, even, left, bias_ptr, row, col, N, ACTIVATION, BUFFERS)
                store_columns(c_desc, odd, right, bias_ptr, row, col + WIDTH, N, ACTIVATION, BUFFERS)
            else:
                gl.static_assert(SUBTILE == 4)
                first, second = halves(left)
                store_columns(c_desc, even, first, bias_ptr, row, col, N, ACTIVATION, BUFFERS)
                store_columns(c_desc, odd, second, bias_ptr, row, col + WIDTH, N, ACTIVATION, BUFFERS)
                third, fourth = halves(right)
                store_columns(c_desc, even, third, bias_ptr, row, col + 2 * WIDTH, N, ACTIVATION, BUFFERS)
                store_columns(c_desc, odd, fourth, bias_ptr, row, col + 3 * WIDTH, N, ACTIVATION, BUFFERS)
    tma.store_wait(0)  # shared memory is freed when the program ends


@gluon.jit(do_not_specialize=["M", "N", "K"])
def gemm_warp_specialized(
    a_desc, b_desc, c_desc, bias_ptr, M, N, K,
    B_COL: gl.constexpr, ACTIVATION: gl.constexpr, GROUP_M: gl.constexpr,
    SNAKE: gl.constexpr, STAGES: gl.constexpr, SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr, TURNS: gl.constexpr,
    CONSUMER_REGISTERS: gl.constexpr, PRODUCER_REGISTERS: gl.constexpr,
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
                c_desc, ring, turn, staging, bias_ptr, M, N, K,
                B_COL, ACTIVATION, GROUP_M, SNAKE, SUBTILE, CONSUMERS, TURNS, WARPS, 0,
            )),
            (produce, (a_desc, b_desc, ring, M, N, K, BLOCK_N, B_COL, GROUP_M, SNAKE)),
        ], [1], [PRODUCER_REGISTERS])
    else:
        gl.warp_specialize([
            (consume, (
                c_desc, ring, turn, staging, bias_ptr, M, N, K,
                B_COL, ACTIVATION, GROUP_M, SNAKE, SUBTILE, CONSUMERS, TURNS, WARPS, 0,
            )),
            (consume, (
                c_desc, ring, turn, staging, bias_ptr, M, N, K,
                B_COL, ACTIVATION, GROUP_M, SNAKE, SUBTILE, CONSUMERS, TURNS, WARPS, 1,
            )),
            (produce, (a_desc, b_desc, ring, M, N, K, BLOCK_N, B_COL, GROUP_M, SNAKE)),
        ], [WARPS, 1], [CONSUMER_REGISTERS, PRODUCER_REGISTERS])
    # fmt: on


def launch(
    a: torch.Tensor,
    b: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    activation: Activation,
    config: GemmConfig,
    hardware: Hardware,
    *,
    snake: Literal[0, 1, 2] = 2,
) -> None:
    """Launch one ``warp_specialized`` config once and write `out`. Arguments are those of
    ``kernels.gemm.launch.launch_gemm``.

    `snake` reverses nothing (0), the columns of every second group of rows (1), or these columns and the direction of K
    in every second round of tiles (2)."""
    M, N = out.shape
    b_col = b.stride(1) != 1
    turns = takes_turns(config)
    rows = config.BLOCK_M if turns else config.BLOCK_M // config.CONSUMERS
    grid = (programs(M, N, config, hardware),)
    gemm_warp_specialized[grid](
        _descriptor(a, [config.BLOCK_M, config.BLOCK_K]),
        _descriptor(b.T, [config.BLOCK_N, config.BLOCK_K])
        if b_col
        else _descriptor(b, [config.BLOCK_K, config.BLOCK_N]),
        _descriptor(out, [rows, config.BLOCK_N // config.EPILOGUE_SUBTILE]),
        bias,
        M,
        N,
        a.shape[1],
        B_COL=b_col,
        ACTIVATION=activation,
        GROUP_M=config.GROUP_M,
        SNAKE=snake,
        STAGES=config.num_stages,
        SUBTILE=config.EPILOGUE_SUBTILE,
        CONSUMERS=config.CONSUMERS,
        TURNS=turns,
        CONSUMER_REGISTERS=CONSUMER_REGISTERS,
        PRODUCER_REGISTERS=PRODUCER_REGISTERS,
        num_warps=config.num_warps // config.CONSUMERS,
        maxnreg=LAUNCH_REGISTERS,
    )


def _descriptor(tensor: torch.Tensor, block: list[int]) -> TensorDescriptor:
    """A descriptor of blocks, with the widest swizzle in shared memory that their size allows."""
    layout = gl.NVMMASharedLayout.get_default_for(block, DTYPES[tensor.dtype])
    return TensorDescriptor.from_tensor(tensor, block, layout)
