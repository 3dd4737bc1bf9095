"""The documented functions of ``triton.language`` as expressions over blocks, for ``tests.bench.table_of_tl``.

`x`, `y` and `z` are (M, N) blocks of the same dtype, `i`, `j` the ranges, `at` the offsets of a block. An expression
gives a block (``block``), one number a row (``rows``), or a square of (M, M) (``square``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

M, N = 16, 32
DTYPES = {
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "fp8e5": "float8_e5m2",
    "fp8e4nv": "float8_e4m3fn",
    "int8": "int8",
    "int32": "int32",
    "int64": "int64",
}
"""Short names, as Triton's, and PyTorch's."""


@dataclass(frozen=True)
class Entry:
    name: str
    expression: str
    gives: str = "block"
    before: str = ""
    """A statement before the expression."""


def _blocks(*names: str) -> list[Entry]:
    return [Entry(name, f"tl.{name}(x)") for name in names]


ENTRIES = [
    *(Entry(name, f"x {name} y") for name in ("+", "-", "*", "<", "==")),
    Entry("/", "x / (tl.abs(y) + tl.full((M, N), 1, y.dtype))"),
    Entry("//", "x // (tl.abs(y) + tl.full((M, N), 1, y.dtype))"),
    Entry("%", "x % (tl.abs(y) + tl.full((M, N), 1, y.dtype))"),
    *(Entry(name, f"x {name} y") for name in ("&", "|", "^")),
    Entry("<<", "x << (y & tl.full((M, N), 3, y.dtype))"),
    Entry(">>", "x >> (y & tl.full((M, N), 3, y.dtype))"),
    Entry("negation", "-x"),
    Entry("program_id", "x + tl.program_id(0).to(x.dtype)"),
    Entry("num_programs", "x + tl.num_programs(0).to(x.dtype)"),
    Entry("arange", "x + tl.arange(0, N)[None, :].to(x.dtype)"),
    Entry("full", "tl.full((M, N), 3, x.dtype)"),
    Entry("zeros", "tl.zeros((M, N), x.dtype)"),
    Entry("zeros_like", "tl.zeros_like(x)"),
    Entry("cast to fp16", "tl.cast(x, tl.float16)"),
    Entry("cast to bf16", "tl.cast(x, tl.bfloat16)"),
    Entry("cast to fp32", "tl.cast(x, tl.float32)"),
    Entry("cast to fp8e5", "tl.cast(x, tl.float8e5)"),
    Entry("cast to fp8e4nv", "tl.cast(x, tl.float8e4nv)"),
    Entry("cast to int32", "tl.cast(x, tl.int32)"),
    Entry("cast to int8", "tl.cast(x, tl.int8)"),
    Entry("cast, rounded to zero", 'tl.cast(x, tl.bfloat16, fp_downcast_rounding="rtz")'),
    Entry("cat", "tl.max(tl.cat(tl.ravel(x), tl.ravel(y), can_reorder=True), 0) + 0 * i", "rows"),
    Entry("broadcast", "tl.broadcast(x, y)[0]"),
    Entry("broadcast_to", "tl.broadcast_to(tl.max(x, 1)[:, None].to(x.dtype), (M, N))"),
    Entry("expand_dims", "tl.expand_dims(tl.max(x, 1).to(x.dtype), 1) + x"),
    Entry("interleave", "tl.sum(tl.interleave(x, y).to(tl.float32), 1)", "rows"),
    Entry("join", "tl.max(tl.join(x, y), 2)"),
    Entry("split", "a + b", before="a, b = tl.split(tl.join(x, y))"),
    Entry("permute", "tl.permute(tl.permute(x, (1, 0)), (1, 0))"),
    Entry("trans", "tl.trans(tl.trans(x))"),
    Entry("ravel", "tl.reshape(tl.ravel(x), (M, N))"),
    Entry("reshape", "tl.reshape(tl.reshape(x, (N, M)), (M, N))"),
    Entry("view", "tl.view(x, (M, N))"),
    Entry("dot", "tl.dot(x, tl.trans(y))", "square"),
    Entry("dot, ieee", 'tl.dot(x, tl.trans(y), input_precision="ieee")', "square"),
    Entry("load, masked", "tl.load(x_ptr + at, mask=at % 3 == 0, other=0)"),
    Entry("flip", "tl.flip(x, 1)"),
    Entry("where", "tl.where(x > y, x, z)"),
    Entry("gather", "tl.gather(x, (at % N).to(tl.int32), 1)"),
    *_blocks("abs", "ceil", "floor", "cos", "sin", "erf", "exp", "exp2", "sigmoid", "softmax"),
    Entry("log", "tl.log(tl.abs(x) + tl.full((M, N), 1, x.dtype))"),
    Entry("log2", "tl.log2(tl.abs(x) + tl.full((M, N), 1, x.dtype))"),
    Entry("rsqrt", "tl.rsqrt(tl.abs(x) + tl.full((M, N), 1, x.dtype))"),
    Entry("sqrt", "tl.sqrt(tl.abs(x))"),
    Entry("sqrt_rn", "tl.sqrt_rn(tl.abs(x))"),
    Entry("clamp", "tl.clamp(x, tl.full((M, N), -1, x.dtype), tl.full((M, N), 1, x.dtype))"),
    Entry("cdiv", "tl.cdiv(x, tl.full((M, N), 3, x.dtype))"),
    Entry("div_rn", "tl.div_rn(x, tl.abs(y) + tl.full((M, N), 1, y.dtype))"),
    Entry("fdiv", "tl.fdiv(x, tl.abs(y) + tl.full((M, N), 1, y.dtype))"),
    Entry("fma", "tl.fma(x, y, z)"),
    Entry("maximum", "tl.maximum(x, y)"),
    Entry("minimum", "tl.minimum(x, y)"),
    Entry("umulhi", "tl.umulhi(x, y)"),
    Entry("swizzle2d", "(a + b).to(tl.int64)", before="a, b = tl.swizzle2d(i[:, None], j[None, :], M, N, 4)"),
    *(Entry(name, f"tl.{name}(x, 1)", "rows") for name in ("argmax", "argmin", "max", "min", "sum", "xor_sum")),
    Entry("max with its place", "a + b.to(x.dtype)", "rows", "a, b = tl.max(x, 1, return_indices=True)"),
    Entry("reduce", "tl.reduce(x, 1, larger)", "rows"),
    Entry("associative_scan", "tl.associative_scan(x, 1, larger)"),
    Entry("cumsum", "tl.cumsum(x, 1)"),
    Entry("cumsum, reverse", "tl.cumsum(x, 1, reverse=True)"),
    Entry("cumprod", "tl.cumprod(x, 1)"),
    Entry("histogram", "tl.histogram(tl.abs(tl.max(x, 1)).to(tl.int32), M)", "rows"),
    Entry("sort", "tl.sort(x, 1)"),
    Entry("topk", "tl.max(tl.topk(x, 4), 1)", "rows"),
    *(
        Entry(
            f"atomic_{name}", "tl.load(y_ptr + at)", before=f"tl.atomic_{name}(y_ptr + at, x)\n    tl.debug_barrier()"
        )
        for name in ("add", "max", "min", "and", "or", "xor", "xchg")
    ),
    Entry("atomic_cas", "tl.atomic_cas(y_ptr + at, y, x)"),
    Entry("randint", "tl.randint(7, at) + 0 * x.to(tl.int32)"),
    Entry("rand", "tl.rand(7, at) + 0 * x.to(tl.float32)"),
    Entry("randn", "tl.randn(7, at) + 0 * x.to(tl.float32)"),
    Entry("randint4x", "a + d + 0 * x.to(tl.int32)", before="a, b, c, d = tl.randint4x(7, at)"),
    Entry("range", "total", before="total = x\n    for n in tl.range(0, 3):\n        total = total + y"),
    Entry("static_range", "total", before="total = x\n    for n in tl.static_range(3):\n        total = total + y"),
    Entry("multiple_of", "x + 0 * tl.multiple_of(at, (1, 1)).to(x.dtype)"),
]
"""Left out: what gives no value (assume, debug_barrier, device_print, static_print, …), what needs a host descriptor or
a grid (descriptors are in the tests of launches), inline assembly (refused) and ``dot_scaled`` (a card's own)."""

STORES = {
    "block": "tl.store(out_ptr + at, (result).to(OUT))",
    "rows": "tl.store(out_ptr + i, (result).to(OUT))",
    "square": "tl.store(out_ptr + i[:, None] * M + tl.arange(0, M)[None, :], (result).to(OUT))",
}


def source() -> str:
    """A module with one kernel for each entry, ``kernel_0``, ``kernel_1``, …"""
    head = ["import triton", "import triton.language as tl", "", ""]
    head += ["@triton.jit", "def larger(a, b):", "    return tl.where(a > b, a, b)", "", "", ""]
    return "\n".join(head) + "\n\n\n".join(kernel(entry, f"kernel_{n}") for n, entry in enumerate(ENTRIES)) + "\n"


def kernel(entry: Entry, name: str) -> str:
    arguments = "x_ptr, y_ptr, z_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr, OUT: tl.constexpr"
    lines = [
        "@triton.jit",
        f"def {name}({arguments}):",
        "    i, j = tl.arange(0, M), tl.arange(0, N)",
        "    at = i[:, None] * N + j[None, :]",
        "    x, y, z = tl.load(x_ptr + at), tl.load(y_ptr + at), tl.load(z_ptr + at)",
        *([f"    {entry.before}"] if entry.before else []),
        f"    result = {entry.expression}",
        f"    {STORES[entry.gives]}",
    ]
    return "\n".join(lines)


def kernel_hash(entry: Entry) -> str:
    """Of the entry's kernel and the size of its blocks: results of another kernel are results of something else."""
    return hashlib.sha256(f"{M} {N}\n{kernel(entry, entry.name)}".encode()).hexdigest()[:12]
