"""Family ``warp_specialized`` of ``attention_backward``, in Gluon: one pass with specialised warps for Hopper
(FlashAttention-3, Shah et al. 2024, section 3 and appendix B).

A program owns BLOCK_KV = 128 keys and values of a head and keeps them in shared memory. One *producer* warp loads
blocks of 64 queries with their gradients, sums and inner products into rings of `num_stages` buffers. Two *consumers*
of four warps own 64 of the keys each and hold their gradients dk and dv in registers. For each block of queries a
consumer computes

    P^T = exp2(k q^T - lse)    dv += P^T dout    dS^T = P^T * (v dout^T - delta)    dk += dS^T q

and writes its rows of dS^T to a shared buffer. When both consumers have done so, each computes half of the columns of
the queries' share dS k, which the tensor memory accelerator adds to the fp32 buffer of dq, in no fixed order. Two
buffers of dS^T take turns: a consumer writes one again only after it has met the other consumer once more, and that
consumer has then read it.

Import this module only if ``kernels.attention_backward.space.constraint`` is None.
"""

from __future__ import annotations

import math

import torch
from triton._C.libtriton import ir
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language._core import builtin
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels.attention.gluon import CONSUMER_REGISTERS, LAUNCH_REGISTERS, PRODUCER_REGISTERS, barriers, load_tile
from kernels.attention.space import AttentionProblem
from kernels.attention_backward.space import CONSUMERS as CONSUMER_COUNT
from kernels.attention_backward.space import AttentionBackwardConfig

CONSUMERS = gl.constexpr(CONSUMER_COUNT)
HEADS_TOGETHER = 8
"""Heads whose blocks of keys are interleaved. Their queries stay in L2, and the longest blocks of all of them start
first."""


@builtin
def add_by_descriptor(descriptor, coord, source, _semantic=None):
    """Add a tile in shared memory to memory, asynchronously. Gluon has no name for it in Triton 3.6, whose compiler has
    the operation."""
    coord = _semantic._convert_to_ir_values(coord, require_i64=False)
    _semantic.builder.create_async_tma_reduce(ir.DESCRIPTOR_REDUCE_KIND.ADD, descriptor.handle, coord, source.handle)


# Renamed after Triton 3.6. In 3.6 the new name does not exist.
meet = getattr(gl, "thread_barrier", None) or gl.barrier
add_tile = getattr(tma, "async_atomic_add", None) or add_by_descriptor


@gluon.jit
def place(count, STAGES: gl.constexpr):
    """Stage and phase of the ring's `count`-th fill."""
    return count % STAGES, count // STAGES & 1


@gluon.jit
def block_of_keys(S, heads, BLOCK_KV: gl.constexpr, TOGETHER: gl.constexpr):
    """Head of keys and first key of this program. The blocks of TOGETHER heads are interleaved, first keys first."""
    blocks = S // BLOCK_KV
    first = gl.program_id(0) // (TOGETHER * blocks) * TOGETHER
    beside = gl.minimum(heads - first, TOGETHER)
    within = gl.program_id(0) - first * blocks
    return first + within % beside, within // beside * BLOCK_KV


