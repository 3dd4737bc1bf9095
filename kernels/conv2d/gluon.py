"""Family ``warp_specialized`` of ``conv2d``, in Gluon: the matmul kernel of that name with a left operand that is never
stored. ``kernels.gemm.gluon`` explains what each warp does and how the warps wait for one another.

BLOCK_M pixels of the result are a box of images, rows and columns. For one filter tap and the channels of one step,
this box needs a box of x of the same size, because the stride is 1. One load by the tensor memory accelerator brings
it, from (image, p + r dilation - padding, q + s dilation - padding, channel) on. Outside x, which includes padding and
remainders of C, the load reads zeros. The weights are w viewed as (K, R S, C), so that elements past the last channel
are zero too. They must not be those of the next tap, because an infinity times zero would be NaN. In shared memory a
box of [images, rows, columns, channels] has the layout of a tile of [pixels, channels]. The consumers multiply and
store tiles, and the result is stored as boxes of y. Elements of a box beyond the edges of y are dropped.

Tiles along K come first, so that tiles that run at the same time share their pixels in L2.

Import this module only if ``kernels.conv2d.gluon_space.constraint`` is None.
"""

from __future__ import annotations

from math import prod

import torch
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, tma
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels.conv2d.config import Conv2dConfig, Conv2dProblem, cdiv
from kernels.conv2d.gluon_space import as_matmul, box, boxes, part, programs
from kernels.gemm.gluon import DTYPES, halves, load_tile, multiply, place, store_tile
from kernels.gemm.gluon_space import CONSUMER_REGISTERS, LAUNCH_REGISTERS, PRODUCER_REGISTERS, takes_turns
from kernels.hardware import Hardware


@gluon.jit
def tile_start(tile, cover, BI: gl.constexpr, BP: gl.constexpr, BQ: gl.constexpr, BLOCK_N: gl.constexpr):
    """First image, row, column and filter of the `tile`-th tile. `cover` gives the numbers of boxes of BI x BP x BQ
    pixels along images, rows and columns, and of blocks of BLOCK_N filters."""
    _, down, across, blocks = cover
    number = tile // blocks
    image = number // (down * across) * BI
    return image, number // across % down * BP, number % across * BQ, tile % blocks * BLOCK_N


@gluon.jit
def tap_start(p, q, r, s, reach):
    """Row and column of x under tap (r, s) of the pixel at (p, q). `reach` is (padding, dilation)."""
    padding, dilation = reach
    return p + r * dilation - padding, q + s * dilation - padding


@gluon.jit
def pixel(number, BP: gl.constexpr, BQ: gl.constexpr):
    """Image, row and column, within its box, of row `number` of a tile."""
    return number // (BP * BQ), number // BQ % BP, number % BQ


@gluon.jit
def produce(x_desc, w_desc, ring, cover, taps, reach, C):
    """Load every tile of this program: tap by tap, BLOCK_K channels at a time."""
    x_bufs, w_bufs, empty, full = ring
    STAGES: gl.constexpr = x_bufs.shape[0]
    BI: gl.constexpr = x_desc.block_shape[0]
    BP: gl.constexpr = x_desc.block_shape[1]
    BQ: gl.constexpr = x_desc.block_shape[2]
    BLOCK_N: gl.constexpr = w_desc.block_shape[0]
    BLOCK_K: gl.constexpr = w_desc.block_shape[2]
    BYTES: gl.constexpr = x_desc.block_type.nbytes + w_desc.block_type.nbytes
    R, S = taps
    n, down, across, blocks = cover
    parts = gl.cdiv(C, BLOCK_K)
    filled = gl.to_tensor(0)
    for tile in range(gl.program_id(0), n * down * across * blocks, gl.num_programs(0)):
        image, p, q, k = tile_start(tile, cover, BI, BP, BQ, BLOCK_N)
        for r in range(0, R):
            for s in range(0, S):
                tap = r * S + s
                h, w = tap_start(p, q, r, s, reach)
                for i in range(0, parts):
                    stage, phase = place(filled + tap * parts + i, STAGES)
                    # A new barrier counts as having completed its phase 1, so the first round does not wait.
                    mbarrier.wait(empty.index(stage), phase ^ 1)
                    landed = full.index(stage)
                    mbarrier.expect(landed, BYTES)
                    x_box = x_bufs.index(stage).reshape(x_desc.block_shape)
                    load_tile(x_desc, [image, h, w, i * BLOCK_K], landed, x_box)
                    w_box = w_bufs.index(stage).reshape(w_desc.block_shape)
                    load_tile(w_desc, [k, tap, i * BLOCK_K], landed, w_box)
        filled += R * S * parts


