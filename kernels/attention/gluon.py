"""Family ``warp_specialized`` of ``attention``, in Gluon: a kernel for Hopper with specialised warps (FlashAttention-3,
Shah et al. 2024).

One *producer* warp issues every load of the program, without a pause between tiles. The tensor memory accelerator loads
queries into one buffer per consumer, and keys and values into a ring of `num_stages` shared buffers each. Two
*consumers* of four warps compute 64 of a tile's queries each and keep scores, weights and result in registers. Each
buffer has two barriers: ``full`` completes when the buffer's bytes have arrived, ``empty`` completes when every reader
is done.

A consumer works ahead. It issues the scores of the next block of keys together with the second product of the current
block, so that the tensor cores have work while the consumer computes the weights of the next block. With PINGPONG the
consumers issue in turn, so that the exponentials of one overlap the products of the other.

Blocks of keys are taken from the last to the first. Blocks that the diagonal or the end cuts come first; the others
need no mask. PERSISTENT starts one program per SM. Each program takes several tiles, so that the loads of the next tile
overlap the end of the current tile.

Semantics are those of ``kernels.attention.spec``. Gluon's names are those of Triton 3.6. If later versions renamed one,
both names are tried. Import this module only if ``kernels.attention.space.constraint`` is None.
"""

from __future__ import annotations

import math

import torch
import triton
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

from kernels.attention import space
from kernels.attention.space import AttentionConfig, AttentionProblem
from kernels.hardware import Hardware

CONSUMERS = gl.constexpr(space.CONSUMERS)
ROWS = gl.constexpr(space.CONSUMER_ROWS)
BLOCK_M = gl.constexpr(space.CONSUMERS * space.CONSUMER_ROWS)

LAUNCH_REGISTERS = 168
"""Registers per thread at launch: 12 warps (those of the consumers and a warp group for the producer) share the 65,536
of an SM."""
PRODUCER_REGISTERS = 24
CONSUMER_REGISTERS = 240
"""Registers that a thread of the producer and of the second consumer keep. The first consumer takes the rest, 240."""

HEADS_TOGETHER = 8
"""Heads whose tiles are interleaved if the hardware assigns the tiles. Their keys and values stay in L2, and the
longest tiles of all these heads start first. A persistent program must take long and short tiles in turn, so there it
is one head."""

# Renamed after Triton 3.6. In 3.6 the new name does not exist; in later versions the old one raises.
load_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared


@gluon.jit
def tile_number(wave):
    """The `wave`-th tile of this program. Every second wave goes backwards over the programs, so that the program that
    had the longest tile has the shortest tile next."""
    program, programs = gl.program_id(0), gl.num_programs(0)
    return wave * programs + gl.where(wave % 2 == 1, programs - 1 - program, program)


@gluon.jit
def tile_start(tile, heads, S, CAUSAL: gl.constexpr, TOGETHER: gl.constexpr):
    """Head and first query of a tile. The tiles of TOGETHER heads are interleaved, and their longest tiles come
    first."""
    blocks = gl.cdiv(S, BLOCK_M)
    first = tile // (TOGETHER * blocks) * TOGETHER
    beside = gl.minimum(heads - first, TOGETHER)
    within = tile - first * blocks
    block = within // beside
    if CAUSAL:
        block = blocks - 1 - block
    return first + within % beside, block * BLOCK_M


@gluon.jit
def key_blocks(query, S, CAUSAL: gl.constexpr, BLOCK_N: gl.constexpr):
    """Number of blocks of keys that the tile of queries from `query` on attends to."""
    end = gl.minimum(query + BLOCK_M, S) if CAUSAL else S
    return gl.cdiv(end, BLOCK_N)


@gluon.jit
def fill(desc, row, bufs, full, empty, count):
    """Load the ring's `count`-th tile, the rows from `row` on, when its buffer is free. A new barrier counts as having
    completed its phase 1, so the first round does not wait."""
    STAGES: gl.constexpr = bufs.shape[0]
    stage, phase = count % STAGES, count // STAGES & 1
    mbarrier.wait(empty.index(stage), phase ^ 1)
    mbarrier.expect(full.index(stage), desc.block_type.nbytes)
    load_tile(desc, [row, 0], full.index(stage), bufs.index(stage))