@gluon.jit
def produce(
    descs, keys, ring, bars, owner, key, S,
    GROUP: gl.constexpr, CAUSAL: gl.constexpr,
):  # fmt: skip
    """Load this program's keys and values, then its blocks of queries in order."""
    q_desc, k_desc, v_desc, dout_desc, lse_desc, delta_desc = descs
    k_buf, v_buf = keys
    q_bufs, dout_bufs, lse_bufs, delta_bufs = ring
    keys_full, q_full, dout_full, empty, _ = bars
    STAGES: gl.constexpr = q_bufs.shape[0]
    BLOCK_Q: gl.constexpr = q_bufs.shape[1]
    mbarrier.expect(keys_full.index(0), k_desc.block_type.nbytes + v_desc.block_type.nbytes)
    load_tile(k_desc, [owner * S + key, 0], keys_full.index(0), k_buf)
    load_tile(v_desc, [owner * S + key, 0], keys_full.index(0), v_buf)
    first = key // BLOCK_Q if CAUSAL else 0
    filled = gl.to_tensor(0)
    for member in range(GROUP):
        head = owner * GROUP + member
        for block in range(first, S // BLOCK_Q):
            row = head * S + block * BLOCK_Q
            stage, phase = place(filled, STAGES)
            # A new barrier counts as having completed its phase 1, so the first round does not wait.
            mbarrier.wait(empty.index(stage), phase ^ 1)
            mbarrier.expect(q_full.index(stage), q_desc.block_type.nbytes + lse_desc.block_type.nbytes)
            load_tile(q_desc, [row, 0], q_full.index(stage), q_bufs.index(stage))
            load_tile(lse_desc, [row], q_full.index(stage), lse_bufs.index(stage))
            mbarrier.expect(dout_full.index(stage), dout_desc.block_type.nbytes + delta_desc.block_type.nbytes)
            load_tile(dout_desc, [row, 0], dout_full.index(stage), dout_bufs.index(stage))
            load_tile(delta_desc, [row], dout_full.index(stage), delta_bufs.index(stage))
            filled += 1


@gluon.jit
def multiply_keys(k, ring, q_full, number, last, zeros):
    """Issue the product k q^T of the program's `number`-th block of queries when it has arrived. After the last block
    there is none to wait for: the product of what the buffer holds is not used."""
    q_bufs = ring[0]
    stage, phase = place(number, q_bufs.shape[0])
    mbarrier.wait(q_full.index(stage), phase, pred=number <= last)
    return warpgroup_mma(k, q_bufs.index(stage).permute((1, 0)), zeros, use_acc=False, is_async=True)


@gluon.jit
def add_queries(
    dk, dv, owner, key, S, scale, sum_desc, keys, ring, exchanged, staging, bars,
    GROUP: gl.constexpr, CAUSAL: gl.constexpr, AHEAD: gl.constexpr, ME: gl.constexpr, ROWS: gl.constexpr,
):  # fmt: skip
    """Add all blocks of queries to the gradients of this consumer's keys, and the keys' share to the sums of dq. With
    AHEAD, the product k q^T of the next block is issued before the products of this block are waited for."""
    k_buf, v_buf = keys
    q_bufs, dout_bufs, lse_bufs, delta_bufs = ring
    _, q_full, dout_full, empty, met = bars
    STAGES: gl.constexpr = q_bufs.shape[0]
    BLOCK_Q: gl.constexpr = q_bufs.shape[1]
    D: gl.constexpr = q_bufs.shape[2]
    HALF: gl.constexpr = D // CONSUMERS
    DTYPE: gl.constexpr = q_bufs.dtype
    SCORES: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_Q, 16])
    SHARE: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, HALF, 16])
    OPERAND: gl.constexpr = gl.DotOperandLayout(0, dk.type.layout, 2)
    k, v = k_buf.slice(ME * ROWS, ROWS), v_buf.slice(ME * ROWS, ROWS)
    zeros = gl.zeros([ROWS, BLOCK_Q], gl.float32, SCORES)
    first = key // BLOCK_Q if CAUSAL else 0
    blocks = S // BLOCK_Q - first
    last = GROUP * blocks - 1
    if AHEAD:
        scores = warpgroup_mma_wait(0, deps=(multiply_keys(k, ring, q_full, 0, last, zeros),))
    query = gl.to_tensor(first * BLOCK_Q)
    row = owner * GROUP * S + query  # of the sums
    for taken in range(0, GROUP * blocks):
        stage, phase = place(taken, STAGES)
        if not AHEAD:
            scores = multiply_keys(k, ring, q_full, taken, last, zeros)
        mbarrier.wait(dout_full.index(stage), phase)
        dout = dout_bufs.index(stage)
        dweights = warpgroup_mma(v, dout.permute((1, 0)), zeros, use_acc=False, is_async=True)
        if not AHEAD:
            scores = warpgroup_mma_wait(1, deps=(scores,))
        lse = lse_bufs.index(stage).load(gl.SliceLayout(0, SCORES))
        weights = gl.exp2(scores * scale - lse[None, :])
        if CAUSAL:  # noqa: SIM102 -- known when the kernel is compiled
            if query < key + CONSUMERS * ROWS:  # the diagonal cuts the block
                mine = key + ME * ROWS + gl.arange(0, ROWS, layout=gl.SliceLayout(1, SCORES))
                queries = query + gl.arange(0, BLOCK_Q, layout=gl.SliceLayout(0, SCORES))
                weights = gl.where(mine[:, None] <= queries[None, :], weights, 0.0)
        dv = warpgroup_mma(gl.convert_layout(weights.to(DTYPE), OPERAND), dout, dv, is_async=True)
        dweights = warpgroup_mma_wait(1, deps=(dweights,))
        delta = delta_bufs.index(stage).load(gl.SliceLayout(0, SCORES))
        dscores = (weights * (dweights - delta[None, :])).to(DTYPE)
        exchange = exchanged.index(taken % 2)
        exchange.slice(ME * ROWS, ROWS).store(dscores)
        fence_async_shared()
        meet()  # every warp's rows are written before one thread says so
        mbarrier.arrive(met.index(0), count=1)
        dk = warpgroup_mma(exchange.slice(ME * ROWS, ROWS), q_bufs.index(stage), dk, is_async=True)
        mbarrier.wait(met.index(0), taken & 1)
        nothing = gl.zeros([BLOCK_Q, HALF], gl.float32, SHARE)
        columns = k_buf.slice(ME * HALF, HALF, dim=1)
        share = warpgroup_mma(exchange.permute((1, 0)), columns, nothing, use_acc=False, is_async=True)
        if AHEAD:
            dv = warpgroup_mma_wait(2, deps=(dv,))
            scores = multiply_keys(k, ring, q_full, taken + 1, last, zeros)
            dk, share = warpgroup_mma_wait(1, deps=(dk, share))
        else:
            dv, dk, share = warpgroup_mma_wait(0, deps=(dv, dk, share))
        mbarrier.arrive(empty.index(stage), count=1)
        tma.store_wait(0)  # the addition that last used this buffer has read it
        staging.index(ME).store(share)
        fence_async_shared()
        add_tile(sum_desc, [row, ME * HALF], staging.index(ME))
        query += BLOCK_Q
        row += BLOCK_Q
        if GROUP > 1:
            skipped = gl.where(query == S, first * BLOCK_Q, 0)  # of the next head of queries
            query = gl.where(query == S, skipped, query)
            row += skipped
        if AHEAD:
            scores = warpgroup_mma_wait(0, deps=(scores,))
    return dk, dv