@gluon.jit
def store_columns(y_desc, buffer, acc, bias_ptr, image, p, q, k, K, BUFFERS: gl.constexpr):
    """Round acc + bias and store it asynchronously to y from (image, p, q, k) on, through `buffer`, one of BUFFERS
    buffers that alternate."""
    if bias_ptr is not None:
        cols = k + gl.arange(0, acc.shape[1], layout=gl.SliceLayout(0, acc.type.layout))
        bias = gl.load(bias_ptr + cols, mask=cols < K, other=0.0)
        acc += gl.expand_dims(bias.to(gl.float32), 0)
    y = acc.to(y_desc.dtype)
    tma.store_wait(BUFFERS - 1)  # the store that last used this buffer has read it
    buffer.store(y)
    fence_async_shared()
    store_tile(y_desc, [image, p, q, k], buffer.reshape(y_desc.block_shape))


@gluon.jit
def consume(
    y_desc, ring, turn, staging, bias_ptr, cover, taps, C, K,
    BI: gl.constexpr, BP: gl.constexpr, BQ: gl.constexpr, SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr,
    TURNS: gl.constexpr, WARPS: gl.constexpr, WHICH: gl.constexpr,
):  # fmt: skip
    """Multiply and store this consumer's share of the program's tiles. The consumer is number WHICH of CONSUMERS and
    has WARPS warps."""
    BLOCK_K: gl.constexpr = ring[0].shape[2]
    ROWS: gl.constexpr = staging.shape[1]
    WIDTH: gl.constexpr = staging.shape[2]
    BLOCK_N: gl.constexpr = WIDTH * SUBTILE
    BUFFERS: gl.constexpr = staging.shape[0] // CONSUMERS
    even = staging.index(WHICH * BUFFERS)
    odd = staging.index(WHICH * BUFFERS + BUFFERS - 1)

    R, S = taps
    n, down, across, blocks = cover
    steps = R * S * gl.cdiv(C, BLOCK_K)
    start, stride = gl.program_id(0), gl.num_programs(0)
    taken = gl.to_tensor(0)  # fills of the ring before those of this tile
    own = gl.to_tensor(WHICH)  # the phase of `turn`: consumer 0 has the first turn without waiting
    if TURNS:
        start += WHICH * stride
        stride *= CONSUMERS
        taken += WHICH * steps
    for tile in range(start, n * down * across * blocks, stride):
        if TURNS:
            # A barrier's phase distinguishes only two successive uses of a stage. So wait on the ring only when the
            # other consumer has waited for all stages of its own tile.
            mbarrier.wait(turn.index(WHICH), own ^ 1)
            own ^= 1
        acc = multiply(ring, turn, taken, steps, True, ROWS, BLOCK_N, TURNS, WARPS, WHICH)
        taken += steps * CONSUMERS if TURNS else steps
        image, p, q, k = tile_start(tile, cover, BI, BP, BQ, BLOCK_N)
        if not TURNS:
            i, below, right = pixel(WHICH * ROWS, BP, BQ)
            image += i
            p += below
            q += right
        if SUBTILE == 1:
            store_columns(y_desc, even, acc, bias_ptr, image, p, q, k, K, BUFFERS)
        else:
            left, rest = halves(acc)
            if SUBTILE == 2:
                store_columns(y_desc, even, left, bias_ptr, image, p, q, k, K, BUFFERS)
                store_columns(y_desc, odd, rest, bias_ptr, image, p, q, k + WIDTH, K, BUFFERS)
            else:
                gl.static_assert(SUBTILE == 4)
                first, second = halves(left)
                store_columns(y_desc, even, first, bias_ptr, image, p, q, k, K, BUFFERS)
                store_columns(y_desc, odd, second, bias_ptr, image, p, q, k + WIDTH, K, BUFFERS)
                third, fourth = halves(rest)
                store_columns(y_desc, even, third, bias_ptr, image, p, q, k + 2 * WIDTH, K, BUFFERS)
                store_columns(y_desc, odd, fourth, bias_ptr, image, p, q, k + 3 * WIDTH, K, BUFFERS)
    tma.store_wait(0)  # shared memory is freed when the program ends


@gluon.jit
def rows(NUMBER: gl.constexpr, ROWS: gl.constexpr, COLUMNS: gl.constexpr, DTYPE: gl.constexpr):
    """Shared memory for NUMBER tiles, with the widest swizzle that their size allows."""
    LAYOUT: gl.constexpr = gl.NVMMASharedLayout.get_default_for([ROWS, COLUMNS], DTYPE)
    return gl.allocate_shared_memory(DTYPE, [NUMBER, ROWS, COLUMNS], LAYOUT)


