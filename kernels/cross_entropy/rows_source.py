"""Triton source of the passes over rows of ``fused_linear_cross_entropy``: the mean's divisor, loss and gradient of the
logits in their place, the sum of the losses.

With lse = log sum exp of a row of logits, the loss of a row is lse - logits[target], and its gradient for the logits is
exp(logits - lse) minus one at the target. The maximum and the sum are carried from block to block (online softmax,
Milakov and Gimelshein 2018, arXiv:1805.02867)."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.gemm.tiles import rounded


@triton.jit
def count_targets(target_ptr, inverse_ptr, M, IGNORE: tl.constexpr, BLOCK: tl.constexpr):
    """inverse (1) = 1 / number of rows whose target is not IGNORE; infinite if there is none. One program."""
    counted = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, M, BLOCK):
        at = start + tl.arange(0, BLOCK)
        target = tl.load(target_ptr + at, mask=at < M, other=IGNORE)
        counted += (target != IGNORE).to(tl.int32)
    tl.store(inverse_ptr, 1.0 / tl.sum(counted, 0).to(tl.float32))


@triton.jit
def cross_entropy_rows(
    logits_ptr,
    target_ptr,
    losses_ptr,
    inverse_ptr,
    rows,
    N,
    stride,
    IGNORE: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
):
    """losses (rows) receives each row's loss, and the logits are overwritten by their gradient of the mean loss.

    PROGRAMS programs, each of which takes every PROGRAMS-th row, so that the rows under way stay in the L2 between
    their two readings. A row that is ignored gets a loss and a gradient of 0; one whose target is none of the N words
    gets a loss of NaN. EVEN means that N is a multiple of BLOCK_N."""
    inverse = tl.load(inverse_ptr)
    cols = tl.arange(0, BLOCK_N)
    for row in tl.range(tl.program_id(0), rows, PROGRAMS):
        here = logits_ptr + tl.cast(row, tl.int64) * stride
        target = tl.load(target_ptr + row)
        wanted = target != IGNORE
        known = (target >= 0) & (target < N)
        chosen = tl.load(here + target, mask=known, other=float("nan")).to(tl.float32)
        top = tl.full((), -float("inf"), tl.float32)
        total = tl.zeros((BLOCK_N,), tl.float32)
        for start in range(0, N, BLOCK_N):
            there = tl.full((BLOCK_N,), True, tl.int1) if EVEN else start + cols < N
            x = tl.load(here + start + cols, mask=there, other=-float("inf"), eviction_policy="evict_last")
            x = x.to(tl.float32)
            higher = tl.maximum(top, tl.max(x, 0))
            total = total * tl.exp(top - higher) + tl.exp(x - higher)
            top = higher
        lse = top + tl.log(tl.sum(total, 0))
        tl.store(losses_ptr + row, tl.where(wanted, lse - chosen, 0.0))
        scale = tl.where(wanted, inverse, 0.0)
        for start in range(0, N, BLOCK_N):
            there = tl.full((BLOCK_N,), True, tl.int1) if EVEN else start + cols < N
            x = tl.load(here + start + cols, mask=there, other=-float("inf"), eviction_policy="evict_first")
            one = (start + cols == target).to(tl.float32)
            gradient = (tl.exp(x.to(tl.float32) - lse) - one) * scale
            tl.store(here + start + cols, rounded(gradient, logits_ptr.dtype.element_ty), mask=there)


@triton.jit
def sum_losses(losses_ptr, inverse_ptr, loss_ptr, M, BLOCK: tl.constexpr):
    """loss () = sum of losses (M) * inverse, in a fixed order. One program."""
    acc = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, M, BLOCK):
        at = start + tl.arange(0, BLOCK)
        acc += tl.load(losses_ptr + at, mask=at < M, other=0.0)
    tl.store(loss_ptr, tl.sum(acc, 0) * tl.load(inverse_ptr))
