"""Triton source of the gradients of rms_norm and layer_norm.

With xhat = (x - mean) * rstd (rms_norm: mean = 0) and g = grad * weight, and with averages over a row,

    dx = rstd * (g - xhat * average(g * xhat) - average(g))     (rms_norm: without the last term)
    dweight = sum over rows of grad * xhat,    dbias = sum over rows of grad

(Ba, Kiros and Hinton 2016, arXiv:1607.06450; Zhang and Sennrich 2019, arXiv:1910.07467.) CENTRED means layer_norm.
SAVED means that mean and rstd of the forward pass are given; otherwise they are computed again from x.

No program adds to what another one wrote. Each program keeps its sums over rows in registers and writes them once to
its own row of a workspace; ``sum_programs`` adds these rows in a fixed order. Equal inputs therefore give equal bits.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents

from kernels.gemm.tiles import rounded
from kernels.rows.spec import below, within
from kernels.triton.overlap import inputs_ready


@triton.jit
def backward_walk(
    grad_ptr,
    x_ptr,
    weight_ptr,
    mean_ptr,
    rstd_ptr,
    dx_ptr,
    sums_ptr,
    M,
    N,
    eps,
    CENTRED: tl.constexpr,
    SAVED: tl.constexpr,
    PROGRAMS: tl.constexpr,
    STAGES: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """PROGRAMS programs, each of which takes every PROGRAMS-th group of ROWS whole rows; N is at most BLOCK_N.

    sums (1 or 2, PROGRAMS, N) receives each program's sums for dweight and, for layer_norm, for dbias."""
    if OVERLAP:
        gdc_launch_dependents()
    inputs_ready(OVERLAP)
    cols = tl.arange(0, BLOCK_N)[None, :]
    weight = tl.load(weight_ptr + cols, mask=cols < N, other=0.0, eviction_policy="evict_last").to(tl.float32)
    dweight = tl.zeros((ROWS, BLOCK_N), tl.float32)
    dbias = tl.zeros((ROWS, BLOCK_N), tl.float32)
    for group in tl.range(tl.program_id(0), tl.cdiv(M, ROWS), PROGRAMS, num_stages=STAGES):
        rows = tl.cast(group, tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
        inside = within(rows, cols, M, N, ROWS, BLOCK_N, EVEN)
        x = tl.load(x_ptr + rows * N + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
        grad = tl.load(grad_ptr + rows * N + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
        if SAVED:
            rstd = tl.load(rstd_ptr + rows, mask=rows < M, other=0.0)
            if CENTRED:
                x -= tl.load(mean_ptr + rows, mask=rows < M, other=0.0)
        else:
            if CENTRED:
                x -= (tl.sum(x, 1) / N)[:, None]
                if not EVEN:
                    x = tl.where(inside, x, 0.0)
            rstd = (1.0 / tl.sqrt(tl.sum(x * x, 1) / N + eps))[:, None]
        xhat = x * rstd
        scaled = grad * weight
        inner = scaled - xhat * (tl.sum(scaled * xhat, 1) / N)[:, None]
        if CENTRED:
            inner -= (tl.sum(scaled, 1) / N)[:, None]
            dbias += grad
        dweight += grad * xhat
        dx = rounded(rstd * inner, dx_ptr.dtype.element_ty)
        tl.store(dx_ptr + rows * N + cols, dx, mask=inside, cache_modifier=WRITE)
    columns = tl.arange(0, BLOCK_N)
    at = tl.program_id(0).to(tl.int64) * N + columns
    tl.store(sums_ptr + at, tl.sum(dweight, 0), mask=columns < N)
    if CENTRED:
        tl.store(sums_ptr + tl.cast(PROGRAMS, tl.int64) * N + at, tl.sum(dbias, 0), mask=columns < N)


@triton.jit
def backward_terms(
    grad_ptr,
    x_ptr,
    weight_ptr,
    mean_ptr,
    rstd_ptr,
    terms_ptr,
    M,
    N,
    eps,
    CENTRED: tl.constexpr,
    SAVED: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """The four numbers of one row, in blocks: terms (4, M) receives mean, rstd, average(g * xhat) and average(g)."""
    if OVERLAP:
        gdc_launch_dependents()
    inputs_ready(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK_N)[None, :]
    x_row, grad_row = x_ptr + row * N, grad_ptr + row * N
    mean, rstd = tl.zeros((1, 1), tl.float32), tl.zeros((1, 1), tl.float32)
    if SAVED:
        rstd += tl.load(rstd_ptr + row)
        if CENTRED:
            mean += tl.load(mean_ptr + row)
    else:
        if CENTRED:
            sums = tl.zeros((1, BLOCK_N), tl.float32)
            for start in range(0, N, BLOCK_N):
                there = below(cols, N - start, BLOCK_N, EVEN)
                sums += tl.load(x_row + start + cols, mask=there, other=0.0).to(tl.float32)
            mean += (tl.sum(sums, 1) / N)[:, None]
        squares = tl.zeros((1, BLOCK_N), tl.float32)
        for start in range(0, N, BLOCK_N):
            there = below(cols, N - start, BLOCK_N, EVEN)
            apart = tl.load(x_row + start + cols, mask=there, other=0.0).to(tl.float32) - mean
            squares += tl.where(there, apart * apart, 0.0)
        rstd += (1.0 / tl.sqrt(tl.sum(squares, 1) / N + eps))[:, None]
    products = tl.zeros((1, BLOCK_N), tl.float32)
    totals = tl.zeros((1, BLOCK_N), tl.float32)
    for start in range(0, N, BLOCK_N):
        there = below(cols, N - start, BLOCK_N, EVEN)
        x = tl.load(x_row + start + cols, mask=there, other=0.0).to(tl.float32)
        grad = tl.load(grad_row + start + cols, mask=there, other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + start + cols, mask=there, other=0.0, eviction_policy="evict_last")
        scaled = grad * weight.to(tl.float32)
        products += scaled * ((x - mean) * rstd)
        totals += scaled
    one = row + tl.zeros((1, 1), tl.int64)
    tl.store(terms_ptr + one, mean)
    tl.store(terms_ptr + M + one, rstd)
    tl.store(terms_ptr + 2 * M + one, (tl.sum(products, 1) / N)[:, None])
    tl.store(terms_ptr + 3 * M + one, (tl.sum(totals, 1) / N)[:, None])


@triton.jit
def backward_tiles(
    grad_ptr,
    x_ptr,
    weight_ptr,
    terms_ptr,
    dx_ptr,
    sums_ptr,
    M,
    N,
    CENTRED: tl.constexpr,
    PROGRAMS: tl.constexpr,
    STAGES: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    EVEN: tl.constexpr,
    READ: tl.constexpr,
    WRITE: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """dx and the sums of one block of columns. PROGRAMS programs share its rows: each takes every PROGRAMS-th group of
    ROWS rows. terms is what ``backward_terms`` wrote; sums is as in ``backward_walk``."""
    if OVERLAP:
        gdc_launch_dependents()
    inputs_ready(OVERLAP)
    blocks = tl.cdiv(N, BLOCK_N)
    share = tl.program_id(0) // blocks
    cols = tl.program_id(0) % blocks * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    weight = tl.load(weight_ptr + cols, mask=cols < N, other=0.0, eviction_policy="evict_last").to(tl.float32)
    dweight = tl.zeros((ROWS, BLOCK_N), tl.float32)
    dbias = tl.zeros((ROWS, BLOCK_N), tl.float32)
    for group in tl.range(share, tl.cdiv(M, ROWS), PROGRAMS, num_stages=STAGES):
        rows = tl.cast(group, tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
        inside = within(rows, cols, M, N, ROWS, BLOCK_N, EVEN)
        x = tl.load(x_ptr + rows * N + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
        grad = tl.load(grad_ptr + rows * N + cols, mask=inside, other=0.0, eviction_policy=READ).to(tl.float32)
        rstd = tl.load(terms_ptr + M + rows, mask=rows < M, other=0.0)
        xhat = (x - tl.load(terms_ptr + rows, mask=rows < M, other=0.0)) * rstd
        inner = grad * weight - xhat * tl.load(terms_ptr + 2 * M + rows, mask=rows < M, other=0.0)
        if CENTRED:
            inner -= tl.load(terms_ptr + 3 * M + rows, mask=rows < M, other=0.0)
            dbias += grad
        dweight += grad * xhat
        dx = rounded(rstd * inner, dx_ptr.dtype.element_ty)
        tl.store(dx_ptr + rows * N + cols, dx, mask=inside, cache_modifier=WRITE)
    columns = tl.program_id(0) % blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    at = share.to(tl.int64) * N + columns
    tl.store(sums_ptr + at, tl.sum(dweight, 0), mask=columns < N)
    if CENTRED:
        tl.store(sums_ptr + tl.cast(PROGRAMS, tl.int64) * N + at, tl.sum(dbias, 0), mask=columns < N)


@triton.jit
def sum_programs(
    sums_ptr,
    dweight_ptr,
    dbias_ptr,
    N,
    PROGRAMS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Add the rows of sums in a fixed order: the first axis of the grid is a block of WIDTH columns, the second one
    dweight or dbias."""
    inputs_ready(OVERLAP)
    which = tl.program_id(1)
    cols = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    acc = tl.zeros((HEIGHT, WIDTH), tl.float32)
    for start in range(0, PROGRAMS, HEIGHT):
        rows = start + tl.arange(0, HEIGHT)[:, None]
        at = (which * PROGRAMS + rows).to(tl.int64) * N + cols[None, :]
        acc += tl.load(sums_ptr + at, mask=(rows < PROGRAMS) & (cols[None, :] < N), other=0.0)
    total = rounded(tl.sum(acc, 0), dweight_ptr.dtype.element_ty)
    if which == 0:
        tl.store(dweight_ptr + cols, total, mask=cols < N)
    else:
        tl.store(dbias_ptr + cols, total, mask=cols < N)
