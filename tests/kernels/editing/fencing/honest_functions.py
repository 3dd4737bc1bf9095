# ruff: noqa: E501
"""Device functions as engineers write them, over what the language has: the fence takes them, and they compile.

Each is (name, statements that make `y` of `x`, device functions before the kernel, new meta-parameters)."""

import triton
import triton.language as tl


@triton.jit
def made(x_ptr, h_ptr, i_ptr, o_ptr, n, m, seed, B: tl.constexpr):
    pid = tl.program_id(0)
    offs = pid * B + tl.arange(0, B)
    offs = tl.max_contiguous(tl.multiple_of(offs, B), B)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0.0)
    tl.store(o_ptr + offs, x, mask=offs < n)


def source_of(statements, before, meta):
    new = "".join(f", {name}: tl.constexpr" for name in meta)
    lines = "".join(f"    {line}\n" for line in statements.split("\n"))
    return f"""{before}


def made(x_ptr, h_ptr, i_ptr, o_ptr, n, m, seed, B: tl.constexpr{new}):
    pid = tl.program_id(0)
    offs = pid * B + tl.arange(0, B)
    x = tl.load(x_ptr + offs, mask=offs < n, other=0.0)
{lines}    tl.store(o_ptr + offs, y, mask=offs < n)
"""


