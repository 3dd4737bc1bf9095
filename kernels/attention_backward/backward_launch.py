"""Triton source and launch of ``attention_backward``.

With the scores S = q k^T / sqrt(D), the weights P = exp(S - lse) and the inner products delta = rowsum(dout * out):

    dv = P^T dout        dS = P * (dout v^T - delta)        dq = dS k / sqrt(D)        dk = dS^T q / sqrt(D)

(FlashAttention-2, Dao 2023, algorithm 2). ``inner_products`` computes delta. Two families then go over every pair of a
block of queries and a block of keys twice, once for the keys' gradients and once for the queries': ``pointer`` and
``tma`` (by descriptor). Their sums have a fixed order, so equal inputs give equal bits. ``fused`` goes over the pairs
once, five products instead of seven: a program owns a block of keys and adds its share of dq to an fp32 buffer, by the
tensor memory accelerator and in no fixed order; ``finish_queries`` rounds the buffer. ``warp_specialized``
(``kernels/attention_backward/gluon.py``) does the same with one warp that loads and two groups that compute.

A head of keys is owned by one program, which takes all GROUP heads of queries that share it in turn: the gradients of
keys and values are summed in registers, in a fixed order.

P and dS are rounded to the problem's dtype for the products that they enter; all products accumulate in fp32. The
logarithms are to the base 2, so that an exponential is one exp2.

q, out, dout and dq are (B, H, S, D), k, v, dk and dv (B, H / GROUP, S, D), lse and delta (B, H, S).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.attention.space import AttentionProblem
from kernels.attention_backward.space import ONE_PASS, AttentionBackwardConfig
from kernels.gemm.tiles import multiply_add, rounded

LOG2_E = math.log2(math.e)
ROWS = 64
"""Rows of a program of ``inner_products`` and of ``finish_queries``."""


@triton.jit
def inner_products(
    out_ptr, dout_ptr, lse_ptr, delta_ptr, base_2_ptr, sum_ptr, COUNT, D: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    """delta = rowsum(dout * out) in fp32, and lse to the base 2. The buffer for dq, if there is one, is filled with
    zeros."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = rows.to(tl.int64)[:, None] * D + tl.arange(0, D)[None, :]
    inside = rows < COUNT
    out = tl.load(out_ptr + at, mask=inside[:, None], other=0.0).to(tl.float32)
    dout = tl.load(dout_ptr + at, mask=inside[:, None], other=0.0).to(tl.float32)
    tl.store(delta_ptr + rows, tl.sum(out * dout, 1), mask=inside)
    lse = tl.load(lse_ptr + rows, mask=inside, other=0.0) * 1.4426950408889634
    tl.store(base_2_ptr + rows, lse, mask=inside)
    if sum_ptr is not None:
        tl.store(sum_ptr + at, tl.zeros((ROWS, D), tl.float32), mask=inside[:, None])


