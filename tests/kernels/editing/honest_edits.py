# ruff: noqa: E501
"""Edits that somebody who knows Triton would make. Each is (name, owner, new source, new meta-parameters)."""

from tests.kernels.editing import owners as o


def changed(owner, *pairs, before=""):
    """The owner's source with some texts replaced, and device functions before it."""
    source = owner.part["source"]
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, f"{old!r} is not in {owner.name}"
        source = source.replace(old, new)
    return f"{before}\n\n{source}"


def edit(name, owner, *pairs, before="", **meta):
    return name, owner, changed(owner, *pairs, before=before), meta


LOOP = "BLOCK: tl.constexpr"
ROWS = """
@triton.jit
def softmax(x_ptr, y_ptr, stride, n, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    mask = columns < n
    x = tl.load(x_ptr + rows * stride + columns, mask=mask, other=float("-inf")).to(tl.float32)
    top = tl.max(x, axis=1, keep_dims=True)
    e = tl.where(mask, tl.exp2((x - top) * 1.4426950408889634), 0.0)
    sum = tl.sum(e, axis=1)[:, None]
    tl.store(y_ptr + rows * stride + columns, (e / sum).to(y_ptr.dtype.element_ty), mask=mask)
"""
ONLINE = """
@triton.jit
def softmax(x_ptr, y_ptr, stride, n, BLOCK: tl.constexpr, TILE: tl.constexpr = 1024):
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * stride
    y_ptr += row * stride
    m = -float("inf")
    d = 0.0
    for start in tl.range(0, n, TILE, num_stages=2):
        at = start + tl.arange(0, TILE)
        x = tl.load(x_ptr + at, mask=at < n, other=-float("inf")).to(tl.float32)
        new = tl.maximum(m, tl.max(x, 0))
        d = d * tl.exp(m - new) + tl.sum(tl.exp(x - new), 0)
        m = new
    for start in range(0, n, TILE):
        at = start + tl.arange(0, TILE)
        x = tl.load(x_ptr + at, mask=at < n, other=0.0, eviction_policy="evict_first").to(tl.float32)
        y = tl.exp(x - m) / d
        tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=at < n, cache_modifier=".cs")
"""
PAIR = """
@triton.jit
def combine(m1, d1, m2, d2):
    m = tl.maximum(m1, m2)
    return m, d1 * tl.exp(m1 - m) + d2 * tl.exp(m2 - m)


@triton.jit
def softmax(x_ptr, y_ptr, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * stride + c, mask=c < n, other=float("-inf")).to(tl.float32)
    m, d = tl.reduce((x, tl.full((BLOCK,), 1.0, tl.float32)), 0, combine)
    tl.store(y_ptr + row * stride + c, (tl.exp(x - m) / d).to(y_ptr.dtype.element_ty), mask=c < n)
"""
BLOCKED = """
@triton.jit
def softmax(x_ptr, y_ptr, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    source = tl.make_block_ptr(
        x_ptr + row.to(tl.int64) * stride, shape=(n,), strides=(1,), offsets=(0,), block_shape=(BLOCK,), order=(0,)
    )
    x = tl.load(source).to(tl.float32)
    x = tl.where(tl.arange(0, BLOCK) < n, x, -float("inf"))
    e = tl.exp(x - tl.max(x))
    target = tl.make_block_ptr(y_ptr + row.to(tl.int64) * stride, (n,), (1,), (0,), (BLOCK,), (0,))
    tl.store(target, (e / tl.sum(e)).to(y_ptr.dtype.element_ty))
"""
PERSISTENT = """
@triton.jit
def softmax(x_ptr, y_ptr, stride, n, BLOCK: tl.constexpr, PER: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    inside = columns < n
    for step in tl.static_range(0, PER):
        row = (tl.program_id(axis=0) * PER + step).to(tl.int64)
        x = tl.load(x_ptr + row * stride + columns, mask=inside, other=-float("inf")).to(tl.float32)
        x -= tl.max(x)
        e = tl.exp(x)
        tl.store(y_ptr + row * stride + columns, (e / tl.sum(e)).to(y_ptr.dtype.element_ty), mask=inside)
"""
NORM_ROWS = """
def rms_norm(Y_ptr, X_ptr, W_ptr, RSTD_ptr, stride, n_cols, eps, offset, casting_mode: tl.constexpr,
             BLOCK: tl.constexpr, ROWS: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    w = tl.load(W_ptr + cols, mask=mask, other=0, eviction_policy='evict_last')
    for i in tl.range(ROWS, loop_unroll_factor=2):
        row = tl.program_id(0).to(tl.int64) * ROWS + i
        x = tl.load(X_ptr + row * stride + cols, mask=mask, other=0)
        x_dtype = x.dtype
        if casting_mode == 'llama':
            x = x.to(tl.float32)
        elif casting_mode != 'none':
            w = w.to(tl.float32)
            x = x.to(tl.float32)
        rstd = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / n_cols + eps)
        tl.store(RSTD_ptr + row, rstd)
        x = (x * rstd).to(x_dtype) if casting_mode == 'llama' else x * rstd
        tl.store(Y_ptr + row * stride + cols, x * (offset + w), mask=mask)
"""
WIDE_NORM = """
@triton.jit
def _row(X, DY, at, mask, w, mean, rstd, n_cols):
    x = tl.load(X + at, mask=mask, other=0.0).to(tl.float32)
    dy = tl.load(DY + at, mask=mask, other=0.0).to(tl.float32)
    x_hat = (x - mean) * rstd
    wdy = w * dy
    c1 = tl.sum(x_hat * wdy, axis=0) / n_cols
    c2 = tl.sum(wdy, axis=0) / n_cols
    return (wdy - (x_hat * c1 + c2)) * rstd, dy * x_hat, dy


@triton.jit
def layer_norm_backward(X, W, Mean, RSTD, DX, DW, DB, DY, stride_x, stride_dw, n_rows, n_cols, rows, BLOCK: tl.constexpr):
    block = tl.program_id(0).to(tl.int64)
    start, end = block * rows, tl.minimum((block + 1) * rows, n_rows)
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    dw, db = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    w = tl.load(W + cols, mask=mask, other=0.0).to(tl.float32)
    for row in tl.range(start, end, num_stages=3):
        dx, a, b = _row(X, DY, row * stride_x + cols, mask, w, tl.load(Mean + row), tl.load(RSTD + row), n_cols)
        tl.store(DX + row * stride_x + cols, dx, mask=mask)
        dw += a
        db += b
    tl.store(DW + block * stride_dw + cols, dw, mask=mask)
    tl.store(DB + block * stride_dw + cols, db, mask=mask)
"""
SIGMOID_GELU = """
@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


def geglu(a, b, c, stride, n_cols: tl.constexpr, BLOCK_SIZE: tl.constexpr, TILE: tl.constexpr, TILES: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    a += row * stride
    b += row * stride
    c += row * stride
    for i in tl.static_range(TILES):
        cols = i * TILE + tl.arange(0, TILE)
        mask = cols < n_cols
        x = tl.load(a + cols, mask=mask, other=0, cache_modifier='.cg').to(tl.float32)
        y = tl.load(b + cols, mask=mask, other=0, cache_modifier='.cg')
        gelu = 0.5 * x * (1 + _tanh(0.7978845608028654 * x * (1 + 0.044715 * x * x)))
        tl.store(c + cols, gelu.to(y.dtype) * y, mask=mask)
"""
COLUMNS = """
def geglu(a, b, c, stride, n_cols: tl.constexpr, BLOCK_SIZE: tl.constexpr, TILE: tl.constexpr):
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1)
    cols = column * TILE + tl.arange(0, TILE)
    mask = cols < n_cols
    at = row * stride + cols
    x = tl.load(a + at, mask, 0).to(tl.float32)
    y = tl.load(b + at, mask, 0)
    inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    tl.store(c + at, (0.5 * x * (1 + libdevice.tanh(inner))).to(c.dtype.element_ty) * y, mask=mask)
"""
DESCRIBED = """
def matmul(a_ptr, b_ptr, bias_ptr, c_ptr, M, N, K, stride_am, stride_ak, stride_bk, stride_bn, stride_cm, stride_cn,
           BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr,
           ACT: tl.constexpr):
    a = tl.make_tensor_descriptor(a_ptr, shape=[M, K], strides=[stride_am, 1], block_shape=[BLOCK_M, BLOCK_K])
    b = tl.make_tensor_descriptor(b_ptr, shape=[K, N], strides=[stride_bk, 1], block_shape=[BLOCK_K, BLOCK_N])
    c = tl.make_tensor_descriptor(c_ptr, shape=[M, N], strides=[stride_cm, 1], block_shape=[BLOCK_M, BLOCK_N])
    tiles_n = tl.cdiv(N, BLOCK_N)
    pid_m = tl.program_id(0) // tiles_n
    pid_n = tl.program_id(0) % tiles_n
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in tl.range(0, K, BLOCK_K, num_stages=4, warp_specialize=False):
        acc = tl.dot(a.load([pid_m * BLOCK_M, k]), b.load([k, pid_n * BLOCK_N]), acc)
    if bias_ptr is not None:
        n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
        acc += tl.load(bias_ptr + n, mask=n < N, other=0.0)[None, :]
    acc = _activate(acc, ACT)
    c.store([pid_m * BLOCK_M, pid_n * BLOCK_N], acc.to(c.dtype))
"""
EPILOGUE = """
@triton.jit
def _halves(x):
    rows: tl.constexpr = x.shape[0]
    columns: tl.constexpr = x.shape[1]
    x = tl.reshape(x, (rows, 2, columns // 2))
    left, right = tl.permute(x, (0, 2, 1)).split()
    return left, right
"""
STEP_APART = """
@triton.jit
def _step(acc, l_i, m_i, q, K, V, base, n, offs_n, offs_d, scale, HEAD: tl.constexpr):
    k = tl.load(K + base + (n + offs_n)[None, :] * HEAD + offs_d[:, None])
    qk = tl.dot(q, k) * scale
    m_ij = tl.maximum(m_i, tl.max(qk, 1))
    p = tl.exp2(qk - m_ij[:, None])
    alpha = tl.exp2(m_i - m_ij)
    v = tl.load(V + base + (n + offs_n)[:, None] * HEAD + offs_d[None, :])
    acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None])
    return acc, l_i * alpha + tl.sum(p, 1), m_ij


def attention(Q, K, V, Out, sm_scale, stride_h, N_CTX, HEAD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    base = tl.program_id(1).to(tl.int64) * stride_h
    offs_m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n, offs_d = tl.arange(0, BLOCK_N), tl.arange(0, HEAD)
    q = tl.load(Q + base + offs_m[:, None] * HEAD + offs_d[None, :])
    m_i = tl.full([BLOCK_M], -float("inf"), tl.float32)
    l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, HEAD], tl.float32)
    for n in tl.range(0, N_CTX, BLOCK_N):
        acc, l_i, m_i = _step(acc, l_i, m_i, q, K, V, base, n, offs_n, offs_d, sm_scale * LOG2E, HEAD)
    out = Out + base + offs_m[:, None] * HEAD + offs_d[None, :]
    tl.store(out, (acc / l_i[:, None]).to(Out.dtype.element_ty))
"""