FUNCTIONS = [
    ("softmax rows 2d", """\
X = tl.load(x_ptr + tl.arange(0, 16)[:, None] * m + tl.arange(0, 64)[None, :])
X = X - tl.max(X, axis=1)[:, None]
num = tl.exp(X)
out = num / tl.sum(num, axis=1, keep_dims=True)
y = x + tl.sum(tl.sum(out, 0), 0)""", "", {}),
    ("welford", """\
w = tl.full((B,), 1.0, tl.float32)
mean, m2, weight = tl.reduce((x, tl.zeros_like(x), w), 0, welford)
var = m2 / weight
y = (x - mean) * tl.rsqrt(var + 1e-5)""", """
@triton.jit
def welford(mean_1, m2_1, w_1, mean_2, m2_2, w_2):
    delta = mean_2 - mean_1
    new = w_1 + w_2
    ratio = tl.where(new == 0.0, 0.0, w_2 / new)
    return mean_1 + delta * ratio, m2_1 + m2_2 + delta * delta * w_1 * ratio, new
""", {}),
    ("scan gated", """\
g = tl.sigmoid(x)
a, y = tl.associative_scan((g, x), 0, gated)""", """
@triton.jit
def gated(a1, b1, a2, b2):
    return a1 * a2, b1 * a2 + b2
""", {}),
    ("scan reverse max", """\
y = tl.associative_scan(x, 0, biggest, reverse=True)""", """
def biggest(a, b):
    return tl.maximum(a, b)
""", {}),
    ("dot acc tf32", """\
r = tl.arange(0, 16)
c = tl.arange(0, 32)
a = tl.load(x_ptr + r[:, None] * 32 + c[None, :])
b = tl.load(x_ptr + c[:, None] * 16 + r[None, :])
acc = tl.zeros((16, 16), dtype=tl.float32)
acc = tl.dot(a, b, acc=acc, input_precision="tf32x3", out_dtype=tl.float32)
acc += tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
acc = tl.dot(a, b, acc, input_precision="ieee", max_num_imprecise_acc=0)
y = x + tl.sum(acc.reshape(256), axis=0)""", "", {}),
    ("descriptors", """\
d = tl.make_tensor_descriptor(x_ptr, shape=[m, m], strides=[m, 1], block_shape=[16, 16], padding_option="zero")
t = d.load([0, 16])
u = tl.load_tensor_descriptor(d, [16, 0])
q = tl.dot(t, t.T) + tl.trans(u) + u.trans(1, 0) + tl.trans(u, 1, 0) + tl.permute(u, 1, 0) + tl.permute(u, (1, 0))
y = x + tl.sum(q.reshape([256]))
o = tl.make_tensor_descriptor(o_ptr, shape=[m, m], strides=[m, 1], block_shape=[16, 16])
o.store([32, 32], q.to(o.dtype))
tl.store_tensor_descriptor(o, [48, 32], q)""", "", {}),
    ("sort gather histogram", """\
s = tl.sort(x, descending=True)
idx = tl.arange(0, B) ^ 1
g = tl.gather(s, idx, axis=0)
h = tl.histogram(tl.load(i_ptr + offs, mask=offs < n, other=0), 64)
y = g + tl.sum(h).to(tl.float32)
top = tl.topk(x, 8)
y += tl.max(top, axis=0)
y = tl.flip(y)""", "", {}),
    ("join split interleave", """\
j = tl.join(x, -x)
a, b = tl.split(j)
i = tl.interleave(a, b)
lo, hi = i.reshape(B, 2).split()
c = tl.cat(lo, hi, can_reorder=False)
y = lo - hi + tl.sum(c)""", "", {}),
    ("atomics", """\
old = tl.atomic_add(o_ptr + offs, x, mask=offs < n, sem="relaxed", scope="cta")
tl.atomic_max(i_ptr + (offs % 64), 1, mask=offs < n, sem="acq_rel", scope="gpu")
tl.atomic_xchg(i_ptr + pid, 3)
tl.atomic_min(i_ptr + 1, 3)
tl.atomic_or(i_ptr + 1, 3)
tl.atomic_xor(i_ptr + 1, 3)
y = x + old""", "", {}),
    ("loop options", """\
acc = tl.zeros((B,), tl.float32)
for it in tl.range(0, m, 1, num_stages=3, loop_unroll_factor=2, flatten=False, disallow_acc_multi_buffer=True, warp_specialize=False, disable_licm=True):
    acc += tl.load(x_ptr + (it * 8 + offs) % n)
for it in tl.range(m, num_stages=2):
    acc += it
y = acc""", "", {}),
    ("philox", """\
r = tl.rand(seed, offs)
g = tl.randn(seed, offs)
i = tl.randint(seed, offs)
a, b, c, d = tl.randint4x(seed, offs)
p, q, s, t = tl.rand4x(seed, offs, n_rounds=7)
u0, u1, u2, u3 = tl.philox(seed, offs, offs * 0, offs * 0, offs * 0)
y = tl.where(r > 0.5, x / (1 - 0.5), 0.0) + g * 0 + p + i.to(tl.float32) * 0 + tl.uint_to_uniform_float(u0)""", "", {}),
    ("while binary search", """\
low = 0
high = n
while low < high:
    mid = (low + high) // 2
    v = tl.load(i_ptr + mid % 64)
    if v < pid:
        low = mid + 1
    else:
        high = mid
y = x + low""", "", {}),
    ("nested helpers tuples", """\
lo, hi = bounds(pid, m, 4)
t = pair(x, lo, hi)
y = t[0] * 2 + t[1]
z, (w, v) = x, (lo, hi)
y += z * w + v""", """
@triton.jit
def clip(v, low, high):
    return tl.minimum(tl.maximum(v, low), high)


@triton.jit
def bounds(pid, m, PARTS: tl.constexpr = 2):
    per = tl.cdiv(m, PARTS)
    start = (pid % PARTS) * per
    return start, min(start + per, m)


@triton.jit
def pair(x, lo, hi):
    return (clip(x, -1.0, 1.0), x * (hi - lo))
""", {}),
    ("early return", """\
if pid * B >= n:
    return
if seed < 0:
    tl.store(o_ptr + offs, 0.0, mask=offs < n)
    return
y = x""", "", {}),
    ("static range constexpr", """\
HALF: tl.constexpr = B // 2
STEPS: tl.constexpr = 4 if B >= 128 else 2
MASK: tl.constexpr = (1 << 5) - 1
y = x
for i in tl.static_range(STEPS):
    if i % 2 == 0:
        y = y + i * HALF
    else:
        y = y - (i & MASK)
for i in tl.static_range(0, STEPS * 2, 2):
    y += i""", "", {}),
    ("bf16 fp8 bitcast", """\
b = x.to(tl.bfloat16)
f = x.to(tl.float8e4nv)
g = x.to(tl.float8e5, fp_downcast_rounding="rtne")
h = tl.cast(x, tl.float16, fp_downcast_rounding="rtz")
u = x.to(tl.int32, bitcast=True)
s = (u >> 31) & 1
q = (u ^ (s << 31)).to(tl.float32, bitcast=True)
y = b.to(tl.float32) + f.to(tl.float32) + g.to(tl.float32) + h.to(tl.float32) + q + s""", "", {}),
    ("claims of owner", """\
offs = tl.max_contiguous(tl.multiple_of(offs, B), B)
y = tl.load(x_ptr + offs, mask=offs < n, other=0.0, eviction_policy="evict_last")""", "", {}),
    ("libdevice", """\
y = libdevice.tanh(x) + tl.math.exp2(x) + libdevice.erf(x) * 0.5 + libdevice.rsqrt(tl.abs(x) + 1) + libdevice.pow(tl.abs(x), 2.0) + libdevice.fast_expf(x) + tl.extra.cuda.libdevice.log1p(tl.abs(x))
y += tl.math.fma(x, x, x) + tl.fma(x, x, x) + tl.math.rsqrt(tl.abs(x) + 1) + tl.erf(x) + tl.floor(x) + tl.ceil(x) + tl.fdiv(x, x + 10.0) + tl.div_rn(x, x + 10.0) + tl.sqrt_rn(tl.abs(x))
y = tl.clamp(y, -10.0, 10.0)""", "", {}),
    ("int8 dot and scale", """\
r = tl.arange(0, 32)
a = (tl.load(x_ptr + r[:, None] * 32 + r[None, :]) * 10).to(tl.int8)
acc = tl.dot(a, a, out_dtype=tl.int32)
y = x + tl.sum(tl.ravel(acc)).to(tl.float32) * 0.01""", "", {}),
    ("argmax online", """\
best = tl.full((), float("-inf"), tl.float32)
at = tl.full((), -1, tl.int32)
for s in range(0, n, B):
    c = s + tl.arange(0, B)
    v = tl.load(x_ptr + c, mask=c < n, other=float("-inf"))
    top, where = tl.max(v, axis=0, return_indices=True)
    better = top > best
    at = tl.where(better, s + where, at)
    best = tl.where(better, top, best)
y = x + best + at + tl.argmax(x, axis=0) + tl.argmin(x, 0)""", "", {}),
    ("grid tiles 2d", """\
num = tl.cdiv(m, 16)
pm = pid // num
pn = pid % num
pm, pn = tl.swizzle2d(pm, pn, num, num, 4)
rm = (pm * 16 + tl.arange(0, 16)).to(tl.int64)
rn = pn * 16 + tl.arange(0, 16)
p = x_ptr + (rm[:, None] * m + rn[None, :])
tile = tl.load(p, mask=(rm < m)[:, None] & (rn < m)[None, :], other=float("nan"))
tile = tl.where(tile != tile, 0.0, tile)
y = x + tl.sum(tl.sum(tile, axis=1), axis=0)""", "", {}),
    ("packed int4", """\
packed = tl.load(i_ptr + offs // 8, mask=offs < n, other=0)
shift = (offs % 8) * 4
q = (packed >> shift) & 0xF
y = (q - 8).to(tl.float32) * x
lo = (packed << 28) >> 28
y += lo.to(tl.float32)""", "", {}),
    ("cumsum ops", """\
c = tl.cumsum(x, axis=0)
p = tl.cumprod(tl.where(x > 0, 1.0, 0.5), axis=0, reverse=True)
y = c + p + tl.xor_sum(offs, axis=0) + x.sum(axis=0) + x.max() + x.min(axis=0) + tl.reduce_or(offs > 5, axis=0)""", "", {}),
    ("broadcast expand view", """\
e1 = tl.expand_dims(x, 0)
e2 = x[None, :, None]
b1 = tl.broadcast_to(e1, (4, B))
b2 = tl.broadcast_to(x[None, :], 4, B)
v = tl.reshape(b1, (B, 4))
r = tl.reshape(b2, B, 4)
l, rr = tl.broadcast(x[:, None], x[None, :])
y = tl.sum(v, 1) + tl.sum(r, axis=1) + tl.sum(l * rr, axis=1) + tl.sum(e2)""", "", {}),
    ("meta by text", """\
if KIND == "gelu":
    y = 0.5 * x * (1 + libdevice.erf(x * 0.7071067811865476))
elif KIND == "silu":
    y = x * tl.sigmoid(x)
else:
    tl.static_assert(KIND == "relu", "unknown")
    y = tl.maximum(x, 0)""", "", {"KIND": ("gelu", "silu", "relu")}),
    ("function by argument", """\
y = apply(double, x)""", """
@triton.jit
def double(v):
    return v * 2


@triton.jit
def apply(f, v):
    return f(v) + f(v * 0.5)
""", {}),
    ("dtype logic", """\
dtype = o_ptr.dtype.element_ty
hd = h_ptr.type.element_ty
hv = tl.load(h_ptr + offs, mask=offs < n, other=0.0)
if hd == tl.float16:
    hv = hv.to(tl.float32)
elif hv.dtype.is_bf16():
    hv = hv.to(tl.float32)
bits: tl.constexpr = hd.primitive_bitwidth
y = (hv * bits + x).to(dtype)""", "", {}),
    ("group accumulators", """\
acc = (tl.zeros((B,), tl.float32), tl.zeros((B,), tl.float32))
for s in range(0, n, 2 * B):
    a = tl.load(x_ptr + s + tl.arange(0, B), mask=s + tl.arange(0, B) < n, other=0.0)
    b = tl.load(x_ptr + s + B + tl.arange(0, B), mask=s + B + tl.arange(0, B) < n, other=0.0)
    acc = (acc[0] + a, acc[1] + b)
y = x + acc[0] + acc[1]""", "", {}),
    ("annotated args", """\
y = f(x, n)""", """
def f(x, n, K: tl.constexpr = 3, act: tl.constexpr = 'relu', eps=1e-6, neg=-1):
    return x * K + n + eps + neg if act == 'relu' else x
""", {}),
    ("chained bool", """\
ok = (offs < n) & ~(offs < 3) | (offs == 1)
z = x if n > 3 else x * 2
if n > 3 and m > 2 or not (seed == 0):
    z += 1
if not (n > 5):
    z -= 1
y = tl.where(ok, z, -z) % 7.0""", "", {}),
    ("dot scaled", """\
r = tl.arange(0, 128)
kk = tl.arange(0, 64)
a = tl.load(h_ptr + r[:, None] * 0 + kk[None, :]).to(tl.float8e5)
s = tl.full((128, 2), 127, tl.uint8)
acc = tl.dot_scaled(a, s, "e5m2", a.T, s, "e5m2")
y = x + tl.sum(tl.sum(acc, 0), 0)""", "", {}),
    ("pow and div", """\
y = x / 2**10 + (x * 2**-3) + 10 % 3 + 7 // 2 + (offs // 3) % 5""", "", {}),
    ("pass annotated int", """\
c: tl.constexpr = 3
y = x * c
pass""", "", {}),
    ("tensor loop carried pointer", """\
p = x_ptr + offs
o = o_ptr + offs
y = x
for _ in range(3):
    y += tl.load(p, mask=offs < n - 3, other=0)
    p += 1""", "", {}),
    # in the manner of Liger, FlagGems and flash-linear-attention
    ("running softmax in pairs", """\
m_i = -float("inf")
l_i = 0.0
for start in range(0, n, B):
    cols = start + tl.arange(0, B)
    v = tl.load(x_ptr + cols, mask=cols < n, other=-float("inf"))
    m_i, l_i = online(m_i, l_i, tl.max(v, 0), v)
y = tl.exp(x - m_i) / l_i""", "def online(m, l, top, v):\n    new = tl.maximum(m, top)\n    return new, l * tl.exp(m - new) + tl.sum(tl.exp(v - new), 0)", {}),
    ("z loss and softcap by flags", """\
z = x
if SOFTCAP:
    z = 30.0 * tl.extra.cuda.libdevice.tanh(z / 30.0)
lse = tl.log(tl.sum(tl.exp(z), 0))
y = z - lse if SMOOTH else z * 1.0
if SMOOTH:
    y += 1e-4 * lse * lse""", "", {"SOFTCAP": (True, False), "SMOOTH": (True, False)}),
    ("gated delta step of FLA", """\
b_h = tl.zeros([16, 16], dtype=tl.float32)
p_k = x_ptr + tl.arange(0, 16)
p_v = x_ptr + m + tl.arange(0, 16)
for _ in range(0, 8):
    b_k = tl.load(p_k).to(tl.float32)
    b_v = tl.load(p_v).to(tl.float32)
    b_h *= tl.exp(-tl.abs(b_k))[:, None]
    b_v -= tl.sum(b_h * b_k[:, None], 0)
    b_h += b_k[:, None] * b_v[None, :]
    p_k += 16
    p_v += 16
y = x + tl.sum(tl.sum(b_h, 1), 0)""", "", {}),
    ("power of two by next_power_of_2", """\
W: tl.constexpr = triton.next_power_of_2(B // 3)
c = tl.arange(0, W)
part = tl.load(x_ptr + c, mask=c < B // 3, other=0.0)
y = x + tl.sum(part, axis=0)""", "", {}),
    ("rope by halves", """\
half: tl.constexpr = B // 2
f = tl.arange(0, half)
a = tl.load(x_ptr + pid * B + f)
b = tl.load(x_ptr + pid * B + half + f)
c, s = tl.cos(a), tl.sin(a)
y = tl.reshape(tl.trans(tl.join(a * c - b * s, b * c + a * s)), [B])""", "", {}),
    ("mean and variance in one reduction", """\
w = tl.where(offs < n, 1.0, 0.0)
mean, m2, count = tl.reduce((x, tl.zeros_like(x), w), 0, merge)
y = (x - mean) * tl.rsqrt(m2 / count + 1e-5)""", "def merge(mean_a, m2_a, n_a, mean_b, m2_b, n_b):\n    count = n_a + n_b\n    delta = mean_b - mean_a\n    share = tl.where(count > 0, n_b / count, 0.0)\n    return mean_a + delta * share, m2_a + m2_b + delta * delta * n_a * share, count", {}),
    ("types by questions", """\
acc = x
if x.dtype.is_fp16() or x.dtype.is_bf16():
    acc = x.to(tl.float32)
wide: tl.constexpr = 4 if x.dtype.is_fp32() else 2
y = (acc * wide).to(o_ptr.dtype.element_ty)""", "", {}),
    ("log sum of segments by a scan", """\
flags = tl.where(offs % 16 == 0, 1, 0)
s, _ = tl.associative_scan((x, flags), 0, segment)
y = s""", "def segment(a, f, b, g):\n    return tl.where(g > 0, b, a + b), f | g", {}),
    ("tuples as accumulators in unrolled loops", """\
parts = (x, x * 0, x * 0)
for i in tl.static_range(3):
    parts = (parts[1] + x, parts[2] + x, parts[0])
y = parts[0] + parts[1] + parts[2]""", "", {}),
    ("tuple of pointers chosen by a constant", """\
ptrs = (x_ptr, x_ptr + n)
y = x
for i in tl.static_range(2):
    y += tl.load(ptrs[i] + offs, mask=offs < n, other=0.0)""", "", {}),
]  # fmt: skip
