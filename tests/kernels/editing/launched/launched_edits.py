# ruff: noqa: E501
"""Edits as engineers and language models write them, each launched against its kernel's own result.

(name, kernel, source or what makes it of the owner's, new meta-parameters, grid, tolerance); what is left out at the
end is none, the owner's grid, and 1e-5.
"""

from collections.abc import Callable


def rep(*pairs: str, before: str = "") -> Callable[[str], str]:
    """The owner's source with some texts replaced, and device functions before it."""

    def change(source: str) -> str:
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in source, f"{old!r} is not in the source"
            source = source.replace(old, new)
        return f"{before}\n\n{source}"

    return change


def add(text: str, before: str = "") -> Callable[[str], str]:
    """The vector addition with other lines that compute its result."""
    lines = "".join(f"    {line}\n" for line in text.split("\n"))
    return rep("    output = x + y\n", lines, before=before)


RS = "    for start in range(0, n_cols, BLOCK):\n"
EDITS: list[tuple] = [
 ("rowsum static_range with tail", "ROWSUM", """
@triton.jit
def rowsum(x_ptr, y_ptr, n_rows, n_cols, stride, BLOCK: tl.constexpr, UNROLL: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    step: tl.constexpr = BLOCK * UNROLL
    for start in tl.range(0, n_cols, step, num_stages=2):
        for u in tl.static_range(0, UNROLL, 1):
            cols = start + u * BLOCK + tl.arange(0, BLOCK)
            total += tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0).to(tl.float32)
    tl.store(y_ptr + row, tl.sum(total, axis=0))
""", {"UNROLL": (1, 2, 4)}),
 ("rowsum backwards static_range", "ROWSUM", rep(RS, "    for back in tl.static_range(5, -1, -1):\n        start = back * BLOCK\n")),
 ("rowsum backwards range", "ROWSUM", rep(RS, "    for start in range((tl.cdiv(n_cols, BLOCK) - 1) * BLOCK, -1, -BLOCK):\n")),
 ("rowsum while", "ROWSUM", rep(RS, "    start = 0\n    while start < n_cols:\n", "        total += x.to(tl.float32)\n", "        total += x.to(tl.float32)\n        start += BLOCK\n")),
 ("rowsum several rows 2d keepdims", "ROWSUM", """
def rowsum(x_ptr, y_ptr, n_rows, n_cols, stride, BLOCK: tl.constexpr, ROWS: tl.constexpr = 2):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    total = tl.zeros((ROWS, BLOCK), dtype=tl.float32)
    row_mask = rows < n_rows
    x_ptrs = x_ptr + rows[:, None] * stride
    for start in tl.range(0, n_cols, BLOCK, num_stages=3, flatten=False, warp_specialize=False, disallow_acc_multi_buffer=False):
        cols = (start + tl.arange(0, BLOCK))[None, :]
        x = tl.load(x_ptrs + cols, mask=row_mask[:, None] & (cols < n_cols), other=0.0, eviction_policy="evict_first")
        total = tl.add(total, x.to(tl.float32))
    out = tl.sum(total, axis=1, keep_dims=True)
    tl.store(y_ptr + rows[:, None], out, mask=row_mask[:, None])
""", {"ROWS": (2, 4)}, "cdiv(n_rows, ROWS)"),
 ("rowsum accumulate tuple", "ROWSUM", rep("    total = tl.zeros((BLOCK,), dtype=tl.float32)\n", "    shape: tl.constexpr = (BLOCK,)\n    acc = (tl.zeros(shape, tl.float32), tl.zeros(shape, tl.float32))\n",
   "        total += x.to(tl.float32)\n", "        odd = (start // BLOCK) % 2\n        acc = (acc[0] + tl.where(odd == 0, x, 0.0), acc[1] + tl.where(odd == 1, x, 0.0))\n", "tl.sum(total, axis=0)", "tl.sum(acc[0] + acc[1])")),
 ("rowsum tuple unpack pair", "ROWSUM", rep("        total += x.to(tl.float32)\n", "        total, x = total + x, None\n") ),
 ("rowsum constexpr if nested", "ROWSUM", rep(RS, "    EVEN: tl.constexpr = BLOCK % 64 == 0 and BLOCK >= 128\n" + RS, "        x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)\n",
   "        if EVEN:\n            if BLOCK == 128:\n                x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)\n            else:\n                x = tl.load(x_ptr + row * stride + cols, mask=(cols < n_cols), other=0)\n        else:\n            x = tl.load(x_ptr + row * stride + cols, cols < n_cols, 0.0)\n")),
 ("rowsum early return", "ROWSUM", rep("    total = tl.zeros", "    if row >= n_rows:\n        return\n    total = tl.zeros")),
 ("rowsum tree with reshape", "ROWSUM", rep("tl.sum(total, axis=0)", "tl.sum(tl.sum(tl.reshape(total, (BLOCK // 32, 32)), axis=1), axis=0)")),
 ("rowsum by helper with defaults", "ROWSUM", rep("        x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)\n", "        x = _masked(x_ptr + row * stride, cols, limit=n_cols)\n", before="""
@triton.jit
def _masked(base, cols, limit, other=0.0, hint: tl.constexpr = "evict_first"):
    return tl.load(base + cols, mask=cols < limit, other=other, eviction_policy=hint)
""")),
 ("rowsum reduce with own combine", "ROWSUM", rep("tl.sum(total, axis=0)", "tl.reduce(total, axis=0, combine_fn=_plus)", before="def _plus(a, b):\n    return a + b\n")),
 ("rowsum kahan", "ROWSUM", rep("    for start", "    lost = tl.zeros_like(total)\n    for start", "        total += x.to(tl.float32)\n", "        y = x.to(tl.float32) - lost\n        t = total + y\n        lost = (t - total) - y\n        total = t\n")),
 ("rowsum by dot", "ROWSUM", rep("tl.sum(total, axis=0)", "total.sum()")),
 ("rowsum methods", "ROWSUM", rep("tl.sum(total, axis=0)", "total.reshape((4, BLOCK // 4)).sum(axis=0).sum(axis=0)")),
 ("rowsum int64 offset", "ROWSUM", rep("row = tl.program_id(0)", "row = tl.cast(tl.program_id(0), tl.int64)")),
 ("rowsum descriptor", "ROWSUM", """
def rowsum(x_ptr, y_ptr, n_rows, n_cols, stride, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    desc = tl.make_tensor_descriptor(base=x_ptr, shape=[n_rows, n_cols], strides=[stride, 1], block_shape=[1, BLOCK])
    total = tl.zeros([BLOCK], dtype=desc.dtype)
    for start in tl.range(0, n_cols, BLOCK):
        total += desc.load([row, start]).reshape(BLOCK)
    tl.store(y_ptr + row, total.sum(axis=0))
""", {}),
 ("rowsum strided program loop", "ROWSUM", """
def rowsum(x_ptr, y_ptr, n_rows, n_cols, stride, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    for row in tl.range(tl.program_id(0), n_rows, tl.num_programs(0), flatten=True):
        total = tl.zeros((BLOCK,), dtype=tl.float32)
        for start in range(0, n_cols, BLOCK):
            cols = start + tl.arange(0, BLOCK)
            total += tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)
        tl.store(y_ptr + row, tl.sum(total, axis=0))
""", {"PROGRAMS": (2, 4)}, "min(PROGRAMS, n_rows)"),
 ("rowsum atomics over grid", "ROWSUM", """
def rowsum(x_ptr, y_ptr, n_rows, n_cols, stride, BLOCK: tl.constexpr):
    row, part = tl.program_id(0), tl.program_id(1)
    cols = part * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)
    tl.atomic_add(y_ptr + row, tl.sum(x, axis=0), sem="relaxed", scope="gpu")
""", {}, "grid_0, cdiv(n_cols, BLOCK)"),
 ("add wide", "ADD", rep("BLOCK_SIZE: tl.constexpr", "BLOCK_SIZE: tl.constexpr, WIDE: tl.constexpr", "pid * BLOCK_SIZE", "pid * (BLOCK_SIZE * WIDE)", "tl.arange(0, BLOCK_SIZE)", "tl.arange(0, BLOCK_SIZE * WIDE)"), {"WIDE": (2, 4)}, "cdiv(n_elements, BLOCK_SIZE * WIDE)"),
 ("add keyword everywhere", "ADD", """
@triton.jit
def add_kernel(x_ptr, y_ptr, output_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    pid = tl.program_id(axis=0)
    offsets = pid * BLOCK_SIZE + tl.arange(start=0, end=BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(pointer=x_ptr + offsets, mask=mask, other=None, cache_modifier=".cg", eviction_policy="", volatile=False)
    y = tl.load(y_ptr + offsets, mask=mask, cache_modifier=".cg")
    tl.store(pointer=output_ptr + offsets, value=x + y, mask=mask, cache_modifier=".cs")
""", {}),
 ("add augmented", "ADD", rep("    output = x + y\n", "    output = x\n    output += y\n", "    x = tl.load(x_ptr + offsets", "    x_ptr += offsets\n    x = tl.load(x_ptr")),
 ("add interior without mask", "ADD", rep("    x = tl.load(x_ptr + offsets, mask=mask)\n    y = tl.load(y_ptr + offsets, mask=mask)\n    output = x + y\n    tl.store(output_ptr + offsets, output, mask=mask)\n",
   "    if block_start + BLOCK_SIZE <= n_elements:\n        tl.store(output_ptr + offsets, tl.load(x_ptr + offsets) + tl.load(y_ptr + offsets))\n    else:\n        x = tl.load(x_ptr + offsets, mask=mask)\n        y = tl.load(y_ptr + offsets, mask=mask)\n        tl.store(output_ptr + offsets, x + y, mask=mask)\n")),
 ("add unsigned and bitcast", "ADD", rep("    output = x + y\n", "    bits = x.to(tl.uint32, bitcast=True)\n    x = tl.cast(bits, tl.float32, bitcast=True)\n    output = x + y\n")),
 ("add via fma", "ADD", rep("output = x + y", "output = tl.fma(x, 1.0, y)")),
 ("add 2d view", "ADD", rep("tl.arange(0, BLOCK_SIZE)", "(tl.arange(0, BLOCK_SIZE // 8)[:, None] * 8 + tl.arange(0, 8)[None, :])")),
 ("add join split", "ADD", rep("    output = x + y\n", "    both = tl.join(x, y)\n    a, b = both.split()\n    output = tl.sum(both, axis=-1) * 0.5 + (a + b) * 0.5\n")),
 ("add clamp interior", "ADD", rep("    output = x + y\n", "    top = tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)\n    output = top + tl.minimum(x, y)\n")),
 ("matmul dot kwargs", "MATMUL", rep("tl.dot(a, b, accumulator)", "tl.dot(a, b, acc=accumulator, input_precision=\"ieee\", max_num_imprecise_acc=None, out_dtype=tl.float32)")),
 ("matmul pointer recompute", "MATMUL", rep("        a_ptrs += BLOCK_SIZE_K * stride_ak\n        b_ptrs += BLOCK_SIZE_K * stride_bk\n", "", "        a = tl.load(a_ptrs,", "        kk = k * BLOCK_SIZE_K\n        a = tl.load(a_ptrs + kk * stride_ak,", "tl.load(b_ptrs,", "tl.load(b_ptrs + kk * stride_bk,")),
 ("matmul descriptors persistent", "MATMUL", """
@triton.jit
def leaky_relu(x):
    return tl.where(x >= 0, x, 0.01 * x)


@triton.jit
def matmul_kernel(
        a_ptr, b_ptr, c_ptr, M, N, K, stride_am, stride_ak, stride_bk, stride_bn, stride_cm, stride_cn,
        BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr, BLOCK_SIZE_K: tl.constexpr,
        GROUP_SIZE_M: tl.constexpr, ACTIVATION: tl.constexpr, NUM_SMS: tl.constexpr, FLATTEN: tl.constexpr):
    dtype = c_ptr.dtype.element_ty
    start_pid = tl.program_id(axis=0)
    num_pid_m = tl.cdiv(M, BLOCK_SIZE_M)
    num_pid_n = tl.cdiv(N, BLOCK_SIZE_N)
    k_tiles = tl.cdiv(K, BLOCK_SIZE_K)
    num_tiles = num_pid_m * num_pid_n
    a_desc = tl.make_tensor_descriptor(a_ptr, shape=[M, K], strides=[K, 1], block_shape=[BLOCK_SIZE_M, BLOCK_SIZE_K])
    b_desc = tl.make_tensor_descriptor(b_ptr, shape=[K, N], strides=[N, 1], block_shape=[BLOCK_SIZE_K, BLOCK_SIZE_N])
    c_desc = tl.make_tensor_descriptor(c_ptr, shape=[M, N], strides=[N, 1], block_shape=[BLOCK_SIZE_M, BLOCK_SIZE_N])
    num_pid_in_group = GROUP_SIZE_M * num_pid_n
    for tile_id in tl.range(start_pid, num_tiles, NUM_SMS, flatten=FLATTEN):
        group_id = tile_id // num_pid_in_group
        first_pid_m = group_id * GROUP_SIZE_M
        group_size_m = min(num_pid_m - first_pid_m, GROUP_SIZE_M)
        pid_m = first_pid_m + ((tile_id % num_pid_in_group) % group_size_m)
        pid_n = (tile_id % num_pid_in_group) // group_size_m
        offs_am = pid_m * BLOCK_SIZE_M
        offs_bn = pid_n * BLOCK_SIZE_N
        accumulator = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
        for ki in range(k_tiles):
            offs_k = ki * BLOCK_SIZE_K
            a = a_desc.load([offs_am, offs_k])
            b = b_desc.load([offs_k, offs_bn])
            accumulator = tl.dot(a, b, accumulator)
        if ACTIVATION == "leaky_relu":
            accumulator = leaky_relu(accumulator)
        c_desc.store([offs_am, offs_bn], accumulator.to(dtype))
""", {"NUM_SMS": (4, 132), "FLATTEN": (True, False)}, "min(NUM_SMS, cdiv(M, BLOCK_SIZE_M) * cdiv(N, BLOCK_SIZE_N))", 1e-3),
 ("matmul subtiled epilogue", "MATMUL", rep("    c = accumulator.to(tl.float16)\n", "    acc = tl.reshape(accumulator, (BLOCK_SIZE_M, 2, BLOCK_SIZE_N // 2))\n    acc = tl.permute(acc, (0, 2, 1))\n    acc0, acc1 = tl.split(acc)\n    accumulator = tl.reshape(tl.permute(tl.join(acc0, acc1), (0, 2, 1)), (BLOCK_SIZE_M, BLOCK_SIZE_N))\n    c = accumulator.to(c_ptr.dtype.element_ty)\n")),
 ("matmul even k constexpr", "MATMUL", rep("ACTIVATION: tl.constexpr", "ACTIVATION: tl.constexpr, EVEN_K: tl.constexpr = 1", "        a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_SIZE_K, other=0.0)\n        b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_SIZE_K, other=0.0)\n", "        if EVEN_K:\n            a = tl.load(a_ptrs)\n            b = tl.load(b_ptrs)\n        else:\n            a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_SIZE_K, other=0.0)\n            b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_SIZE_K, other=0.0)\n"), {"EVEN_K": (1,)}),
 ("matmul k split by halves ifexp", "MATMUL", rep("accumulator = leaky_relu(accumulator)", "accumulator = accumulator * tl.where(accumulator >= 0, 1.0, 0.01) if BLOCK_SIZE_N > 16 else leaky_relu(x=accumulator)")),
 ("dropout four at once", "DROPOUT", rep("random = tl.rand(seed, offsets)", "random = tl.rand(seed=seed, offset=offsets, n_rounds=10)")),
 ("dropout randint", "DROPOUT", rep("    random = tl.rand(seed, offsets)\n", "    bits = tl.randint(seed, offsets)\n    random = tl.uint_to_uniform_float(bits)\n")),
 ("argmax indices", "ARGMAX", rep("        top = tl.max(x, axis=0)\n        where = tl.argmax(x, axis=0)\n", "        top, where = tl.max(x, axis=0, return_indices=True, return_indices_tie_break_left=True)\n")),
 ("argmax by reduce pair", "ARGMAX", rep("        top = tl.max(x, axis=0)\n        where = tl.argmax(x, axis=0)\n", "        top, where = tl.reduce((x, tl.arange(0, BLOCK)), 0, _better)\n", before="""
@triton.jit
def _better(value1, index1, value2, index2):
    gt = value1 > value2
    tie = value1 == value2
    keep = gt | (tie & (index1 < index2))
    return tl.where(keep, value1, value2), tl.where(keep, index1, index2)
""")),
 ("argmax minus min", "ARGMAX", rep("tl.argmax(x, axis=0)", "tl.argmin(-x, axis=0, tie_break_left=True)", "tl.max(x, axis=0)", "x.max(axis=0)")),
 ("scan associative", "SCAN", """
@triton.jit
def first_order(g1, x1, g2, x2):
    return g1 * g2, g2 * x1 + x2


@triton.jit
def linear_scan(x_ptr, g_ptr, y_ptr, T, D, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr):
    d = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    h = tl.zeros((1, BLOCK_D), dtype=tl.float32)
    for t0 in range(0, T, BLOCK_T):
        t = t0 + tl.arange(0, BLOCK_T)[:, None]
        inside = (t < T) & (d < D)
        at = t * D + d
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + at, mask=inside, other=1.0).to(tl.float32)
        gs, hs = tl.associative_scan((g, x), 0, first_order, reverse=False)
        hs += gs * h
        tl.store(y_ptr + at, hs, mask=inside)
        last = tl.arange(0, BLOCK_T)[:, None] == BLOCK_T - 1
        h = tl.sum(tl.where(last, hs, 0.0), axis=0, keep_dims=True)
""", {}),
 ("scan prefetch", "SCAN", """
def linear_scan(x_ptr, g_ptr, y_ptr, T, D, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, STAGES: tl.constexpr):
    d = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = d < D
    h = tl.zeros((BLOCK_D,), dtype=tl.float32)
    x_ptrs, g_ptrs, y_ptrs = x_ptr + d, g_ptr + d, y_ptr + d
    for _ in tl.range(T, num_stages=STAGES):
        h = tl.load(g_ptrs, inside, 0.0) * h + tl.load(x_ptrs, inside, 0.0)
        tl.store(y_ptrs, h, mask=inside)
        x_ptrs, g_ptrs, y_ptrs = x_ptrs + D, g_ptrs + D, y_ptrs + D
""", {"STAGES": (1, 2, 3)}),
 ("unpack words", "UNPACK", """
@triton.jit
def unpack4(packed_ptr, scale_ptr, out_ptr, n, BLOCK: tl.constexpr):
    NIBBLES: tl.constexpr = 32 // 4
    words = tl.program_id(0) * (BLOCK // NIBBLES) + tl.arange(0, BLOCK // NIBBLES)
    word = tl.load(packed_ptr + words, mask=words * NIBBLES < n, other=0)
    shifts = tl.arange(0, NIBBLES) * 4
    v = (word[:, None] >> shifts[None, :]) & 0xF
    offs = words[:, None] * NIBBLES + tl.arange(0, NIBBLES)[None, :]
    s = tl.load(scale_ptr + offs // 32, mask=offs < n, other=0.0)
    tl.store(out_ptr + offs, (v - (1 << 3)).to(tl.float32) * s, mask=offs < n)
""", {}),
 ("unpack interleave", "UNPACK", """
def unpack4(packed_ptr, scale_ptr, out_ptr, n, BLOCK: tl.constexpr):
    bytes_at = tl.program_id(0) * (BLOCK // 2) + tl.arange(0, BLOCK // 2)
    word = tl.load(packed_ptr + bytes_at // 4, mask=bytes_at * 2 < n, other=0)
    byte = (word >> ((bytes_at & 3) << 3)) & 255
    v = tl.interleave(byte & 15, (byte >> 4) & 15)
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    s = tl.load(scale_ptr + (offs >> 5), mask=offs < n, other=0.0)
    tl.store(out_ptr + offs, (v - 8) * s, mask=offs < n)
""", {}),
 ("transpose in registers", "TRANSPOSE", rep("    tl.store(y_ptr + n[None, :] * M + m[:, None], x, mask=mask)\n", "    tl.store(y_ptr + n[:, None] * M + m[None, :], tl.trans(x, 1, 0), mask=tl.trans(mask))\n")),
 ("transpose T", "TRANSPOSE", rep("    tl.store(y_ptr + n[None, :] * M + m[:, None], x, mask=mask)\n", "    tl.store(y_ptr + n[:, None] * M + m[None, :], x.T, mask=mask.T)\n")),
 ("transpose swizzled", "TRANSPOSE", rep("    m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)\n",
  "    pid_m, pid_n = tl.swizzle2d(tl.program_id(0), tl.program_id(1), tl.num_programs(0), tl.num_programs(1), GROUP)\n    m = pid_m * BLOCK + tl.arange(0, BLOCK)\n    n = pid_n * BLOCK + tl.arange(0, BLOCK)\n", "BLOCK: tl.constexpr", "BLOCK: tl.constexpr, GROUP: tl.constexpr"), {"GROUP": (2, 3)}),
 ("rotary both halves", "ROTARY", """
@triton.jit
def rotary(x_ptr, cos_ptr, sin_ptr, y_ptr, D: tl.constexpr, HALF: tl.constexpr, INTERLEAVED: tl.constexpr = False):
    row = tl.program_id(0)
    half = tl.arange(0, HALF)
    c = tl.load(cos_ptr + row * HALF + half)
    s = tl.load(sin_ptr + row * HALF + half)
    step: tl.constexpr = 2 if INTERLEAVED else 1
    gap: tl.constexpr = 1 if INTERLEAVED else HALF
    a = tl.load(x_ptr + row * D + step * half)
    b = tl.load(x_ptr + row * D + step * half + gap)
    tl.store(y_ptr + row * D + step * half, a * c - b * s)
    tl.store(y_ptr + row * D + step * half + gap, a * s + b * c)
""", {}),
 ("rotary not interleaved assert", "ROTARY", rep("    half = tl.arange(0, HALF)\n", "    tl.static_assert(D == 2 * HALF)\n    tl.static_assert(not INTERLEAVED or HALF > 0, \"the two halves\")\n    half = tl.arange(0, HALF)\n")),
 ("histo by tl.histogram", "HISTO", """
def histo(x_ptr, out_ptr, n, BINS: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    bins = tl.zeros([BINS], dtype=tl.int32)
    for i in range(0, n, BLOCK):
        m = i + offs < n
        x = tl.load(x_ptr + i + offs, mask=m, other=0)
        bins += tl.histogram(x, BINS, mask=m)
    tl.store(out_ptr + tl.arange(0, BINS), bins)
""", {}),
 ("histo by count of matches", "HISTO", rep("bins += tl.sum((x[:, None] == tl.arange(0, BINS)[None, :]).to(tl.int32), axis=0)", "hit = tl.expand_dims(x, 1) == tl.broadcast_to(tl.arange(0, BINS)[None, :], (BLOCK, BINS))\n        bins += tl.where(hit, 1, 0).sum(0)")),
 ("float of a constant", "ADD", add("output = (x + y) * (float(BLOCK_SIZE) / BLOCK_SIZE)")),
 ("tuple that grows", "ADD", add("parts = ()\nfor i in tl.static_range(2):\n    parts += (x * i, y * i)\noutput = parts[2] + parts[3]")),
 ("tuples joined", "ADD", add("parts = (x,) + (y,)\noutput = parts[0] + parts[1]")),
 ("tuple that counts", "ADD", add("state = (0, x)\nfor i in range(3):\n    state = (state[0] + 1, state[1] + y * (state[0] == 1))\noutput = state[1]")),
 ("next power", "ADD", add("W: tl.constexpr = triton.next_power_of_2(BLOCK_SIZE - 1)\ntl.static_assert(W == BLOCK_SIZE)\noutput = x + y")),
 ("tuple helper", "ADD", add("x, y = pair((x, y))\noutput = x + y", before="@triton.jit\ndef pair(t):\n    a, b = t\n    return b, a\n")),
 ("tuple static index", "ADD", add("parts = (x, y)\noutput = tl.zeros_like(x)\nfor i in tl.static_range(2):\n    output += parts[i]")),
 ("tuple negative index", "ADD", add("parts = (x, y)\noutput = parts[-1] + parts[-2]")),
 ("min of three", "ADD", add("m = min(n_elements, BLOCK_SIZE, 7)\noutput = tl.where(m > 0, x + y, 0.0)")),
 ("constexpr from dtype", "ADD", add("WIDE: tl.constexpr = x_ptr.dtype.element_ty.primitive_bitwidth // 8\noutput = (x + y) * (WIDE // 4)")),
 ("dtype test", "ADD", add("if x_ptr.dtype.element_ty == tl.float32:\n    output = x + y\nelse:\n    output = (x.to(tl.float32) + y.to(tl.float32)).to(output_ptr.dtype.element_ty)")),
 ("is_floating", "ADD", add("if x.dtype.is_floating():\n    output = x + y\nelse:\n    output = y + x")),
 ("ternary dtype", "ADD", add("T: tl.constexpr = tl.float32 if BLOCK_SIZE > 16 else tl.float64\noutput = (x.to(T) + y.to(T)).to(tl.float32)")),
 ("three dims", "ADD", add("x3 = x.reshape(BLOCK_SIZE // 16, 4, 4)\ny3 = tl.reshape(y, [BLOCK_SIZE // 16, 4, 4])\noutput = (x3 + y3).reshape(BLOCK_SIZE)")),
 ("none none", "ADD", add("z = x[:, None] + tl.zeros((1, 2), tl.float32)\noutput = tl.sum(z, axis=1) * 0.5 + y")),
 ("nested where", "ADD", add("output = tl.where(x > 0, tl.where(y > 0, x + y, y + x), tl.where(y == 0, x, x + y))")),
 ("abs neg", "ADD", add("output = -(-x - y) + tl.abs(x) - tl.abs(x)"), {}, "", 1e-4),
 ("bool ops", "ADD", add("big = (x > 1) | (y > 1)\nsmall = ~big & (x == x)\noutput = tl.where(small ^ big, x + y, 0.0)")),
 ("if scalar any", "ADD", add("if tl.sum((x > 0).to(tl.int32)) > 0:\n    output = x + y\nelse:\n    output = y + x")),
 ("while counter", "ADD", add("k = 0\noutput = x\nwhile k < 3:\n    output += y * (1.0 if BLOCK_SIZE > 0 else 2.0) / 3.0\n    k += 1"), {}, "", 1e-4),
 ("for over tl.range unroll", "ADD", add("output = x\nfor k in tl.range(4, loop_unroll_factor=4):\n    output += y * 0.25"), {}, "", 1e-4),
 ("helper chain", "ADD", add("output = outer(x, y, SCALE=1)", before="@triton.jit\ndef inner(a, b, k=1.0):\n    return a + b * k\n\n@triton.jit\ndef outer(a, b, SCALE: tl.constexpr = 2, bias=0.0):\n    c = inner(a, b, k=1.0 * SCALE)\n    if SCALE == 1:\n        return c + bias\n    else:\n        return c\n")),
 ("void helper", "ADD", add("put(output_ptr, offsets, x + y, mask)\noutput = x + y", before="@triton.jit\ndef put(p, o, v, m):\n    tl.store(p + o, v, mask=m)\n")),
 ("libdevice", "ADD", add("output = libdevice.add_rn(x, y)")),
 ("libdevice pow", "ADD", add("output = x + y + libdevice.pow(x, 2.0) - x * x"), {}, "", 1e-4),
 ("math module", "ADD", add("output = tl.math.fma(x, 1.0, y) + tl.math.log2(tl.math.exp2(x)) - x"), {}, "", 1e-3),
 ("log softmax like", "ADD", add("output = tl.log(tl.exp(x + y))"), {}, "", 1e-3),
 ("sort", "ADD", add("s = tl.sort(x, descending=True)\noutput = x + y + (tl.max(s) - tl.max(tl.where(mask, x, x))) * 0.0")),
 ("cumsum reverse", "ADD", add("c = tl.cumsum(x, 0, reverse=True)\noutput = x + y + c * 0.0")),
 ("gather", "ADD", add("i = (BLOCK_SIZE - 1) - tl.arange(0, BLOCK_SIZE)\nxr = tl.gather(x, i, axis=0)\noutput = tl.flip(xr, 0) + y")),
 ("xor_sum", "ADD", add("z = tl.xor_sum(x.to(tl.int32, bitcast=True), axis=0)\noutput = x + y + (z - z).to(tl.float32)")),
 ("cat", "ADD", add("output = tl.interleave(x, y)\noutput = x + y")),
 ("int arithmetic", "ADD", add("k = (offsets // 3) * 3 + offsets % 3\noutput = tl.load(x_ptr + k, mask=mask) + y")),
 ("uint8 shifts", "ADD", add("b = (offsets & 0xFF).to(tl.uint8)\noutput = x + y + ((b >> 4) - (b // 16)).to(tl.float32)")),
 ("fp downcast", "ADD", add("h = x.to(tl.bfloat16, fp_downcast_rounding='rtne')\noutput = x + y + (h - h).to(tl.float32)")),
 ("cast constexpr const", "ADD", add("C: tl.constexpr = 1.5\noutput = (x + y) * C / C"), {}, "", 1e-5),
 ("meta text", "ADD", rep("BLOCK_SIZE: tl.constexpr", "BLOCK_SIZE: tl.constexpr, HINT: tl.constexpr", "x_ptr + offsets, mask=mask", "x_ptr + offsets, mask=mask, eviction_policy=HINT"), {"HINT": ("", "evict_first")}),
 ("meta bool", "ADD", rep("BLOCK_SIZE: tl.constexpr", "BLOCK_SIZE: tl.constexpr, FAST: tl.constexpr = True", "    output = x + y\n", "    if not FAST:\n        output = y + x\n    elif FAST and BLOCK_SIZE > 2:\n        output = x + y\n    else:\n        output = x + y\n"), {"FAST": (True, False)}),
 ("meta negative", "ADD", rep("BLOCK_SIZE: tl.constexpr", "BLOCK_SIZE: tl.constexpr, SHIFT: tl.constexpr = -1", "    output = x + y\n", "    output = x + y + (SHIFT - SHIFT)\n"), {"SHIFT": (-1, 1)}),
 ("grid numbers", "ADD", rep("BLOCK_SIZE: tl.constexpr", "BLOCK_SIZE: tl.constexpr, GRID_0: tl.constexpr", "    pid = tl.program_id(axis=0)\n", "    pid = GRID_0 - 1 - tl.program_id(axis=0)\n"), {}, "grid_0"),
 ("grid triton.cdiv", "ADD", rep("    pid = tl.program_id(axis=0)\n", "    pid = tl.program_id(axis=0)\n    pid = pid + 0\n"), {}, "(triton.cdiv(n_elements, BLOCK_SIZE),)"),
 ("crlf", "ADD", lambda s: s.replace("output = x + y", "output = y + x").replace("\n", "\r\n")),
 ("comments unicode", "ADD", lambda s: "# faster → 2×\n" + s.replace("    output = x + y\n", "    # α·x + β·y\n    output = (  # sum\n        x\n        + y\n    )\n")),
 ("backslash", "ADD", rep("    output = x + y\n", "    output = x \\\n        + y\n")),
 ("one-liners", "ADD", rep("    output = x + y\n", "    if BLOCK_SIZE > 1: output = x + y\n    else: output = y + x\n")),
 ("semicolons", "ADD", rep("    output = x + y\n", "    a = x; b = y; output = a + b\n")),
 ("multi-assign", "ADD", rep("    output = x + y\n", "    a, (b, c) = x, (y, 0.0)\n    output = a + b + c\n")),
 ("descending while", "ROWSUM", rep(RS, "    start = tl.cdiv(n_cols, BLOCK) * BLOCK - BLOCK\n    while start >= 0:\n", "        total += x.to(tl.float32)\n", "        total += x.to(tl.float32)\n        start -= BLOCK\n")),
 ("two accumulators", "ROWSUM", rep(RS, "    second = tl.zeros([BLOCK], tl.float32)\n    for start in tl.range(0, n_cols, 2 * BLOCK, num_stages=2, disable_licm=False):\n", "        total += x.to(tl.float32)\n", "        total += x.to(tl.float32)\n        more = cols + BLOCK\n        second += tl.load(x_ptr + row * stride + more, mask=more < n_cols, other=0.0)\n", "tl.sum(total, axis=0)", "tl.sum(total + second, axis=0)")),
 ("load into smem hint", "ROWSUM", rep("other=0.0)", "other=0.0, eviction_policy='evict_last')")),
 ("pointer tuple", "ROWSUM", rep("    total = tl.zeros", "    ins, outs = x_ptr + row * stride, y_ptr + row\n    total = tl.zeros", "x_ptr + row * stride + cols", "ins + cols", "tl.store(y_ptr + row,", "tl.store(outs,")),
 ("block scalar mask", "ROWSUM", rep("mask=cols < n_cols", "mask=(cols < n_cols) & (row < n_rows)")),
 ("scalar mask first", "ROWSUM", rep("mask=cols < n_cols", "mask=(row < n_rows) & (cols < n_cols)")),
 ("masked scalar store", "ROWSUM", rep("tl.store(y_ptr + row, tl.sum(total, axis=0))", "tl.store(y_ptr + row, tl.sum(total, axis=0), mask=row < n_rows)")),
 ("warp_specialize arg", "ROWSUM", rep(RS, "    for start in tl.range(0, n_cols, BLOCK, warp_specialize=WS):\n", "BLOCK: tl.constexpr", "BLOCK: tl.constexpr, WS: tl.constexpr = False"), {"WS": (False,)}),
 ("nested static ranges", "ROWSUM", rep("    for start in range(0, n_cols, BLOCK):\n        cols = start + tl.arange(0, BLOCK)\n        x = tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)\n        total += x.to(tl.float32)\n", "    for a in tl.static_range(2):\n        for b in tl.static_range(3):\n            cols = (a * 3 + b) * BLOCK + tl.arange(0, BLOCK)\n            total += tl.load(x_ptr + row * stride + cols, mask=cols < n_cols, other=0.0)\n")),
 ("constexpr inside static", "ROWSUM", rep("    for start in range(0, n_cols, BLOCK):\n        cols = start + tl.arange(0, BLOCK)\n", "    for i in tl.static_range(6):\n        cols = i * BLOCK + tl.arange(0, BLOCK)\n        if i % 2 == 0 and i > 0:\n            cols = cols + 0\n")),
 ("local named like builtin", "ROWSUM", rep("total", "sum")),
 ("early exit in loop body by if", "ROWSUM", rep("        total += x.to(tl.float32)\n", "        if start < n_cols:\n            total += x.to(tl.float32)\n        else:\n            total += 0.0\n")),
 ("mean and max together", "ARGMAX", rep("        best = tl.maximum(best, top)\n", "        best = max(best, top)\n")),
 ("argmax int64", "ARGMAX", rep("    at = 0\n", "    at = tl.full((), 0, tl.int32)\n", '-float("inf")\n', 'tl.full((), float("-inf"), tl.float32)\n')),
 ("descriptor both", "TRANSPOSE", """
def transpose(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr):
    a = tl.make_tensor_descriptor(x_ptr, [M, N], [N, 1], [BLOCK, BLOCK])
    b = tl.make_tensor_descriptor(y_ptr, [N, M], [M, 1], block_shape=a.block_shape)
    m, n = tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK
    b.store([n, m], tl.permute(a.load([m, n]), 1, 0))
"""),
 ("descriptor functions", "TRANSPOSE", """
def transpose(x_ptr, y_ptr, M, N, BLOCK: tl.constexpr):
    a = tl.make_tensor_descriptor(x_ptr, [M, N], [N, 1], [BLOCK, BLOCK])
    b = tl.make_tensor_descriptor(y_ptr, [N, M], [M, 1], [BLOCK, BLOCK])
    m, n = tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK
    tl.store_tensor_descriptor(b, [n, m], tl.load_tensor_descriptor(a, [m, n]).T)
"""),
 ("flat grid", "TRANSPOSE", rep("    m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)\n", "    pid = tl.program_id(0)\n    cols = tl.cdiv(N, BLOCK)\n    m = pid // cols * BLOCK + tl.arange(0, BLOCK)\n    n = pid % cols * BLOCK + tl.arange(0, BLOCK)\n"), {}, "cdiv(M, BLOCK) * cdiv(N, BLOCK), 1, 1"),
 ("dropout philox 4x", "DROPOUT", """
def _seeded_dropout(x_ptr, output_ptr, n_elements, p, seed, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    zero = offsets * 0
    r0, _, _, _ = tl.philox(seed, offsets, zero, zero, zero)
    random = tl.uint_to_uniform_float(r0)
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(output_ptr + offsets, tl.where(random > p, x / (1 - p), 0.0), mask=mask)
"""),
 ("dot with helper K loop", "MATMUL", rep("        a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_SIZE_K, other=0.0)\n        b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_SIZE_K, other=0.0)\n        accumulator = tl.dot(a, b, accumulator)\n", "        accumulator = step(a_ptrs, b_ptrs, offs_k, K - k * BLOCK_SIZE_K, accumulator)\n", before="@triton.jit\ndef step(pa, pb, ks, left, acc):\n    a = tl.load(pa, mask=ks[None, :] < left, other=0.0)\n    b = tl.load(pb, mask=ks[:, None] < left, other=0.0)\n    return tl.dot(a, b, acc=acc)\n")),
]  # fmt: skip