@gluon.jit
def store_rows(ptr, tile, row, D: gl.constexpr):
    """Round a consumer's rows of a gradient and store them from `row` on."""
    OUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // D, D // 8], [4, 1], [1, 0])
    out = gl.convert_layout(tile.to(ptr.dtype.element_ty), OUT)
    rows = row + gl.arange(0, tile.shape[0], layout=gl.SliceLayout(1, OUT))
    cols = gl.arange(0, D, layout=gl.SliceLayout(0, OUT))
    gl.store(ptr + rows.to(gl.int64)[:, None] * D + cols[None, :], out)


@gluon.jit
def consume(
    sum_desc, dk_ptr, dv_ptr, keys, ring, exchanged, staging, bars, owner, key, S, scale, root,
    GROUP: gl.constexpr, CAUSAL: gl.constexpr, AHEAD: gl.constexpr, ME: gl.constexpr,
):  # fmt: skip
    """Compute the gradients of the keys and values of consumer ME."""
    D: gl.constexpr = ring[0].shape[2]
    ROWS: gl.constexpr = keys[0].shape[0] // CONSUMERS
    GRADIENT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    dk = gl.zeros([ROWS, D], gl.float32, GRADIENT)
    dv = gl.zeros([ROWS, D], gl.float32, GRADIENT)
    mbarrier.wait(bars[0].index(0), 0)
    dk, dv = add_queries(
        dk, dv, owner, key, S, scale, sum_desc, keys, ring, exchanged, staging, bars, GROUP, CAUSAL, AHEAD, ME, ROWS
    )
    store_rows(dk_ptr, dk * root, owner * S + key + ME * ROWS, D)
    store_rows(dv_ptr, dv, owner * S + key + ME * ROWS, D)
    tma.store_wait(0)  # shared memory is freed when the program ends


