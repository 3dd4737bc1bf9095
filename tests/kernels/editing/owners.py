# ruff: noqa: E501
"""Kernels as owners write them, with what their launch gives, for tests of edits."""

from dataclasses import replace

import triton
import triton.language as tl
from triton.language.extra.libdevice import tanh

from kernels.editing.fencing.abstract_values import NUMBER, POINTER, STRING, of, whole
from kernels.editing.owner_function import owner_of

LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)


@triton.jit
def scale(x_ptr, y_ptr, n, factor, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    tl.store(y_ptr + offsets, x * factor, mask=offsets < n)


@triton.jit
def softmax(x_ptr, y_ptr, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * stride + columns, mask=columns < n, other=-float("inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    y = e / tl.sum(e, axis=0)
    tl.store(y_ptr + row * stride + columns, y.to(y_ptr.dtype.element_ty), mask=columns < n)


@triton.jit
def rms_norm(
    Y_ptr, X_ptr, W_ptr, RSTD_ptr, stride, n_cols, eps, offset, casting_mode: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(X_ptr + row * stride + cols, mask=mask, other=0)
    x_dtype = x.dtype
    w = tl.load(W_ptr + cols, mask=mask, other=0)
    if casting_mode == "llama":
        x = x.to(tl.float32)
    rstd = tl.rsqrt(tl.sum(x * x, axis=0) / n_cols + eps)
    tl.store(RSTD_ptr + row, rstd)
    x = x * rstd
    if casting_mode == "llama":
        x = x.to(x_dtype)
    tl.store(Y_ptr + row * stride + cols, x * (offset + w), mask=mask)


@triton.jit
def layer_norm_backward(
    X, W, Mean, RSTD, DX, DW, DB, DY, stride_x, stride_dw, n_rows, n_cols, rows, BLOCK: tl.constexpr
):
    block = tl.program_id(0).to(tl.int64)
    start = block * rows
    end = min((block + 1) * rows, n_rows)
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    dw_row = tl.zeros((BLOCK,), dtype=tl.float32)
    db_row = tl.zeros((BLOCK,), dtype=tl.float32)
    w = tl.load(W + cols, mask=mask, other=0.0).to(tl.float32)
    for row in range(start, end):
        x = tl.load(X + row * stride_x + cols, mask=mask, other=0.0).to(tl.float32)
        dy = tl.load(DY + row * stride_x + cols, mask=mask, other=0.0).to(tl.float32)
        mean = tl.load(Mean + row)
        rstd = tl.load(RSTD + row)
        x_hat = (x - mean) * rstd
        wdy = w * dy
        c1 = tl.sum(x_hat * wdy, axis=0) / n_cols
        c2 = tl.sum(wdy, axis=0) / n_cols
        tl.store(DX + row * stride_x + cols, (wdy - (x_hat * c1 + c2)) * rstd, mask=mask)
        dw_row += dy * x_hat
        db_row += dy
    tl.store(DW + block * stride_dw + cols, dw_row, mask=mask)
    tl.store(DB + block * stride_dw + cols, db_row, mask=mask)


@triton.jit
def geglu(a, b, c, stride, n_cols: tl.constexpr, BLOCK_SIZE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    a += row * stride
    b += row * stride
    c += row * stride
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    a_row = tl.load(a + cols, mask=mask, other=0).to(tl.float32)
    b_row = tl.load(b + cols, mask=mask, other=0)
    root = 0.7978845608028654
    cubed = a_row * a_row * a_row
    gelu = 0.5 * a_row * (1 + tanh(root * (a_row + 0.044715 * cubed)))
    tl.store(c + cols, gelu.cast(b_row.dtype) * b_row, mask=mask)


@triton.jit
def _activate(x, kind: tl.constexpr):
    if kind == "relu":
        return tl.maximum(x, 0.0)
    return x


@triton.jit
def matmul(
    a_ptr, b_ptr, bias_ptr, c_ptr, M, N, K, stride_am, stride_ak, stride_bk, stride_bn, stride_cm, stride_cn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    num_m = tl.cdiv(M, BLOCK_M)
    num_n = tl.cdiv(N, BLOCK_N)
    group = pid // (GROUP_M * num_n)
    first = group * GROUP_M
    size = min(num_m - first, GROUP_M)
    pid_m = first + ((pid % (GROUP_M * num_n)) % size)
    pid_n = (pid % (GROUP_M * num_n)) // size
    offs_m = (pid_m * BLOCK_M + tl.arange(0, BLOCK_M)) % M
    offs_n = (pid_n * BLOCK_N + tl.arange(0, BLOCK_N)) % N
    offs_m = tl.max_contiguous(tl.multiple_of(offs_m, BLOCK_M), BLOCK_M)
    offs_k = tl.arange(0, BLOCK_K)
    a_ptrs = a_ptr + (offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak)
    b_ptrs = b_ptr + (offs_k[:, None] * stride_bk + offs_n[None, :] * stride_bn)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, tl.cdiv(K, BLOCK_K)):
        a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_K, other=0.0)
        b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_K, other=0.0)
        acc = tl.dot(a, b, acc)
        a_ptrs += BLOCK_K * stride_ak
        b_ptrs += BLOCK_K * stride_bk
    if bias_ptr is not None:
        acc += tl.load(bias_ptr + offs_n)[None, :]
    acc = _activate(acc, ACT)
    out_m = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    out_n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    c_ptrs = c_ptr + stride_cm * out_m[:, None] + stride_cn * out_n[None, :]
    tl.store(c_ptrs, acc.to(c_ptr.dtype.element_ty), mask=(out_m[:, None] < M) & (out_n[None, :] < N))


@triton.jit
def attention(
    Q, K, V, Out, sm_scale, stride_h, N_CTX, HEAD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr
):
    start = tl.program_id(0)
    head = tl.program_id(1)
    base = head.to(tl.int64) * stride_h
    offs_m = start * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = tl.arange(0, BLOCK_N)
    offs_d = tl.arange(0, HEAD)
    q = tl.load(Q + base + offs_m[:, None] * HEAD + offs_d[None, :])
    m_i = tl.zeros([BLOCK_M], dtype=tl.float32) - float("inf")
    l_i = tl.zeros([BLOCK_M], dtype=tl.float32) + 1.0
    acc = tl.zeros([BLOCK_M, HEAD], dtype=tl.float32)
    for n in range(0, N_CTX, BLOCK_N):
        k = tl.load(K + base + (n + offs_n)[None, :] * HEAD + offs_d[:, None])
        qk = tl.dot(q, k) * (sm_scale * LOG2E)
        m_ij = tl.maximum(m_i, tl.max(qk, 1))
        p = tl.math.exp2(qk - m_ij[:, None])
        alpha = tl.math.exp2(m_i - m_ij)
        l_i = l_i * alpha + tl.sum(p, 1)
        v = tl.load(V + base + (n + offs_n)[:, None] * HEAD + offs_d[None, :])
        acc = acc * alpha[:, None] + tl.dot(p.to(v.dtype), v)
        m_i = m_ij
    acc = acc / l_i[:, None]
    tl.store(Out + base + offs_m[:, None] * HEAD + offs_d[None, :], acc.to(Out.type.element_ty))


@triton.jit
def cross_entropy(X, Y, loss_ptr, stride, n_cols, ignore_index, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(Y + row)
    X += row * stride
    if y == ignore_index:
        tl.store(loss_ptr + row, 0.0)
        return
    m = float("-inf")
    d = 0.0
    for i in range(0, n_cols, BLOCK):
        offs = i + tl.arange(0, BLOCK)
        x = tl.load(X + offs, mask=offs < n_cols, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x))
        d = d * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new))
        m = m_new
    picked = tl.load(X + y).to(tl.float32)
    for i in range(0, n_cols, BLOCK):
        offs = i + tl.arange(0, BLOCK)
        x = tl.load(X + offs, mask=offs < n_cols, other=float("-inf")).to(tl.float32)
        tl.store(X + offs, tl.exp(x - m) / d, mask=offs < n_cols)
    tl.debug_barrier()
    tl.store(loss_ptr + row, m + tl.log(d) - picked)


@triton.jit
def jsd(X, Y, loss, dX, stride, beta: tl.constexpr, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    X += row * stride
    Y += row * stride
    loss += row * stride
    dX += row * stride
    for i in range(0, n_cols, BLOCK):
        offs = i + tl.arange(0, BLOCK)
        x = tl.load(X + offs, mask=offs < n_cols, other=float("-inf")).to(tl.float32)
        y = tl.load(Y + offs, mask=offs < n_cols, other=float("-inf")).to(tl.float32)
        q = tl.exp(x)
        p = tl.exp(y)
        m = beta * p + (1 - beta) * q
        log_m = tl.log(m)
        tl.store(loss + offs, beta * p * y + (1 - beta) * q * x - m * log_m, mask=offs < n_cols)
        tl.store(dX + offs, (1 - beta) * q * (x - log_m), mask=offs < n_cols)


@triton.jit
def moments(X, out, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    X += row * stride
    total = 0.0
    for i in range(0, n, BLOCK):
        offs = i + tl.arange(0, BLOCK)
        x = tl.load(X + offs, mask=offs < n, other=0.0).to(tl.float32)
        total += tl.sum(x)
    squares = 0.0
    for i in range(0, n, BLOCK):
        offs = i + tl.arange(0, BLOCK)
        x = tl.load(X + offs, mask=offs < n, other=0.0).to(tl.float32)
        squares += tl.sum(x * x)
    tl.store(out + row * 2, total / n)
    tl.store(out + row * 2 + 1, squares / n)


@triton.jit
def tiles(A, B, C, M, N, K: tl.constexpr, TILE_M: tl.constexpr, TILE_N: tl.constexpr):
    rows = tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    columns = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
    inner = tl.arange(0, K)
    a = tl.load(A + rows[:, None] * K + inner[None, :])
    b = tl.load(B + inner[:, None] * N + columns[None, :])
    tl.store(C + rows[:, None] * N + columns[None, :], tl.dot(a, b))


@triton.jit
def product(A, B, C, M, N, K, stride_a, stride_b, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    batch = tl.program_id(2)
    here = (rows < M)[:, None] & (columns[None, :] < N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(0, K, BLOCK_K):
        inner = k + tl.arange(0, BLOCK_K)
        a = tl.load(
            A + rows[:, None] * stride_a + inner[None, :], mask=(rows[:, None] < M) & (inner[None, :] < K), other=0.0
        )
        b = tl.load(
            B + inner[:, None] + columns[None, :] * stride_b, mask=(inner < K)[:, None] & (columns < N)[None, :]
        )
        acc = tl.dot(a, b, acc)
    tl.store(C + batch * M * N + rows[:, None] * N + columns[None, :], acc, mask=here)


@triton.jit
def column_sums(X, out, M, stride, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    columns = tl.arange(0, WIDTH)
    total = tl.zeros((WIDTH,), dtype=tl.float32)
    for i in range(0, M, BLOCK):
        rows = i + tl.arange(0, BLOCK)
        places = rows[:, None] * stride + columns[None, :]
        total += tl.sum(tl.load(X + places, mask=(rows < M)[:, None], other=0.0), axis=0)
    tl.store(out + columns, total)


def owner(function, numbers=(), element_bytes=(), **values):
    """The function as the fence sees it: parameters in capitals are constants, others pointers if they have no size."""
    found = {}
    for name in function.arg_names:
        known = values.get(name)
        found[name] = NUMBER if known is None else known
    return replace(owner_of(function, found), numbers=dict(numbers), element_bytes=dict(element_bytes))


P, OPTIONAL = POINTER, of("none", "pointer")
SCALE = owner(scale, x_ptr=P, y_ptr=P, BLOCK=whole(128, 4096))
SOFTMAX = owner(softmax, x_ptr=P, y_ptr=P, BLOCK=whole(1024, 8192))
RMS_NORM = owner(rms_norm, Y_ptr=P, X_ptr=P, W_ptr=P, RSTD_ptr=P, casting_mode=STRING, BLOCK=whole(1024, 8192))
LAYER_NORM = owner(
    layer_norm_backward, X=P, W=P, Mean=P, RSTD=P, DX=P, DW=P, DB=P, DY=P, BLOCK=whole(1024, 8192)
)  # fmt: skip
GEGLU = owner(geglu, a=P, b=P, c=P, n_cols=whole(11008), BLOCK_SIZE=whole(16384))
MATMUL = owner(
    matmul, a_ptr=P, b_ptr=P, bias_ptr=OPTIONAL, c_ptr=P, BLOCK_M=whole(64, 256), BLOCK_N=whole(64, 256), BLOCK_K=whole(32, 64),
    GROUP_M=whole(1, 8), ACT=STRING,
)  # fmt: skip
ATTENTION = owner(attention, Q=P, K=P, V=P, Out=P, HEAD=whole(64, 128), BLOCK_M=whole(64), BLOCK_N=whole(32, 64))
CROSS_ENTROPY = owner(cross_entropy, X=P, Y=P, loss_ptr=P, BLOCK=whole(1024, 65536))
JSD = owner(jsd, X=P, Y=P, loss=P, dX=P, beta=NUMBER, BLOCK=whole(1024, 65536))
MOMENTS = owner(moments, X=P, out=P, BLOCK=whole(1024, 65536))
TILES = owner(tiles, A=P, B=P, C=P, K=whole(16, 128), TILE_M=whole(16, 128), TILE_N=whole(16, 128))
PRODUCT = owner(
    product, {"M": 45, "N": 56, "K": 37, "stride_a": 44, "stride_b": 40}, dict.fromkeys("ABC", 4), A=P, B=P, C=P,
    BLOCK_M=whole(16, 128), BLOCK_N=whole(16, 128), BLOCK_K=whole(16, 64),
)  # fmt: skip
"""B lies with its columns one behind the other, and A's rows have gaps."""
COLUMN_SUMS = owner(
    column_sums, {"M": 70, "stride": 36}, {"X": 4, "out": 4}, X=P, out=P, WIDTH=whole(32), BLOCK=whole(16, 64)
)  # fmt: skip