@gluon.jit
def landed(full, count, wanted=True):
    """Wait until the ring's `count`-th tile has arrived, if it is `wanted`."""
    STAGES: gl.constexpr = full.shape[0]
    mbarrier.wait(full.index(count % STAGES), count // STAGES & 1, pred=wanted)


@gluon.jit
def release(empty, count):
    """Release the buffer of the ring's `count`-th tile."""
    STAGES: gl.constexpr = empty.shape[0]
    mbarrier.arrive(empty.index(count % STAGES), count=1)


@gluon.jit
def produce(
    descs, bufs, bars, heads, H, S, GROUP: gl.constexpr, CAUSAL: gl.constexpr, TOGETHER: gl.constexpr
):  # fmt: skip
    q_desc, k_desc, v_desc = descs
    q_bufs, k_bufs, v_bufs = bufs
    q_full, q_empty, k_full, k_empty, v_full, v_empty, _ = bars
    BLOCK_N: gl.constexpr = k_bufs.shape[1]
    tiles = heads * gl.cdiv(S, BLOCK_M)
    taken = gl.to_tensor(0)
    for wave in range(gl.cdiv(tiles, gl.num_programs(0))):
        tile = tile_number(wave)
        if tile < tiles:
            head, query = tile_start(tile, heads, S, CAUSAL, TOGETHER)
            blocks = key_blocks(query, S, CAUSAL, BLOCK_N)
            # Heads are numbered over the batch: H of them, H / GROUP of keys and values.
            first = (head // H * (H // GROUP) + head % H // GROUP) * S
            # Loads are issued in the order in which the consumers need them.
            fill(k_desc, first + (blocks - 1) * BLOCK_N, k_bufs, k_full, k_empty, taken)
            for i in gl.static_range(CONSUMERS):
                mbarrier.wait(q_empty.index(i), (wave & 1) ^ 1)
                mbarrier.expect(q_full.index(i), q_desc.block_type.nbytes)
                load_tile(q_desc, [head * S + query + i * ROWS, 0], q_full.index(i), q_bufs.index(i))
            for i in range(1, blocks):
                row = first + (blocks - 1 - i) * BLOCK_N
                fill(k_desc, row, k_bufs, k_full, k_empty, taken + i)
                fill(v_desc, row + BLOCK_N, v_bufs, v_full, v_empty, taken + i - 1)
            taken += blocks
            fill(v_desc, first, v_bufs, v_full, v_empty, taken - 1)


@gluon.jit
def issue_scores(q, k_bufs, count, LAYOUT: gl.constexpr):
    """Start q k^T with the ring's `count`-th block of keys, which has arrived."""
    STAGES: gl.constexpr = k_bufs.shape[0]
    BLOCK_N: gl.constexpr = k_bufs.shape[1]
    k = k_bufs.index(count % STAGES).permute((1, 0))
    zeros = gl.zeros([ROWS, BLOCK_N], gl.float32, LAYOUT)
    return warpgroup_mma(q, k, zeros, use_acc=False, is_async=True)


@gluon.jit
def issue_result(operand, v_bufs, v_full, acc, count):
    """Start acc + operand v with the ring's `count`-th block of values."""
    STAGES: gl.constexpr = v_bufs.shape[0]
    landed(v_full, count)
    return warpgroup_mma(operand, v_bufs.index(count % STAGES), acc, is_async=True)


@gluon.jit
def weigh(
    scores, top, total, row, start, S, scale, CAUSAL: gl.constexpr, CUT: gl.constexpr, LAYOUT: gl.constexpr
):  # fmt: skip
    """Weights of the keys from `start` on for the queries from `row` on, the new maximum and total, and the factor by
    which earlier results are rescaled. CUT means that some or all of the keys may be masked."""
    if CUT:
        BLOCK_N: gl.constexpr = scores.shape[1]
        keys = start + gl.arange(0, BLOCK_N, layout=gl.SliceLayout(0, LAYOUT))
        if CAUSAL:
            queries = row + gl.arange(0, ROWS, layout=gl.SliceLayout(1, LAYOUT))
            seen = keys[None, :] <= queries[:, None]
        else:
            seen = (keys < S)[None, :]
        scores = gl.where(seen, scores, -float("inf"))
    higher = gl.maximum(top, gl.max(scores, 1))
    base = gl.where(higher == -float("inf"), 0.0, higher) if CUT else higher
    weights = gl.exp2(scores * scale - (base * scale)[:, None])
    shrink = gl.exp2((top - base) * scale)
    return weights, higher, total * shrink + gl.sum(weights, 1), shrink


@gluon.jit
def attend(
    acc, top, total, operand, taken, turns, lo, hi, row, S, scale, bufs, bars,
    CAUSAL: gl.constexpr, CUT: gl.constexpr, PINGPONG: gl.constexpr, ME: gl.constexpr, LAYOUT: gl.constexpr,
):  # fmt: skip
    """Add the blocks of keys hi - 1, ..., lo to the result. On entry and on return, `operand` holds the weights of the
    block before, the ring's `taken`-th, whose product with the values is not yet in `acc`. The keys of the next block
    have arrived."""
    q_bufs, k_bufs, v_bufs = bufs
    _, _, k_full, k_empty, v_full, v_empty, turn = bars
    BLOCK_N: gl.constexpr = k_bufs.shape[1]
    for i in range(hi - lo):
        block = hi - 1 - i
        if PINGPONG:
            mbarrier.wait(turn.index(ME), turns & 1)
            turns += 1
        scores = issue_scores(q_bufs.index(ME), k_bufs, taken + 1, LAYOUT)
        acc = issue_result(operand, v_bufs, v_full, acc, taken)
        if PINGPONG:
            mbarrier.arrive(turn.index((ME + 1) % CONSUMERS), count=1)
        scores = warpgroup_mma_wait(1, deps=(scores,))
        release(k_empty, taken + 1)
        weights, top, total, shrink = weigh(scores, top, total, row, block * BLOCK_N, S, scale, CAUSAL, CUT, LAYOUT)
        # Wait for the next keys here, because ptxas moves nothing across the loop of a wait. Without this wait ptxas
        # would move the wait for the product before the computation of the weights, and nothing would overlap them.
        landed(k_full, taken + 2, block > 0)
        acc = warpgroup_mma_wait(0, deps=(acc,))
        release(v_empty, taken)
        taken += 1
        acc *= gl.convert_layout(shrink, gl.SliceLayout(1, acc.type.layout))[:, None]
        operand = gl.convert_layout(weights.to(operand.dtype), operand.type.layout)
    return acc, top, total, operand, taken, turns


@gluon.jit
def consume(
    out_ptr, bufs, bars, heads, S, scale,
    CAUSAL: gl.constexpr, RAGGED: gl.constexpr, TOGETHER: gl.constexpr, PINGPONG: gl.constexpr, ME: gl.constexpr,
):  # fmt: skip
    """Compute the rows of consumer ME in this program's tiles."""
    q_bufs, k_bufs, v_bufs = bufs
    q_full, q_empty, k_full, k_empty, v_full, v_empty, turn = bars
    BLOCK_N: gl.constexpr = k_bufs.shape[1]
    D: gl.constexpr = k_bufs.shape[2]
    DTYPE: gl.constexpr = k_bufs.dtype
    SCORES: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    RESULT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    OPERAND: gl.constexpr = gl.DotOperandLayout(0, RESULT, 2)
    OUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    tiles = heads * gl.cdiv(S, BLOCK_M)
    taken = gl.to_tensor(0)
    turns = gl.to_tensor(0)
    if PINGPONG and ME == CONSUMERS - 1:
        mbarrier.arrive(turn.index(0), count=1)
    for wave in range(gl.cdiv(tiles, gl.num_programs(0))):
        tile = tile_number(wave)
        if tile < tiles:
            head, query = tile_start(tile, heads, S, CAUSAL, TOGETHER)
            row = query + ME * ROWS
            blocks = key_blocks(query, S, CAUSAL, BLOCK_N)
            acc = gl.zeros([ROWS, D], gl.float32, RESULT)
            total = gl.zeros([ROWS], gl.float32, gl.SliceLayout(1, SCORES))
            top = gl.full([ROWS], -float("inf"), gl.float32, gl.SliceLayout(1, SCORES))

            mbarrier.wait(q_full.index(ME), wave & 1)
            landed(k_full, taken)
            scores = issue_scores(q_bufs.index(ME), k_bufs, taken, SCORES)
            scores = warpgroup_mma_wait(0, deps=(scores,))
            release(k_empty, taken)
            weights, top, total, _ = weigh(
                scores, top, total, row, (blocks - 1) * BLOCK_N, S, scale, CAUSAL, CAUSAL or RAGGED, SCORES
            )
            operand = gl.convert_layout(weights.to(DTYPE), OPERAND)
            landed(k_full, taken + 1, blocks > 1)
            whole = blocks - 1
            if CAUSAL and BLOCK_N < BLOCK_M:
                whole = gl.minimum(row // BLOCK_N, blocks - 1)
                acc, top, total, operand, taken, turns = attend(
                    acc, top, total, operand, taken, turns, whole, blocks - 1, row, S, scale, bufs, bars,
                    CAUSAL, True, PINGPONG, ME, SCORES,
                )  # fmt: skip
            acc, top, total, operand, taken, turns = attend(
                acc, top, total, operand, taken, turns, 0, whole, row, S, scale, bufs, bars,
                CAUSAL, False, PINGPONG, ME, SCORES,
            )  # fmt: skip
            mbarrier.arrive(q_empty.index(ME), count=1)
            acc = issue_result(operand, v_bufs, v_full, acc, taken)
            acc = warpgroup_mma_wait(0, deps=(acc,))
            release(v_empty, taken)
            taken += 1

            acc /= gl.convert_layout(total, gl.SliceLayout(1, RESULT))[:, None]
            out = gl.convert_layout(acc.to(DTYPE), OUT)
            rows = row + gl.arange(0, ROWS, layout=gl.SliceLayout(1, OUT))
            at = (head * S + rows).to(gl.int64)[:, None] * D + gl.arange(0, D, layout=gl.SliceLayout(0, OUT))[None, :]
            gl.store(out_ptr + at, out, mask=rows[:, None] < S)


@gluon.jit
def barriers(NUMBER: gl.constexpr, COUNT: gl.constexpr):
    """NUMBER barriers, each of which completes a phase after COUNT arrivals."""
    made = gl.allocate_shared_memory(gl.int64, [NUMBER, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(NUMBER):
        mbarrier.init(made.index(i), count=COUNT)
    return made


@gluon.jit
def attention_warp_specialized(
    q_desc, k_desc, v_desc, out_ptr, heads, H, S, scale,
    GROUP: gl.constexpr, CAUSAL: gl.constexpr, RAGGED: gl.constexpr, TOGETHER: gl.constexpr, PINGPONG: gl.constexpr,
    STAGES: gl.constexpr, CONSUMER: gl.constexpr, PRODUCER: gl.constexpr,
):  # fmt: skip
    """RAGGED means that BLOCK_N does not divide S. CONSUMER and PRODUCER are the registers of a thread of each role.
    The kernel is launched with the warps of one consumer. The first consumer runs on them; the second consumer and the
    producer run on additional warps."""
    BLOCK_N: gl.constexpr = k_desc.block_type.shape[0]
    D: gl.constexpr = k_desc.block_type.shape[1]
    q_bufs = gl.allocate_shared_memory(q_desc.dtype, [CONSUMERS, ROWS, D], q_desc.layout)
    k_bufs = gl.allocate_shared_memory(k_desc.dtype, [STAGES, BLOCK_N, D], k_desc.layout)
    v_bufs = gl.allocate_shared_memory(v_desc.dtype, [STAGES, BLOCK_N, D], v_desc.layout)
    bufs = (q_bufs, k_bufs, v_bufs)
    q_full, q_empty = barriers(CONSUMERS, 1), barriers(CONSUMERS, 1)
    k_full, k_empty = barriers(STAGES, 1), barriers(STAGES, CONSUMERS)
    v_full, v_empty = barriers(STAGES, 1), barriers(STAGES, CONSUMERS)
    bars = (q_full, q_empty, k_full, k_empty, v_full, v_empty, barriers(CONSUMERS, 1))
    fence_async_shared()
    gl.warp_specialize(
        [
            (consume, (out_ptr, bufs, bars, heads, S, scale, CAUSAL, RAGGED, TOGETHER, PINGPONG, 0)),
            (consume, (out_ptr, bufs, bars, heads, S, scale, CAUSAL, RAGGED, TOGETHER, PINGPONG, 1)),
            (produce, ((q_desc, k_desc, v_desc), bufs, bars, heads, H, S, GROUP, CAUSAL, TOGETHER)),
        ],
        [4, 1],
        [CONSUMER, PRODUCER],
    )


def launch(
    problem: AttentionProblem,
    config: AttentionConfig,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    hardware: Hardware,
) -> None:
    """Launch one config once and write `out`. This function reads no data, so it also runs on meta tensors."""
    p, c = problem, config
    tiles = p.B * p.H * triton.cdiv(p.S, c.BLOCK_M)
    attention_warp_specialized[(min(tiles, hardware.sms) if c.PERSISTENT else tiles,)](
        _descriptor(q, space.CONSUMER_ROWS),
        _descriptor(k, c.BLOCK_N),
        _descriptor(v, c.BLOCK_N),
        out,
        p.B * p.H,
        p.H,
        p.S,
        math.log2(math.e) / math.sqrt(p.D),
        GROUP=p.GROUP,
        CAUSAL=p.causal,
        RAGGED=p.S % c.BLOCK_N != 0,
        TOGETHER=1 if c.PERSISTENT else HEADS_TOGETHER,
        PINGPONG=c.PINGPONG,
        STAGES=c.num_stages,
        CONSUMER=CONSUMER_REGISTERS,
        PRODUCER=PRODUCER_REGISTERS,
        num_warps=4,
        maxnreg=LAUNCH_REGISTERS,
    )


def _descriptor(tensor: torch.Tensor, rows: int) -> TensorDescriptor:
    """A descriptor of `rows` rows of (..., D), with the widest swizzle in shared memory that their size allows."""
    flat = tensor.view(-1, tensor.shape[-1])
    element = {torch.float16: gl.float16, torch.bfloat16: gl.bfloat16}[tensor.dtype]
    block = [rows, flat.shape[1]]
    return TensorDescriptor.from_tensor(flat, block, gl.NVMMASharedLayout.get_default_for(block, element))
