"""Kernels and launches in the manner of programs that are widely used, written for the tests."""

import functools

import torch
import triton
import triton.language as tl
from triton.runtime import KernelInterface
from triton.tools.tensor_descriptor import TensorDescriptor

N = 160
EIGHT_BITS = torch.finfo(torch.float8_e4m3fn)


class Sizes:
    """Constants in a class."""

    BLOCK = 32


def zeroes(*names):
    return lambda named: [named[n].zero_() for n in names]


@triton.autotune(
    [triton.Config({"BLOCK": b}, num_warps=w, pre_hook=zeroes("out")) for b in (32, 64) for w in (2, 4)], key=["n"]
)
@triton.heuristics({"EVEN": lambda a: a["n"] % a["BLOCK"] == 0, "HAS_BIAS": lambda a: a["bias"] is not None})
@triton.jit
def with_lambdas(x, bias, out, n, BLOCK: tl.constexpr, EVEN: tl.constexpr, HAS_BIAS: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at) if EVEN else tl.load(x + at, mask=at < n, other=0.0)
    if HAS_BIAS:
        value += tl.load(bias + at, mask=at < n)
    tl.atomic_add(out + at, value, mask=at < n)


@triton.jit
def with_defaults(
    x,
    out,
    n,
    BLOCK: tl.constexpr = Sizes.BLOCK,
    LOW: tl.constexpr = EIGHT_BITS.min,
    HIGH: tl.constexpr = torch.finfo(torch.float8_e4m3fn).max,  # noqa: B008
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.clamp(tl.load(x + at, mask=at < n), LOW, HIGH), mask=at < n)


def with_annotations(x: "*fp32", out: torch.Tensor, n: "i32", BLOCK: tl.constexpr):  # noqa: F722, F821
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n), mask=at < n)


with_annotations.__annotations__ = {"BLOCK": tl.constexpr}  # Triton's interpreter knows no annotations that are texts
with_annotations = triton.jit(with_annotations)


class Entry(KernelInterface):
    """Stands between the program and Triton, as libraries' own caches do."""

    def __init__(self, fn):
        self.fn, self.arg_names = fn, fn.arg_names

    def run(self, *args, grid, warmup=False, **kwargs):
        return self.fn.run(*args, grid=grid, warmup=warmup, **kwargs)


@Entry
@triton.heuristics({"BLOCK": lambda a: min(64, triton.next_power_of_2(a["n"]))})
@triton.jit
def behind_an_entry(x, out, n, DTYPE: tl.constexpr, LOWEST: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n, other=LOWEST).to(DTYPE), mask=at < n)


def set_block(named):
    named["x"].block_shape = [named["BLOCK"], 32]


@triton.autotune([triton.Config({"BLOCK": b}, pre_hook=set_block) for b in (8, 16)], key=[])
@triton.jit
def with_descriptor(x, out, BLOCK: tl.constexpr):
    first = tl.program_id(0) * BLOCK
    rows, columns = first + tl.arange(0, BLOCK), tl.arange(0, 32)
    tl.store(out + rows[:, None] * 32 + columns[None, :], x.load([first, 0]) * 2)


@triton.jit(do_not_specialize=["n"], repr=lambda specialization: "named")
def copied(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n), mask=at < n)


@triton.jit
def with_options(x, out, n, BLOCK: tl.constexpr, num_warps: tl.constexpr, num_stages: tl.constexpr):
    for start in tl.range(0, n, BLOCK, num_stages=num_stages):
        at = start + tl.arange(0, BLOCK)
        tl.store(out + at, tl.load(x + at, mask=at < n), mask=at < n)


KERNELS = {("copied", torch.float32): copied}


@torch.library.triton_op("styles_of_programs::copied", mutates_args={})
def copied_op(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    torch.library.wrap_triton(copied)[(triton.cdiv(x.numel(), 64),)](x, out, x.numel(), BLOCK=64)
    return out


def launch_all():
    x, out = torch.randn(N), torch.empty(N)

    def grid(meta):
        return (triton.cdiv(N, meta["BLOCK"]),)

    with_lambdas[grid](x, None, out, N)
    with_defaults[(N // Sizes.BLOCK,)](x, out, N)
    with_annotations[grid](x, out, N, BLOCK=32)
    behind_an_entry[grid](x, out, N, tl.float32, float("-inf"))
    with_descriptor[lambda meta: (64 // meta["BLOCK"],)](
        TensorDescriptor.from_tensor(torch.randn(64, 32), [1, 32]), torch.empty(64, 32)
    )
    functools.partial(KERNELS["copied", x.dtype][grid], x, n=N)(out=out, **{"BLOCK": 32, "num_warps": 2})
    copied.run(x, out, N, 16, grid=grid, warmup=False)
    copied_op(x)
    with_options[(1,)](x, out, N, BLOCK=32, num_warps=8, num_stages=2)
    with_options[(1,)](x, out, N, 32, 8, 2)