@triton.jit
def finish_queries(sum_ptr, dq_ptr, COUNT, scale, D: tl.constexpr, ROWS: tl.constexpr):
    """Scale the sums of dq and round them."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = rows.to(tl.int64)[:, None] * D + tl.arange(0, D)[None, :]
    inside = (rows < COUNT)[:, None]
    found = tl.load(sum_ptr + at, mask=inside, other=0.0) * scale
    tl.store(dq_ptr + at, rounded(found, dq_ptr.dtype.element_ty), mask=inside)


@triton.jit
def load_rows(source, head, row, S, D: tl.constexpr, BLOCK: tl.constexpr, TMA: tl.constexpr):
    """BLOCK rows of D elements of a head, from `row` on. Rows from S on are zero."""
    if TMA:
        tile = tl.reshape(source.load([head, row, 0]), (BLOCK, D))
    else:
        rows = row + tl.arange(0, BLOCK)
        at = head.to(tl.int64) * S * D + rows.to(tl.int64)[:, None] * D + tl.arange(0, D)[None, :]
        tile = tl.load(source + at, mask=rows[:, None] < S, other=0.0)
    return tile


@triton.jit
def store_rows(ptr, tile, head, row, S, D: tl.constexpr, BLOCK: tl.constexpr):
    """Round the rows of a head from `row` on and store those before S."""
    rows = row + tl.arange(0, BLOCK)
    at = head.to(tl.int64) * S * D + rows.to(tl.int64)[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(ptr + at, rounded(tile, ptr.dtype.element_ty), mask=rows[:, None] < S)


@triton.jit
def add_queries(
    dk,
    dv,
    k,
    v,
    q_source,
    dout_source,
    sum_desc,
    lse_ptr,
    delta_ptr,
    head,
    key,
    lo,
    hi,
    S,
    scale,
    CUT: tl.constexpr,
    TMA: tl.constexpr,
    D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_KV: tl.constexpr,
):
    """Add the queries [lo, hi) of a head to the gradients of BLOCK_KV keys and values from `key` on, and, if `sum_desc`
    is given, the keys' share to the gradient of these queries. CUT means that queries may come before keys."""
    for query in tl.range(lo, hi, BLOCK_Q):
        queries = query + tl.arange(0, BLOCK_Q)
        q = load_rows(q_source, head, query, S, D, BLOCK_Q, TMA)
        # A query from S on gets the weight exp2(-inf) = 0.
        lse = tl.load(lse_ptr + head * S + queries, mask=queries < S, other=float("inf"))
        scores = multiply_add(k, q.T, tl.zeros((BLOCK_KV, BLOCK_Q), tl.float32))
        weights = tl.exp2(scores * scale - lse[None, :])
        if CUT:
            keys = key + tl.arange(0, BLOCK_KV)
            weights = tl.where(keys[:, None] <= queries[None, :], weights, 0.0)
        dout = load_rows(dout_source, head, query, S, D, BLOCK_Q, TMA)
        dv = multiply_add(rounded(weights, dout.dtype), dout, dv)
        delta = tl.load(delta_ptr + head * S + queries, mask=queries < S, other=0.0)
        dweights = multiply_add(v, dout.T, tl.zeros((BLOCK_KV, BLOCK_Q), tl.float32))
        dscores = rounded(weights * (dweights - delta[None, :]), q.dtype)
        dk = multiply_add(dscores, q, dk)
        if sum_desc is not None:
            share = multiply_add(dscores.T, k, tl.zeros((BLOCK_Q, D), tl.float32))
            sum_desc.atomic_add([head, query, 0], tl.reshape(share, (1, BLOCK_Q, D)))
    return dk, dv


@triton.jit
def backward_keys(
    q_source,
    k_source,
    v_source,
    dout_source,
    sum_desc,
    lse_ptr,
    delta_ptr,
    dk_ptr,
    dv_ptr,
    S,
    scale,
    root,
    GROUP: tl.constexpr,
    CAUSAL: tl.constexpr,
    TMA: tl.constexpr,
    D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_KV: tl.constexpr,
):
    """Gradients of BLOCK_KV keys and values of a head. `scale` makes scores of products of q and k, to the base 2;
    `root` is 1 / sqrt(D). With CAUSAL the first block of a head has the most queries, and it starts first."""
    blocks = tl.cdiv(S, BLOCK_KV)
    owner = tl.program_id(0) // blocks
    key = tl.program_id(0) % blocks * BLOCK_KV
    k = load_rows(k_source, owner, key, S, D, BLOCK_KV, TMA)
    v = load_rows(v_source, owner, key, S, D, BLOCK_KV, TMA)
    dk = tl.zeros((BLOCK_KV, D), tl.float32)
    dv = tl.zeros((BLOCK_KV, D), tl.float32)
    first = key // BLOCK_Q * BLOCK_Q if CAUSAL else 0
    whole = tl.minimum(tl.cdiv(key + BLOCK_KV - 1, BLOCK_Q) * BLOCK_Q, tl.cdiv(S, BLOCK_Q) * BLOCK_Q) if CAUSAL else 0
    for member in range(GROUP):
        head = owner * GROUP + member
        if CAUSAL:
            dk, dv = add_queries(
                dk, dv, k, v, q_source, dout_source, sum_desc, lse_ptr, delta_ptr, head, key, first, whole, S, scale,
                True, TMA, D, BLOCK_Q, BLOCK_KV,
            )  # fmt: skip
        dk, dv = add_queries(
            dk, dv, k, v, q_source, dout_source, sum_desc, lse_ptr, delta_ptr, head, key, whole, S, S, scale,
            False, TMA, D, BLOCK_Q, BLOCK_KV,
        )  # fmt: skip
    store_rows(dk_ptr, dk * root, owner, key, S, D, BLOCK_KV)
    store_rows(dv_ptr, dv, owner, key, S, D, BLOCK_KV)


