# ruff: noqa: E501
"""Edits of the further kernels, in the form of :mod:`tests.kernels.editing.launched.launched_edits`."""

from tests.kernels.editing.launched.launched_edits import rep

MORE_EDITS: list[tuple] = [
 ("cumsum by associative_scan", "CUMSUM", rep("tl.cumsum(x, axis=0)", "tl.associative_scan(x, 0, plus)", before="@triton.jit\ndef plus(a, b):\n    return a + b\n")),
 ("cumsum carry from the last element", "CUMSUM", rep("carry += tl.sum(x, axis=0)", "carry = tl.sum(tl.where(tl.arange(0, BLOCK) == BLOCK - 1, y, 0.0))")),
 ("cumsum whole row", "CUMSUM", """
def cumsum_rows(x_ptr, y_ptr, n, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    at = tl.arange(0, WHOLE)
    row = tl.program_id(0).to(tl.int64) * n
    x = tl.load(x_ptr + row + at, mask=at < n, other=0.0)
    tl.store(y_ptr + row + at, tl.cumsum(x), mask=at < n)
""", {"WHOLE": (512, 1024)}),
 ("cumsum from behind", "CUMSUM", rep("tl.cumsum(x, axis=0)", "tl.flip(tl.cumsum(tl.flip(x), axis=0, reverse=True))")),
 ("cumprod by scan of pairs", "CUMPROD", rep("tl.cumprod(x, axis=0)", "tl.associative_scan(x, axis=0, combine_fn=times)", before="def times(a, b):\n    return a * b\n")),
 ("cumprod by logarithms", "CUMPROD", rep("tl.cumprod(x, axis=0)", "tl.exp(tl.cumsum(tl.log(x), axis=0))"), {}, "", 1e-4),
 ("cumprod in chunks", "CUMPROD", """
def cumprod_rows(x_ptr, y_ptr, n, BLOCK: tl.constexpr, TILE: tl.constexpr):
    row = tl.program_id(0)
    carry = 1.0
    for start in tl.range(0, n, TILE):
        at = start + tl.arange(0, TILE)
        x = tl.load(x_ptr + row * n + at, mask=at < n, other=1.0)
        y = tl.cumprod(x, axis=0) * carry
        carry *= tl.reduce(x, 0, times)
        tl.store(y_ptr + row * n + at, y, mask=at < n)
""".replace("\ndef", "\ndef times(a, b):\n    return a * b\n\n\ndef", 1), {"TILE": (16, 64)}),
 ("bins counted in the block first", "BINS", """
def count_bins(x_ptr, bins_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=63)
    counts = tl.histogram(x, 64)
    which = tl.arange(0, 64)
    tl.atomic_add(bins_ptr + which, counts, mask=(which < 37) & (counts > 0), sem="relaxed")
"""),
 ("bins by comparison", "BINS", """
def count_bins(x_ptr, bins_ptr, n, BLOCK: tl.constexpr, BINS: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=-1)
    which = tl.arange(0, BINS)
    counts = tl.sum((x[:, None] == which[None, :]).to(tl.int32), axis=0)
    tl.atomic_add(bins_ptr + which, counts, mask=counts != 0)
""", {"BINS": (64,)}),
 ("bins persistent", "BINS", """
def count_bins(x_ptr, bins_ptr, n, BLOCK: tl.constexpr, GRID_0: tl.constexpr):
    which = tl.arange(0, 64)
    counts = tl.zeros((64,), tl.int32)
    for block in range(tl.program_id(0), GRID_0, tl.num_programs(0)):
        at = block * BLOCK + tl.arange(0, BLOCK)
        counts += tl.histogram(tl.load(x_ptr + at, mask=at < n, other=63), 64)
    tl.atomic_add(bins_ptr + which, counts, mask=which < 37)
""", {}, "min(grid_0, 2)"),
 ("bins with masked histogram", "BINS", rep("    x = tl.load(x_ptr + at, mask=at < n, other=0)\n    tl.atomic_add(bins_ptr + x, 1, mask=at < n)\n", "    x = tl.load(x_ptr + at, mask=at < n, other=0)\n    h = tl.histogram(x, 64, mask=at < n)\n    b = tl.arange(0, 64)\n    tl.atomic_add(bins_ptr + b, h, mask=b < 37)\n")),
 ("top k by tl.topk", "TOP_K", """
def top_k(x_ptr, y_ptr, n, K: tl.constexpr, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + at, mask=at < n, other=float("-inf"))
    tl.store(y_ptr + row * K + tl.arange(0, K), tl.topk(x, K))
"""),
 ("top k by sort", "TOP_K", """
def top_k(x_ptr, y_ptr, n, K: tl.constexpr, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + at, mask=at < n, other=-float("inf"))
    x = tl.sort(x, descending=True)
    tl.store(y_ptr + row * K + at, x, mask=at < K)
"""),
 ("top k by argmax", "TOP_K", rep("        first = tl.min(tl.where(x == most, at, BLOCK), axis=0)\n", "        first = tl.argmax(x, axis=0)\n")),
 ("top k kept in registers", "TOP_K", rep("    for k in range(0, K):\n", "    kept = tl.full((K,), float('-inf'), tl.float32)\n    for k in tl.static_range(K):\n", "        tl.store(y_ptr + row * K + k, most)\n", "        kept = tl.where(tl.arange(0, K) == k, most, kept)\n", "        x = tl.where(at == first, float(\"-inf\"), x)\n", "        x = tl.where(at == first, float(\"-inf\"), x)\n    tl.store(y_ptr + row * K + tl.arange(0, K), kept)\n")),
 ("embed several tokens", "EMBED", """
def embed(table_ptr, ids_ptr, out_ptr, D, BLOCK: tl.constexpr, TOKENS: tl.constexpr, GRID_0: tl.constexpr):
    rows = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    inside = rows < GRID_0
    tokens = tl.load(ids_ptr + rows, mask=inside, other=0).to(tl.int64)
    for start in range(0, D, BLOCK):
        at = start + tl.arange(0, BLOCK)
        mask = inside[:, None] & (at < D)[None, :]
        e = tl.load(table_ptr + tokens[:, None] * D + at[None, :], mask=mask)
        tl.store(out_ptr + rows[:, None].to(tl.int64) * D + at[None, :], e, mask=mask)
""", {"TOKENS": (2, 4)}, "cdiv(grid_0, TOKENS)"),
 ("embed columns in the grid", "EMBED", rep("    for start in range(0, D, BLOCK):\n        at = start + tl.arange(0, BLOCK)\n        e = tl.load(table_ptr + token * D + at, mask=at < D)\n        tl.store(out_ptr + row * D + at, e, mask=at < D)\n", "    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)\n    e = tl.load(table_ptr + token * D + at, mask=at < D, eviction_policy='evict_last')\n    tl.store(out_ptr + row * D + at, e, mask=at < D, cache_modifier='.cs')\n"), {}, "grid_0, cdiv(D, BLOCK)"),
 ("small products two a program", "SMALL_PRODUCTS", """
def small_products(a_ptr, b_ptr, c_ptr, batch, N: tl.constexpr, EACH: tl.constexpr):
    r, c = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    for turn in tl.static_range(EACH):
        i = tl.program_id(0) * EACH + turn
        if i < batch:
            at = i * N * N + r * N + c
            tl.store(c_ptr + at, tl.dot(tl.load(a_ptr + at), tl.load(b_ptr + at), input_precision="ieee"))
""", {"EACH": (2, 3)}, "cdiv(batch, EACH)", 2e-3),
 ("small products as a batch", "SMALL_PRODUCTS", """
def small_products(a_ptr, b_ptr, c_ptr, batch, N: tl.constexpr):
    i = tl.program_id(0) * 2 + tl.arange(0, 2)[:, None, None]
    at = i * N * N + tl.arange(0, N)[None, :, None] * N + tl.arange(0, N)[None, None, :]
    a = tl.load(a_ptr + at, mask=i < batch, other=0.0)
    b = tl.load(b_ptr + at, mask=i < batch, other=0.0)
    tl.store(c_ptr + at, tl.dot(a, b), mask=i < batch)
""", {}, "cdiv(batch, 2)"),
 ("small products without tensor cores", "SMALL_PRODUCTS", rep("tl.dot(a, b)", "tl.sum(a[:, :, None] * b[None, :, :], axis=1)"), {}, "", 2e-3),
 ("quantise by a product", "QUANTISE", rep("    q = tl.floor(x / scale + 0.5)\n", "    q = tl.floor(tl.div_rn(x, scale) + 0.5)\n")),
 ("quantise in two passes", "QUANTISE", """
def quantise_rows(x_ptr, q_ptr, scale_ptr, n, BLOCK: tl.constexpr, TILE: tl.constexpr):
    row = tl.program_id(0)
    most = tl.zeros((TILE,), tl.float32)
    for start in range(0, n, TILE):
        at = start + tl.arange(0, TILE)
        most = tl.maximum(most, tl.abs(tl.load(x_ptr + row * n + at, mask=at < n, other=0.0)))
    scale = tl.maximum(tl.max(most) / 127.0, 1e-10)
    for start in range(0, n, TILE):
        at = start + tl.arange(0, TILE)
        x = tl.load(x_ptr + row * n + at, mask=at < n, other=0.0)
        tl.store(q_ptr + row * n + at, tl.floor(x / scale + 0.5).to(tl.int8), mask=at < n)
    tl.store(scale_ptr + row, scale)
""", {"TILE": (32, 64)}),
 ("dequantise scale loaded once", "DEQUANTISE", rep("    q = tl.load", "    scale, zero = tl.load(scale_ptr + row), tl.load(zero_ptr + row)\n    q = tl.load", "(q - tl.load(zero_ptr + row)) * tl.load(scale_ptr + row)", "(q - zero) * scale")),
 ("dequantise by fma", "DEQUANTISE", rep("(q - tl.load(zero_ptr + row)) * tl.load(scale_ptr + row)", "tl.fma(q, scale, -zero * scale)", "    q = tl.load", "    scale = tl.load(scale_ptr + row)\n    zero = tl.load(zero_ptr + row)\n    q = tl.load")),
 ("dequantise wide", "DEQUANTISE", rep("BLOCK: tl.constexpr", "BLOCK: tl.constexpr, WIDE: tl.constexpr", "tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)", "tl.program_id(1) * (BLOCK * WIDE) + tl.arange(0, BLOCK * WIDE)"), {"WIDE": (2, 4)}, "grid_0, cdiv(n, BLOCK * WIDE)"),
 ("fp8 by bits", "FROM_FP8", rep("    x = bits.to(tl.float8e5, bitcast=True).to(tl.float32)\n", "    half = (bits.to(tl.uint16) << 8).to(tl.float16, bitcast=True)\n    x = half.to(tl.float32)\n")),
 ("fp8 in place of a cast", "FROM_FP8", rep("bits.to(tl.float8e5, bitcast=True).to(tl.float32)", "tl.cast(tl.cast(bits, tl.float8e5, bitcast=True), tl.float16).to(tl.float32)")),
 ("int4 two at a time", "UNPACK", """
def unpack4(packed_ptr, scale_ptr, out_ptr, n, BLOCK: tl.constexpr):
    first = tl.program_id(0) * BLOCK
    pairs = tl.arange(0, BLOCK // 2)
    offs = first + 2 * pairs
    word = tl.load(packed_ptr + offs // 8, mask=offs < n, other=0)
    low = (word >> (offs % 8 * 4)) & 0xF
    high = (word >> ((offs + 1) % 8 * 4)) & 0xF
    s = tl.load(scale_ptr + offs // 32, mask=offs < n, other=0.0)
    both = tl.interleave((low - 8) * s, (high - 8) * s)
    at = first + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, both, mask=at < n)
"""),
 ("convolution unrolled", "CONVOLVE", rep("for i in range(0, S)", "for i in tl.static_range(S)", "for j in range(0, S)", "for j in tl.static_range(S)")),
 ("convolution skips rows outside", "CONVOLVE", """
def convolve(x_ptr, w_ptr, y_ptr, C, H, W, S: tl.constexpr, BLOCK: tl.constexpr):
    out, row = tl.program_id(0), tl.program_id(1)
    at = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for i in tl.static_range(S):
        r = row + i - S // 2
        if (r >= 0) & (r < H):
            for c in range(0, C):
                for j in tl.static_range(S):
                    col = at + j - S // 2
                    x = tl.load(x_ptr + (c * H + r) * W + col, mask=(col >= 0) & (col < W), other=0.0)
                    total += x * tl.load(w_ptr + ((out * C + c) * S + i) * S + j)
    tl.store(y_ptr + (out * H + row) * W + at, total, mask=at < W)
"""),
 ("convolution two rows a program", "CONVOLVE", """
def convolve(x_ptr, w_ptr, y_ptr, C, H, W, S: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    out = tl.program_id(0)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    at = tl.arange(0, BLOCK)[None, :]
    total = tl.zeros((ROWS, BLOCK), dtype=tl.float32)
    for c in range(0, C):
        for tap in tl.static_range(S * S):
            r, col = rows + tap // S - S // 2, at + tap % S - S // 2
            inside = (r >= 0) & (r < H) & (col >= 0) & (col < W)
            x = tl.load(x_ptr + (c * H + r) * W + col, mask=inside, other=0.0)
            total += x * tl.load(w_ptr + (out * C + c) * S * S + tap)
    tl.store(y_ptr + (out * H + rows) * W + at, total, mask=(at < W) & (rows < H))
""", {"ROWS": (2, 4)}, "grid_0, cdiv(H, ROWS)"),
 ("group norm in one block", "GROUP_NORM", """
def group_norm(x_ptr, w_ptr, b_ptr, y_ptr, size, channel, groups, eps, BLOCK: tl.constexpr, WHOLE: tl.constexpr):
    at = tl.arange(0, WHOLE)
    mask = at < size
    start = tl.program_id(0).to(tl.int64) * size
    first = (tl.program_id(0) % groups) * (size // channel)
    x = tl.load(x_ptr + start + at, mask=mask, other=0.0)
    mean = tl.sum(x) / size
    centred = tl.where(mask, x - mean, 0.0)
    rstd = tl.rsqrt(tl.sum(centred * centred) / size + eps)
    which = first + at // channel
    w, b = tl.load(w_ptr + which, mask=mask), tl.load(b_ptr + which, mask=mask)
    tl.store(y_ptr + start + at, centred * rstd * w + b, mask=mask)
""", {"WHOLE": (64, 128)}, "", 1e-4),
 ("group norm by Welford", "GROUP_NORM", rep("    total, squares = 0.0, 0.0\n", "    count = tl.zeros((BLOCK,), tl.float32)\n    mean_b = tl.zeros((BLOCK,), tl.float32)\n    m2_b = tl.zeros((BLOCK,), tl.float32)\n", "        total += tl.sum(x, axis=0)\n        squares += tl.sum(x * x, axis=0)\n", "        here = (at < size).to(tl.float32)\n        count += here\n        delta = tl.where(at < size, x - mean_b, 0.0)\n        mean_b += delta / tl.maximum(count, 1.0)\n        m2_b += delta * (x - mean_b) * here\n",
   "    mean = total / size\n    rstd = 1.0 / tl.sqrt(squares / size - mean * mean + eps)\n", "    mean, m2, n = tl.reduce((mean_b, m2_b, count), 0, merge)\n    rstd = tl.rsqrt(m2 / n + eps)\n", before="""
@triton.jit
def merge(mean_a, m2_a, n_a, mean_b, m2_b, n_b):
    n = n_a + n_b
    share = tl.where(n > 0, n_b / n, 0.0)
    delta = mean_b - mean_a
    return mean_a + delta * share, m2_a + m2_b + delta * delta * n_a * share, n
"""), {}, "", 1e-4),
 ("segments in blocks of rows", "SEGMENTS", """
def segment_sums(x_ptr, starts_ptr, y_ptr, D, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    segment = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    begin, end = tl.load(starts_ptr + segment), tl.load(starts_ptr + segment + 1)
    total = tl.zeros((ROWS, BLOCK), dtype=tl.float32)
    for first in range(begin, end, ROWS):
        rows = first + tl.arange(0, ROWS)
        mask = (rows < end)[:, None] & (at < D)[None, :]
        total += tl.load(x_ptr + rows[:, None] * D + at[None, :], mask=mask, other=0.0)
    tl.store(y_ptr + segment * D + at, tl.sum(total, axis=0), mask=at < D)
""", {"ROWS": (2, 4)}),
 ("segments with a while", "SEGMENTS", rep("    for row in range(begin, end):\n        total += tl.load(x_ptr + row * D + at, mask=at < D, other=0.0)\n", "    row = begin\n    while row < end:\n        total += tl.load(x_ptr + row * D + at, mask=at < D, other=0.0)\n        row += 1\n")),
 ("segments that are empty", "SEGMENTS", rep("    total = tl.zeros", "    if begin == end:\n        tl.store(y_ptr + segment * D + at, tl.zeros((BLOCK,), tl.float32), mask=at < D)\n        return\n    total = tl.zeros")),
 ("paged decode next page ahead", "PAGED", rep("    for page in range(0, tl.cdiv(length, PAGE)):\n        where = tl.load(table_ptr + sequence * pages + page)\n", "    where = tl.load(table_ptr + sequence * pages)\n    for page in range(0, tl.cdiv(length, PAGE)):\n        ahead = tl.load(table_ptr + sequence * pages + page + 1, mask=page + 1 < pages, other=0)\n", "        most = new\n", "        most = new\n        where = ahead\n")),
 ("paged decode base two", "PAGED", rep("* 0.25", "* (0.25 * 1.4426950408889634)", "tl.exp(scores - new)", "tl.exp2(scores - new)", "tl.exp(most - new)", "tl.exp2(most - new)")),
 ("paged decode by dot", "PAGED", rep("tl.sum(q[None, :] * k, axis=1)", "tl.sum(tl.dot(tl.broadcast_to(q[None, :], (16, D)), tl.trans(tl.cat(k, k, can_reorder=False).to(tl.float32).reshape(2 * PAGE, D)), input_precision='ieee').reshape(16, 2, PAGE), axis=1).sum(axis=0) / 32"), {}, "", 1e-4),
 ("scatter in the grid", "SCATTER", """
def scatter_add(x_ptr, ids_ptr, y_ptr, D, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * D + at, mask=at < D, other=0.0)
    tl.atomic_add(y_ptr + tl.load(ids_ptr + row) * D + at, x, mask=at < D, sem="relaxed")
""", {}, "grid_0, cdiv(D, BLOCK)"),
 ("scatter kept while the row stays", "SCATTER", rep("        tl.atomic_add(y_ptr + to * D + at, x, mask=at < D)\n", "        tl.atomic_add(y_ptr + (to * D + at), x, mask=(at < D) & (x != 0.0))\n")),
 ("rotary by one load", "ROTARY", """
def rotary(x_ptr, cos_ptr, sin_ptr, y_ptr, D: tl.constexpr, HALF: tl.constexpr, INTERLEAVED: tl.constexpr = False):
    row, at = tl.program_id(0), tl.arange(0, D)
    half = at % HALF
    other = (at + HALF) % D
    x, turned = tl.load(x_ptr + row * D + at), tl.load(x_ptr + row * D + other)
    c, s = tl.load(cos_ptr + row * HALF + half), tl.load(sin_ptr + row * HALF + half)
    tl.store(y_ptr + row * D + at, x * c + tl.where(at < HALF, -turned, turned) * s)
"""),
 ("dropout four numbers at once", "DROPOUT", rep("    random = tl.rand(seed, offsets)\n", "    random = tl.rand(seed, offsets)\n    kept = 1.0 / (1.0 - p)\n", "x / (1 - p)", "x * kept")),
 ("transpose by block of rows", "TRANSPOSE", rep("    x = tl.load(x_ptr + m[:, None] * N + n[None, :], mask=mask)\n    tl.store(y_ptr + n[None, :] * M + m[:, None], x, mask=mask)\n", "    x = tl.load(x_ptr + m[:, None] * N + n[None, :], mask=mask)\n    turned = (n[:, None] < N) & (m[None, :] < M)\n    tl.store(y_ptr + n[:, None] * M + m[None, :], x.T, mask=turned)\n")),
]  # fmt: skip
