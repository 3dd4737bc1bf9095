"""A program for the GPU's tests: an autotuned kernel, one in place, one of Inductor's."""

import sys

import torch
import triton
import triton.language as tl


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (4, 8)], key=["n"])
@triton.jit
def tuned(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@triton.jit
def in_place(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) + 1, mask=at < n)


def grid(meta):
    return (triton.cdiv(meta["n"], meta["BLOCK"]),)


def step(x, out):
    tuned[grid](x, out, x.numel())
    return in_place[grid](out, out.numel(), BLOCK=1024)


if __name__ == "__main__":
    x = torch.arange(float(1 << 20), device="cuda")
    out = torch.empty_like(x)
    for _ in range(10):
        step(x, out)
    made = {"out": out}
    if "--compiled" in sys.argv:
        made["y"] = torch.compile(lambda t: torch.relu(t) * 3 + 1)(out)
    torch.save(made, sys.argv[1])
    print(f"sum {float(out.sum()):g}")