@triton.jit
def add_keys(
    dq,
    q,
    dout,
    lse,
    delta,
    k_source,
    v_source,
    owner,
    query,
    lo,
    hi,
    S,
    scale,
    CUT: tl.constexpr,
    TMA: tl.constexpr,
    D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_KV: tl.constexpr,
):
    """Add the keys [lo, hi) of a head to the gradient of BLOCK_Q queries from `query` on."""
    for key in tl.range(lo, hi, BLOCK_KV):
        k = load_rows(k_source, owner, key, S, D, BLOCK_KV, TMA)
        v = load_rows(v_source, owner, key, S, D, BLOCK_KV, TMA)
        scores = multiply_add(q, k.T, tl.zeros((BLOCK_Q, BLOCK_KV), tl.float32))
        weights = tl.exp2(scores * scale - lse[:, None])
        if CUT:
            queries = query + tl.arange(0, BLOCK_Q)
            keys = key + tl.arange(0, BLOCK_KV)
            weights = tl.where(keys[None, :] <= queries[:, None], weights, 0.0)
        dweights = multiply_add(dout, v.T, tl.zeros((BLOCK_Q, BLOCK_KV), tl.float32))
        dscores = weights * (dweights - delta[:, None])
        dq = multiply_add(rounded(dscores, k.dtype), k, dq)
    return dq


@triton.jit
def backward_queries(
    q_source,
    k_source,
    v_source,
    dout_source,
    lse_ptr,
    delta_ptr,
    dq_ptr,
    S,
    scale,
    root,
    GROUP: tl.constexpr,
    CAUSAL: tl.constexpr,
    TMA: tl.constexpr,
    D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_KV: tl.constexpr,
):
    """Gradient of BLOCK_Q queries of a head. With CAUSAL the last block of a head has the most keys, and it starts
    first."""
    blocks = tl.cdiv(S, BLOCK_Q)
    head = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    if CAUSAL:
        block = blocks - 1 - block
    query = block * BLOCK_Q
    queries = query + tl.arange(0, BLOCK_Q)
    q = load_rows(q_source, head, query, S, D, BLOCK_Q, TMA)
    dout = load_rows(dout_source, head, query, S, D, BLOCK_Q, TMA)
    lse = tl.load(lse_ptr + head * S + queries, mask=queries < S, other=float("inf"))
    delta = tl.load(delta_ptr + head * S + queries, mask=queries < S, other=0.0)
    dq = tl.zeros((BLOCK_Q, D), tl.float32)
    # Keys from S on are zero and add nothing, so only the diagonal needs a mask.
    end = tl.minimum(query + BLOCK_Q, S) if CAUSAL else S
    whole = query // BLOCK_KV * BLOCK_KV if CAUSAL else S
    dq = add_keys(
        dq, q, dout, lse, delta, k_source, v_source, head // GROUP, query, 0, whole, S, scale,
        False, TMA, D, BLOCK_Q, BLOCK_KV,
    )  # fmt: skip
    if CAUSAL:
        dq = add_keys(
            dq, q, dout, lse, delta, k_source, v_source, head // GROUP, query, whole, end, S, scale,
            True, TMA, D, BLOCK_Q, BLOCK_KV,
        )  # fmt: skip
    store_rows(dq_ptr, dq * root, head, query, S, D, BLOCK_Q)


