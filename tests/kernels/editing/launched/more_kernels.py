# ruff: noqa: C408
"""Further kernels with arguments for a launch: scans, atomics, sorting, gathers, small matrices, quantisation,
convolution, group norm, segments, paged attention."""

import torch
import triton
import triton.language as tl

from tests.kernels.editing.launched.launched_kernels import LaunchedKernel, drawn, rowsum, words


@triton.jit
def cumsum_rows(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    carry = 0.0
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * n + at, mask=at < n, other=0.0)
        y = tl.cumsum(x, axis=0) + carry
        carry += tl.sum(x, axis=0)
        tl.store(y_ptr + row * n + at, y, mask=at < n)


@triton.jit
def cumprod_rows(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + at, mask=at < n, other=1.0)
    tl.store(y_ptr + row * n + at, tl.cumprod(x, axis=0), mask=at < n)


@triton.jit
def count_bins(x_ptr, bins_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0)
    tl.atomic_add(bins_ptr + x, 1, mask=at < n)


@triton.jit
def top_k(x_ptr, y_ptr, n, K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + at, mask=at < n, other=float("-inf"))
    for k in range(0, K):
        most = tl.max(x, axis=0)
        tl.store(y_ptr + row * K + k, most)
        first = tl.min(tl.where(x == most, at, BLOCK), axis=0)
        x = tl.where(at == first, float("-inf"), x)


