"""Family ``warp_specialized`` of the matmul kernels, in Gluon: a persistent kernel for Hopper whose warps have roles.

One *producer* warp issues every load: tiles of A and B, by the tensor memory accelerator, into a ring of `num_stages`
shared buffers, through all tiles of the program without a pause. One or two *consumers* multiply what arrives and hold
the accumulator in registers. Two barriers a stage connect them: ``full`` completes when the bytes of both operands have
landed, ``empty`` when every consumer of the stage has finished its matrix instructions on it.

Two consumers come in two arrangements, told apart by whether one consumer can hold a whole tile (``takes_turns``):

- *halves*: each multiplies half of the tile's rows with the same B. The ring lets one run ahead of the other, so that
  the epilogue of one overlaps the multiplication of the other;
- *turns* ("ping-pong"): each has every second tile to itself and multiplies while the other stores. A third kind of
  barrier, ``turn``, passes the tensor cores on as soon as the last step of a tile has been issued.

The epilogue is stored in pieces of BLOCK_N / EPILOGUE_SUBTILE columns, through two staging buffers that take turns (one
if the tile is one piece). Its stores are asynchronous: the last ones of a tile run into the next tile.

Programs walk the same tiles in the same order as ``persistent_tma``'s do, except for what SNAKE turns around so that a
round of tiles starts with the operands that the round before read last and L2 still holds.

Semantics are those of ``kernels.gemm.launch``: fp16 or bf16 operands, fp32 accumulation, one rounding, any M, N and K
with rows of a multiple of 16 bytes. Loads past an edge read zero and stores past an edge are dropped.

Gluon's names are those of Triton 3.6; where later versions renamed one, both are tried below. Import this module only
where ``kernels.gemm.gluon_space.constraint`` is None.
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

# Renamed after Triton 3.6, where the new names do not exist and, later, the old ones raise.
load_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared
store_tile = getattr(tma, "async_store", None) or tma.async_copy_shared_to_global

DTYPES = {torch.float16: gl.float16, torch.bfloat16: gl.bfloat16}

# The same source, compiled by Gluon's front end.
activate = gluon.jit(activations.activate.fn)
tile_position = gluon.jit(tiles.tile_position.fn)


@gluon.jit
def walk(tile, M, N, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, GROUP_M: gl.constexpr, SNAKE: gl.constexpr):
    """First row and column of the `tile`-th tile in the order of ``tile_position``; with SNAKE, every second group of
    rows is walked from its last column to its first."""
    pid_m, pid_n = tile_position(tile, M, N, BLOCK_M, BLOCK_N, GROUP_M)
    if SNAKE:
        pid_n = gl.where(pid_m // GROUP_M % 2 == 1, gl.cdiv(N, BLOCK_N) - 1 - pid_n, pid_n)
    return pid_m * BLOCK_M, pid_n * BLOCK_N


@gluon.jit
def place(count, STAGES: gl.constexpr):
    """Stage and phase of the ring's `count`-th fill. Computed rather than kept from fill to fill: Triton's front end
    overlooks that a loop changes a name which held the same value as another on entry (as after ``before = stage``)."""
    return count % STAGES, count // STAGES & 1


@gluon.jit
def produce(
    a_desc, b_desc, ring, M, N, K,
    BLOCK_N: gl.constexpr, B_COL: gl.constexpr, GROUP_M: gl.constexpr, SNAKE: gl.constexpr,
):  # fmt: skip
    """Load every tile of this program, BLOCK_K at a time; with SNAKE 2, every second one from the end of K."""
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
            # A fresh barrier counts as having completed its phase 1: the first round does not wait.
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
    """ROWS rows of one tile of A @ B in fp32, whose `steps` >= 1 fills of the ring start with the `taken`-th.

    The matrix instructions of one step are in flight while those of the next are issued; a stage is released when the
    step after it has been issued and its own is done."""
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
    """Round act(acc + bias) and store it to C at (row, col), asynchronously, through `buffer`, one of BUFFERS that take
    turns."""
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
    """Consumer WHICH of CONSUMERS, WARPS warps: multiply and store its share of this program's tiles."""
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
    own = gl.to_tensor(WHICH)  # the phase of the turn: consumer 0 has the first one without being given it
    if TURNS:
        start += WHICH * stride
        stride *= CONSUMERS
        taken += WHICH * steps
    for tile in range(start, gl.cdiv(M, BLOCK_M) * gl.cdiv(N, BLOCK_N), stride):
        if TURNS:
            # A barrier's phase tells apart this use of a stage and the one before it, no more: look at the ring only
            # when the other consumer has seen all of its own stages.
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
    tma.store_wait(0)  # shared memory is given back when the program ends


@gluon.jit(do_not_specialize=["M", "N", "K"])
def gemm_warp_specialized(
    a_desc, b_desc, c_desc, bias_ptr, M, N, K,
    B_COL: gl.constexpr, ACTIVATION: gl.constexpr, GROUP_M: gl.constexpr,
    SNAKE: gl.constexpr, STAGES: gl.constexpr, SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr, TURNS: gl.constexpr,
    CONSUMER_REGISTERS: gl.constexpr, PRODUCER_REGISTERS: gl.constexpr,
):  # fmt: skip
    """Each of n programs takes every n-th tile. Launched with the warps of one consumer: the first runs
    on them, the second one and the producer on warps of their own. The tile's sides are the descriptors'."""
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
    # The arguments are written out for each: a name that holds a tuple of compile-time values would make them tensors.
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
    """Launch one ``warp_specialized`` config once, writing `out`; arguments as of ``kernels.gemm.launch.launch_gemm``.

    `snake` turns around nothing (0), the columns of every second group of rows (1), or those and K in every second
    round of tiles (2)."""
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
    """A descriptor of blocks that lie in shared memory with the widest swizzle they allow."""
    layout = gl.NVMMASharedLayout.get_default_for(block, DTYPES[tensor.dtype])
    return TensorDescriptor.from_tensor(tensor, block, layout)