def launch_backward(
    problem: AttentionProblem,
    config: AttentionBackwardConfig,
    inputs: dict[str, torch.Tensor],
    results: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    """Launch one config once and write `results`, (dq, dk, dv). `inputs` are q, k, v, out, lse and dout. This function
    reads no data, so it also runs on meta tensors."""
    p, c = problem, config
    dq, dk, dv = results
    rows = p.B * p.H * p.S
    delta = torch.empty((p.B, p.H, p.S), dtype=torch.float32, device=dq.device)
    lse = torch.empty_like(delta)
    sums = torch.empty(dq.shape, dtype=torch.float32, device=dq.device) if c.family in ONE_PASS else None
    grid = (triton.cdiv(rows, ROWS),)
    given = inputs["out"], inputs["dout"], inputs["lse"]
    inner_products[grid](*given, delta, lse, sums, rows, D=p.D, ROWS=ROWS, num_warps=4)
    tma = c.family != "pointer"
    root = 1 / math.sqrt(p.D)
    if c.family == "warp_specialized":
        from kernels.attention_backward import gluon  # not every Triton has Gluon

        assert sums is not None
        gluon.launch(p, c, inputs, lse, delta, sums, dk, dv)
        finish_queries[grid](sums, dq, rows, root, D=p.D, ROWS=ROWS, num_warps=4)
        return
    shared: dict[str, Any] = {"GROUP": p.GROUP, "CAUSAL": p.causal, "TMA": tma, "D": p.D}

    def source(name: str, block: int) -> Any:
        return by_head(inputs[name], block) if tma else inputs[name]

    backward_keys[(triton.cdiv(p.S, c.BLOCK_KV) * p.B * p.H // p.GROUP,)](
        source("q", c.BLOCK_Q),
        source("k", c.BLOCK_KV),
        source("v", c.BLOCK_KV),
        source("dout", c.BLOCK_Q),
        None if sums is None else by_head(sums, c.BLOCK_Q),
        lse,
        delta,
        dk,
        dv,
        p.S,
        LOG2_E * root,
        root,
        BLOCK_Q=c.BLOCK_Q,
        BLOCK_KV=c.BLOCK_KV,
        num_warps=c.num_warps,
        num_stages=c.num_stages,
        **shared,
    )
    if sums is not None:
        finish_queries[grid](sums, dq, rows, root, D=p.D, ROWS=ROWS, num_warps=4)
        return
    backward_queries[(triton.cdiv(p.S, c.DQ_BLOCK_Q) * p.B * p.H,)](
        source("q", c.DQ_BLOCK_Q),
        source("k", c.DQ_BLOCK_KV),
        source("v", c.DQ_BLOCK_KV),
        source("dout", c.DQ_BLOCK_Q),
        lse,
        delta,
        dq,
        p.S,
        LOG2_E * root,
        root,
        BLOCK_Q=c.DQ_BLOCK_Q,
        BLOCK_KV=c.DQ_BLOCK_KV,
        num_warps=c.DQ_WARPS,
        num_stages=c.DQ_STAGES,
        **shared,
    )


def by_head(tensor: torch.Tensor, rows: int) -> TensorDescriptor:
    """A descriptor of `rows` rows of one head of (B, H, S, D). Rows from S on read zero and are not written."""
    flat = tensor.view(-1, *tensor.shape[2:])
    return TensorDescriptor.from_tensor(flat, [1, rows, tensor.shape[3]])