@gluon.jit
def backward_warp_specialized(
    q_desc, k_desc, v_desc, dout_desc, lse_desc, delta_desc, sum_desc, dk_ptr, dv_ptr, heads, S, scale, root,
    GROUP: gl.constexpr, CAUSAL: gl.constexpr, TOGETHER: gl.constexpr, STAGES: gl.constexpr,
    AHEAD: gl.constexpr, CONSUMER: gl.constexpr, PRODUCER: gl.constexpr,
):  # fmt: skip
    """CONSUMER and PRODUCER are the registers of a thread of each role. The kernel is launched with the warps of one
    consumer. `heads` are those of keys in all sequences."""
    BLOCK_Q: gl.constexpr = q_desc.block_type.shape[0]
    BLOCK_KV: gl.constexpr = k_desc.block_type.shape[0]
    D: gl.constexpr = k_desc.block_type.shape[1]
    k_buf = gl.allocate_shared_memory(k_desc.dtype, [BLOCK_KV, D], k_desc.layout)
    v_buf = gl.allocate_shared_memory(v_desc.dtype, [BLOCK_KV, D], v_desc.layout)
    q_bufs = gl.allocate_shared_memory(q_desc.dtype, [STAGES, BLOCK_Q, D], q_desc.layout)
    dout_bufs = gl.allocate_shared_memory(dout_desc.dtype, [STAGES, BLOCK_Q, D], dout_desc.layout)
    lse_bufs = gl.allocate_shared_memory(lse_desc.dtype, [STAGES, BLOCK_Q], lse_desc.layout)
    delta_bufs = gl.allocate_shared_memory(delta_desc.dtype, [STAGES, BLOCK_Q], delta_desc.layout)
    SCORES: gl.constexpr = gl.NVMMASharedLayout.get_default_for([BLOCK_KV, BLOCK_Q], q_desc.dtype)
    exchanged = gl.allocate_shared_memory(q_desc.dtype, [2, BLOCK_KV, BLOCK_Q], SCORES)
    staging = gl.allocate_shared_memory(gl.float32, [CONSUMERS, BLOCK_Q, D // CONSUMERS], sum_desc.layout)
    bars = (
        barriers(1, 1),
        barriers(STAGES, 1),
        barriers(STAGES, 1),
        barriers(STAGES, CONSUMERS),
        barriers(1, CONSUMERS),
    )
    fence_async_shared()
    owner, key = block_of_keys(S, heads, BLOCK_KV, TOGETHER)
    keys = (k_buf, v_buf)
    ring = (q_bufs, dout_bufs, lse_bufs, delta_bufs)
    # fmt: off
    gl.warp_specialize([
        (consume, (
            sum_desc, dk_ptr, dv_ptr, keys, ring, exchanged, staging, bars, owner, key, S, scale, root,
            GROUP, CAUSAL, AHEAD, 0,
        )),
        (consume, (
            sum_desc, dk_ptr, dv_ptr, keys, ring, exchanged, staging, bars, owner, key, S, scale, root,
            GROUP, CAUSAL, AHEAD, 1,
        )),
        (produce, (
            (q_desc, k_desc, v_desc, dout_desc, lse_desc, delta_desc), keys, ring, bars, owner, key, S, GROUP, CAUSAL,
        )),
    ], [4, 1], [CONSUMER, PRODUCER])
    # fmt: on


def launch(
    problem: AttentionProblem,
    config: AttentionBackwardConfig,
    inputs: dict[str, torch.Tensor],
    lse: torch.Tensor,
    delta: torch.Tensor,
    sums: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
) -> None:
    """Add to `sums` (B, H, S, D) fp32 the gradient of q times sqrt(D), and write `dk` and `dv`. `lse` is to the base 2.
    This function reads no data, so it also runs on meta tensors."""
    p, c = problem, config
    root = 1 / math.sqrt(p.D)
    heads = p.B * p.H // p.GROUP
    backward_warp_specialized[(heads * p.S // c.BLOCK_KV,)](
        *(
            _descriptor(inputs[name].view(-1, p.D), [rows, p.D])
            for name, rows in (("q", c.BLOCK_Q), ("k", c.BLOCK_KV), ("v", c.BLOCK_KV), ("dout", c.BLOCK_Q))
        ),
        _descriptor(lse.view(-1), [c.BLOCK_Q]),
        _descriptor(delta.view(-1), [c.BLOCK_Q]),
        _descriptor(sums.view(-1, p.D), [c.BLOCK_Q, p.D // CONSUMER_COUNT]),
        dk,
        dv,
        heads,
        p.S,
        math.log2(math.e) * root,
        root,
        GROUP=p.GROUP,
        CAUSAL=p.causal,
        TOGETHER=HEADS_TOGETHER,
        STAGES=c.num_stages,
        AHEAD=c.AHEAD,
        CONSUMER=CONSUMER_REGISTERS,
        PRODUCER=PRODUCER_REGISTERS,
        num_warps=4,
        maxnreg=LAUNCH_REGISTERS,
    )


DTYPES = {torch.float16: gl.float16, torch.bfloat16: gl.bfloat16, torch.float32: gl.float32}


def _descriptor(tensor: torch.Tensor, block: list[int]) -> TensorDescriptor:
    """A descriptor of blocks, with the widest swizzle in shared memory that their size allows."""
    layout = gl.NVMMASharedLayout.get_default_for(block, DTYPES[tensor.dtype])
    return TensorDescriptor.from_tensor(tensor, block, layout)