@gluon.jit
def barriers(NUMBER: gl.constexpr, COUNT: gl.constexpr):
    """NUMBER barriers, each of which completes a phase after COUNT arrivals."""
    made = gl.allocate_shared_memory(gl.int64, [NUMBER, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(NUMBER):
        mbarrier.init(made.index(i), count=COUNT)
    return made


@gluon.jit(do_not_specialize=["n", "down", "across", "blocks", "R", "S", "padding", "dilation", "C", "K"])
def conv2d_warp_specialized(
    x_desc, w_desc, y_desc, bias_ptr, n, down, across, blocks, R, S, padding, dilation, C, K,
    STAGES: gl.constexpr, SUBTILE: gl.constexpr, CONSUMERS: gl.constexpr, TURNS: gl.constexpr,
    CONSUMER_REGISTERS: gl.constexpr, PRODUCER_REGISTERS: gl.constexpr,
):  # fmt: skip
    """There are n x down x across boxes times `blocks` blocks of filters as tiles. Each of P programs takes every P-th
    tile. The kernel is launched with the warps of one consumer. The first consumer runs on them; the second consumer
    and the producer run on additional warps. The tile's sides are those of the descriptors."""
    WARPS: gl.constexpr = gl.num_warps()
    BI: gl.constexpr = x_desc.block_shape[0]
    BP: gl.constexpr = x_desc.block_shape[1]
    BQ: gl.constexpr = x_desc.block_shape[2]
    BLOCK_M: gl.constexpr = BI * BP * BQ
    BLOCK_N: gl.constexpr = w_desc.block_shape[0]
    BLOCK_K: gl.constexpr = w_desc.block_shape[2]
    ROWS: gl.constexpr = BLOCK_M if TURNS else BLOCK_M // CONSUMERS
    BUFFERS: gl.constexpr = CONSUMERS if SUBTILE == 1 else 2 * CONSUMERS
    x_bufs = rows(STAGES, BLOCK_M, BLOCK_K, x_desc.dtype)
    w_bufs = rows(STAGES, BLOCK_N, BLOCK_K, w_desc.dtype)
    staging = rows(BUFFERS, ROWS, BLOCK_N // SUBTILE, y_desc.dtype)
    empty = barriers(STAGES, 1 if TURNS else CONSUMERS)
    full = barriers(STAGES, 1)
    turn = barriers(2, 1)
    fence_async_shared()

    ring = (x_bufs, w_bufs, empty, full)
    cover, taps, reach = (n, down, across, blocks), (R, S), (padding, dilation)
    # Each role's arguments are written out, because a name for the tuple would turn compile-time values into tensors.
    # fmt: off
    if CONSUMERS == 1:
        gl.warp_specialize([
            (consume, (
                y_desc, ring, turn, staging, bias_ptr, cover, taps, C, K,
                BI, BP, BQ, SUBTILE, CONSUMERS, TURNS, WARPS, 0,
            )),
            (produce, (x_desc, w_desc, ring, cover, taps, reach, C)),
        ], [1], [PRODUCER_REGISTERS])
    else:
        gl.warp_specialize([
            (consume, (
                y_desc, ring, turn, staging, bias_ptr, cover, taps, C, K,
                BI, BP, BQ, SUBTILE, CONSUMERS, TURNS, WARPS, 0,
            )),
            (consume, (
                y_desc, ring, turn, staging, bias_ptr, cover, taps, C, K,
                BI, BP, BQ, SUBTILE, CONSUMERS, TURNS, WARPS, 1,
            )),
            (produce, (x_desc, w_desc, ring, cover, taps, reach, C)),
        ], [WARPS, 1], [CONSUMER_REGISTERS, PRODUCER_REGISTERS])
    # fmt: on


def launch(
    problem: Conv2dProblem,
    config: Conv2dConfig,
    x: torch.Tensor,
    w: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    hardware: Hardware,
) -> None:
    """Launch one config once and write `out`. This function reads no data, so it also runs on meta tensors."""
    p, c = problem, config
    turns = takes_turns(as_matmul(c))
    sides = box(p, c.BLOCK_M)
    stored = part(sides, 1 if turns else c.CONSUMERS)
    conv2d_warp_specialized[(programs(p, c, hardware),)](
        descriptor(x, [p.N, p.H, p.W, p.C], [*sides, c.BLOCK_K]),
        descriptor(w, [p.K, p.R * p.S, p.C], [c.BLOCK_N, 1, c.BLOCK_K]),
        descriptor(out, [p.N, p.P, p.Q, p.K], [*stored, c.BLOCK_N // c.EPILOGUE_SUBTILE]),
        bias,
        *boxes(p, sides),
        cdiv(p.K, c.BLOCK_N),
        p.R,
        p.S,
        p.padding,
        p.dilation,
        p.C,
        p.K,
        STAGES=c.num_stages,
        SUBTILE=c.EPILOGUE_SUBTILE,
        CONSUMERS=c.CONSUMERS,
        TURNS=turns,
        CONSUMER_REGISTERS=CONSUMER_REGISTERS,
        PRODUCER_REGISTERS=PRODUCER_REGISTERS,
        num_warps=c.num_warps // c.CONSUMERS,
        maxnreg=LAUNCH_REGISTERS,
    )


def descriptor(tensor: torch.Tensor, shape: list[int], block: list[int]) -> TensorDescriptor:
    """A descriptor of boxes of a contiguous tensor viewed as `shape`, with the widest swizzle in shared memory that
    their size allows. The strides are computed from `shape` and not taken from the tensor, because PyTorch allows any
    stride for a dimension of size 1 and a descriptor does not."""
    layout = gl.NVMMASharedLayout.get_default_for(block, DTYPES[tensor.dtype])
    strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
    return TensorDescriptor(tensor, shape, strides, block, layout)