@triton.jit
def embed(table_ptr, ids_ptr, out_ptr, D, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    token = tl.load(ids_ptr + row).to(tl.int64)
    for start in range(0, D, BLOCK):
        at = start + tl.arange(0, BLOCK)
        e = tl.load(table_ptr + token * D + at, mask=at < D)
        tl.store(out_ptr + row * D + at, e, mask=at < D)


@triton.jit
def small_products(a_ptr, b_ptr, c_ptr, batch, N: tl.constexpr):
    i = tl.program_id(0)
    r, c = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    a = tl.load(a_ptr + i * N * N + r * N + c)
    b = tl.load(b_ptr + i * N * N + r * N + c)
    tl.store(c_ptr + i * N * N + r * N + c, tl.dot(a, b))


@triton.jit
def quantise_rows(x_ptr, q_ptr, scale_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + at, mask=at < n, other=0.0)
    scale = tl.maximum(tl.max(tl.abs(x), axis=0) / 127.0, 1e-10)
    q = tl.floor(x / scale + 0.5)
    tl.store(q_ptr + row * n + at, q.to(tl.int8), mask=at < n)
    tl.store(scale_ptr + row, scale)


@triton.jit
def dequantise(q_ptr, scale_ptr, zero_ptr, out_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + row * n + at, mask=at < n, other=0).to(tl.float32)
    out = (q - tl.load(zero_ptr + row)) * tl.load(scale_ptr + row)
    tl.store(out_ptr + row * n + at, out, mask=at < n)


@triton.jit
def from_fp8(bits_ptr, scale_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    bits = tl.load(bits_ptr + at, mask=at < n, other=0)
    x = bits.to(tl.float8e5, bitcast=True).to(tl.float32)
    tl.store(out_ptr + at, x * tl.load(scale_ptr), mask=at < n)


@triton.jit
def convolve(x_ptr, w_ptr, y_ptr, C, H, W, S: tl.constexpr, BLOCK: tl.constexpr):
    out, row = tl.program_id(0), tl.program_id(1)
    at = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for c in range(0, C):
        for i in range(0, S):
            for j in range(0, S):
                r, col = row + i - S // 2, at + j - S // 2
                inside = (r >= 0) & (r < H) & (col >= 0) & (col < W)
                x = tl.load(x_ptr + (c * H + r) * W + col, mask=inside, other=0.0)
                w = tl.load(w_ptr + ((out * C + c) * S + i) * S + j)
                total += x * w
    tl.store(y_ptr + (out * H + row) * W + at, total, mask=at < W)


@triton.jit
def group_norm(x_ptr, w_ptr, b_ptr, y_ptr, size, channel, groups, eps, BLOCK: tl.constexpr):
    start = tl.program_id(0) * size
    first = (tl.program_id(0) % groups) * (size // channel)
    total, squares = 0.0, 0.0
    for i in range(0, size, BLOCK):
        at = i + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + start + at, mask=at < size, other=0.0)
        total += tl.sum(x, axis=0)
        squares += tl.sum(x * x, axis=0)
    mean = total / size
    rstd = 1.0 / tl.sqrt(squares / size - mean * mean + eps)
    for i in range(0, size, BLOCK):
        at = i + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + start + at, mask=at < size, other=0.0)
        w = tl.load(w_ptr + first + at // channel, mask=at < size)
        b = tl.load(b_ptr + first + at // channel, mask=at < size)
        tl.store(y_ptr + start + at, (x - mean) * rstd * w + b, mask=at < size)


@triton.jit
def segment_sums(x_ptr, starts_ptr, y_ptr, D, BLOCK: tl.constexpr):
    segment = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    begin, end = tl.load(starts_ptr + segment), tl.load(starts_ptr + segment + 1)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for row in range(begin, end):
        total += tl.load(x_ptr + row * D + at, mask=at < D, other=0.0)
    tl.store(y_ptr + segment * D + at, total, mask=at < D)


@triton.jit
def paged_decode(q_ptr, k_ptr, v_ptr, table_ptr, lengths_ptr, out_ptr, pages, D: tl.constexpr, PAGE: tl.constexpr):
    sequence = tl.program_id(0)
    d, slot = tl.arange(0, D), tl.arange(0, PAGE)
    length = tl.load(lengths_ptr + sequence)
    q = tl.load(q_ptr + sequence * D + d) * 0.25
    most, weight = float("-inf"), 0.0
    total = tl.zeros((D,), dtype=tl.float32)
    for page in range(0, tl.cdiv(length, PAGE)):
        where = tl.load(table_ptr + sequence * pages + page)
        there = page * PAGE + slot < length
        at = (where * PAGE + slot)[:, None] * D + d[None, :]
        k = tl.load(k_ptr + at, mask=there[:, None], other=0.0)
        v = tl.load(v_ptr + at, mask=there[:, None], other=0.0)
        scores = tl.where(there, tl.sum(q[None, :] * k, axis=1), float("-inf"))
        new = tl.maximum(most, tl.max(scores, axis=0))
        p = tl.exp(scores - new)
        less = tl.exp(most - new)
        weight = weight * less + tl.sum(p, axis=0)
        total = total * less + tl.sum(p[:, None] * v, axis=0)
        most = new
    tl.store(out_ptr + sequence * D + d, total / weight)


@triton.jit
def scatter_add(x_ptr, ids_ptr, y_ptr, D, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    to = tl.load(ids_ptr + row)
    for start in range(0, D, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * D + at, mask=at < D, other=0.0)
        tl.atomic_add(y_ptr + to * D + at, x, mask=at < D)


def ints(values):
    return torch.tensor(values, dtype=torch.int32)


def bins():
    return torch.zeros(37, dtype=torch.int32)


MORE = {
    "CUMSUM": LaunchedKernel(
        cumsum_rows, lambda: dict(x_ptr=drawn(3, 300), y_ptr=torch.zeros(3, 300), n=300, BLOCK=64), (3,)
    ),
    "CUMPROD": LaunchedKernel(
        cumprod_rows,
        lambda: dict(x_ptr=drawn(3, 100).tanh() * 0.1 + 1, y_ptr=torch.zeros(3, 100), n=100, BLOCK=128), (3,),
    ),
    "BINS": LaunchedKernel(count_bins, lambda: dict(x_ptr=words(37, 500), bins_ptr=bins(), n=500, BLOCK=128), (4,)),
    "TOP_K": LaunchedKernel(
        top_k, lambda: dict(x_ptr=drawn(4, 100), y_ptr=torch.zeros(4, 8), n=100, K=8, BLOCK=128), (4,)
    ),
    "EMBED": LaunchedKernel(
        embed,
        lambda: dict(table_ptr=drawn(20, 100), ids_ptr=words(20, 7), out_ptr=torch.zeros(7, 100), D=100, BLOCK=32),
        (7,),
    ),
    "SMALL_PRODUCTS": LaunchedKernel(
        small_products,
        lambda: dict(a_ptr=drawn(5, 16, 16), b_ptr=drawn(6, 16, 16), c_ptr=torch.zeros(5, 16, 16), batch=5, N=16), (5,),
    ),
    "QUANTISE": LaunchedKernel(
        quantise_rows,
        lambda: dict(
            x_ptr=drawn(4, 100), q_ptr=torch.zeros(4, 100, dtype=torch.int8), scale_ptr=torch.zeros(4), n=100, BLOCK=128
        ), (4,),
    ),
    "DEQUANTISE": LaunchedKernel(
        dequantise,
        lambda: dict(
            q_ptr=(words(255, 3, 200) - 127).to(torch.int8), scale_ptr=drawn(3).abs(), zero_ptr=drawn(1, 3),
            out_ptr=torch.zeros(3, 200), n=200, BLOCK=64,
        ), (3, 4),
    ),
    "FROM_FP8": LaunchedKernel(
        from_fp8,
        lambda: dict(
            bits_ptr=words(120, 300).to(torch.uint8), scale_ptr=drawn(1), out_ptr=torch.zeros(300), n=300, BLOCK=128
        ), (3,),
    ),
    "CONVOLVE": LaunchedKernel(
        convolve,
        lambda: dict(
            x_ptr=drawn(3, 5, 13), w_ptr=drawn(2, 3, 3, 3), y_ptr=torch.zeros(2, 5, 13), C=3, H=5, W=13, S=3, BLOCK=16
        ), (2, 5),
    ),
    "GROUP_NORM": LaunchedKernel(
        group_norm,
        lambda: dict(
            x_ptr=drawn(2, 6, 25), w_ptr=drawn(6), b_ptr=drawn(1, 6), y_ptr=torch.zeros(2, 6, 25), size=50, channel=25,
            groups=3, eps=1e-5, BLOCK=16,
        ), (6,),
    ),
    "SEGMENTS": LaunchedKernel(
        segment_sums,
        lambda: dict(
            x_ptr=drawn(19, 40), starts_ptr=ints([0, 3, 3, 11, 19]), y_ptr=torch.zeros(4, 40), D=40, BLOCK=32
        ), (4, 2),
    ),
    "PAGED": LaunchedKernel(
        paged_decode,
        lambda: dict(
            q_ptr=drawn(3, 16), k_ptr=drawn(9, 8, 16), v_ptr=drawn(9, 8, 17)[:, :, 1:].contiguous(),
            table_ptr=ints([[4, 0, 7], [1, 2, 8], [3, 5, 6]]), lengths_ptr=ints([20, 8, 1]),
            out_ptr=torch.zeros(3, 16), pages=3, D=16, PAGE=8,
        ), (3,),
    ),
    "SCATTER": LaunchedKernel(
        scatter_add,
        lambda: dict(x_ptr=drawn(9, 50), ids_ptr=words(4, 9), y_ptr=torch.zeros(4, 50), D=50, BLOCK=32), (9,),
    ),
}  # fmt: skip
OTHER_SHAPES = {
    "ROWSUM": LaunchedKernel(
        rowsum, lambda: dict(x_ptr=drawn(3, 900), y_ptr=torch.zeros(3), n_rows=3, n_cols=900, stride=900, BLOCK=128),
        (3,),
    ),
    "CUMSUM": LaunchedKernel(
        cumsum_rows, lambda: dict(x_ptr=drawn(3, 500), y_ptr=torch.zeros(3, 500), n=500, BLOCK=64), (3,)
    ),
    "GROUP_NORM": LaunchedKernel(
        group_norm,
        lambda: dict(
            x_ptr=drawn(2, 6, 31), w_ptr=drawn(6), b_ptr=drawn(1, 6), y_ptr=torch.zeros(2, 6, 31), size=62, channel=31,
            groups=3, eps=1e-5, BLOCK=16,
        ), (6,),
    ),
    "SEGMENTS": LaunchedKernel(
        segment_sums,
        lambda: dict(
            x_ptr=drawn(30, 48), starts_ptr=ints([0, 12, 12, 15, 30]), y_ptr=torch.zeros(4, 48), D=48, BLOCK=32
        ), (4, 2),
    ),
}  # fmt: skip
"""Second launches, in which edits that know the first one's shapes are wrong."""