EDITS = [
    edit("scale: wider", o.SCALE, LOOP, f"{LOOP}, UNROLL: tl.constexpr", "BLOCK + tl.arange(0, BLOCK)",
         "(BLOCK * UNROLL) + tl.arange(0, BLOCK * UNROLL)", UNROLL=(1, 2, 4)),
    edit("scale: alignment by hand", o.SCALE, "x * factor", "(x.to(tl.float32) * factor).to(y_ptr.dtype.element_ty)"),
    edit("scale: grid stride", o.SCALE, "    x = tl.load", "    step = tl.num_programs(0) * BLOCK\n    x = tl.load"),
    edit("scale: while loop", o.SCALE, "offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n",
         "first = tl.program_id(0) * BLOCK\n    while first < n:\n        first += n\n"
         "    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"),
    ("softmax: rows", o.SOFTMAX, ROWS, {"ROWS": (1, 2, 4)}),
    ("softmax: online", o.SOFTMAX, ONLINE, {"TILE": (1024, 2048)}),
    ("softmax: reduced pair", o.SOFTMAX, PAIR, {}),
    ("softmax: block pointers", o.SOFTMAX, BLOCKED, {}),
    ("softmax: several rows a program", o.SOFTMAX, PERSISTENT, {"PER": (2, 4)}),
    edit("softmax: exp2", o.SOFTMAX, "tl.exp(x - tl.max(x, axis=0))",
         "tl.math.exp2((x - tl.max(x, axis=0)) * 1.4426950408889634)"),
    edit("softmax: one division", o.SOFTMAX, "e / tl.sum(e, axis=0)", "e * (1.0 / tl.sum(e, axis=0))"),
    edit("softmax: hints", o.SOFTMAX, "mask=columns < n, other", "mask=columns < n, eviction_policy='evict_first', other"),
    edit("softmax: a mode by a constant", o.SOFTMAX, "mask=columns < n, other", "mask=columns < n, eviction_policy=KEEP, other",
         "    x = tl.load", "    KEEP: tl.constexpr = 'evict_last' if BLOCK < 2048 else 'evict_first'\n    x = tl.load"),
    edit("softmax: power of two", o.SOFTMAX, "e = tl.exp(", "half = 2 ** 4\n    e = tl.exp("),
    ("rms_norm: rows, weight loaded once", o.RMS_NORM, NORM_ROWS, {"ROWS": (2, 8)}),
    edit("rms_norm: fused scale", o.RMS_NORM, "x * (offset + w)", "tl.fma(x, w, x * offset)"),
    edit("rms_norm: asserted", o.RMS_NORM, "    mask = cols", "    tl.static_assert(BLOCK % 32 == 0, 'too small')\n    mask = cols"),
    ("layer_norm backward: one function", o.LAYER_NORM, WIDE_NORM, {}),
    edit("layer_norm backward: software pipelining", o.LAYER_NORM, "range(start, end)",
         "tl.range(start, end, num_stages=2, disallow_acc_multi_buffer=True)"),
    edit("layer_norm backward: reduced together", o.LAYER_NORM, "c1 = tl.sum(x_hat * wdy, axis=0) / n_cols\n",
         "both = tl.join(x_hat * wdy, wdy)\n        c1, c3 = tl.split(tl.sum(both, axis=0))\n        c1 = c1 / n_cols\n"),
    ("geglu: tiles, sigmoid for tanh", o.GEGLU, SIGMOID_GELU, {"TILE": (1024, 2048), "TILES": (6, 11)}),
    ("geglu: columns in the grid", o.GEGLU, COLUMNS, {"TILE": (512, 1024)}),
    edit("geglu: fast tanh", o.GEGLU, "tanh(", "libdevice.fast_tanhf("),
    edit("matmul: swizzled order", o.MATMUL, "    offs_k = tl.arange",
         "    pid_m, pid_n = tl.swizzle2d(pid_m, pid_n, num_m, num_n, GROUP_M)\n    offs_k = tl.arange"),
    ("matmul: descriptors", o.MATMUL, DESCRIBED, {}),
    edit("matmul: tf32 and stages", o.MATMUL, "range(0, tl.cdiv(K, BLOCK_K))", "tl.range(tl.cdiv(K, BLOCK_K), num_stages=4)",
         "tl.dot(a, b, acc)", "tl.dot(a, b, acc, input_precision='tf32', out_dtype=tl.float32)"),
    edit("matmul: epilogue in halves", o.MATMUL, "    acc = _activate(acc, ACT)",
         "    low, high = _halves(acc)\n    acc = tl.where(tl.max(low) > tl.max(high), acc, acc)\n"
         "    acc = _activate(acc, ACT)", before=EPILOGUE),
    edit("matmul: own activation", o.MATMUL, before="""
@triton.jit
def _activate(x, kind: tl.constexpr):
    return tl.where(x > 0, x, 0.01 * x) if kind == "leaky" else tl.maximum(x, 0)
"""),
    edit("matmul: even K", o.MATMUL, ", mask=offs_k[None, :] < K - k * BLOCK_K, other=0.0", "",
         ", mask=offs_k[:, None] < K - k * BLOCK_K, other=0.0", ""),
    ("attention: a step apart", o.ATTENTION, STEP_APART, {}),
    edit("attention: scale before the loop", o.ATTENTION, "    m_i = tl.zeros",
         "    q = (q * (sm_scale * LOG2E)).to(q.dtype)\n    m_i = tl.zeros", "* (sm_scale * LOG2E)\n", "\n"),
    edit("attention: transposed load", o.ATTENTION, "k = tl.load(K + base + (n + offs_n)[None, :] * HEAD + offs_d[:, None])",
         "k = tl.trans(tl.load(K + base + (n + offs_n)[:, None] * HEAD + offs_d[None, :]))"),
    edit("cross_entropy: one pass fewer", o.CROSS_ENTROPY, "    tl.debug_barrier()\n", "", "for i in range(0, n_cols, BLOCK)",
         "for i in tl.range(0, n_cols, BLOCK, num_stages=2)"),
    edit("cross_entropy: log-sum-exp", o.CROSS_ENTROPY, "tl.exp(x - m) / d", "tl.exp(x - (m + tl.log(d)))"),
    edit("cross_entropy: column state", o.CROSS_ENTROPY, "tl.maximum(m, tl.max(x))", "tl.maximum(m, tl.max(x, axis=0))",
         "        m = m_new\n", "        max = m_new\n        m = max\n"),
    edit("jsd: fewer special functions", o.JSD, "tl.exp(x)", "tl.exp2(x * 1.4426950408889634)",
         "tl.log(m)", "tl.log2(m) * 0.6931471805599453"),
    edit("jsd: shared products", o.JSD, "        q = tl.exp(x)", "        rest = 1 - beta\n        q = tl.exp(x)"),
]  # fmt: skip
