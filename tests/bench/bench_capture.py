"""What capturing costs the host: ``python -m tests.bench.bench_capture``. No GPU is needed.

A launch that does nothing is recorded, so that all the time is the recorder's. Repeated: microseconds a launch, by
number of arguments. First: milliseconds of a distinct launch, its function's first, without values; Triton's own first
launch of a compiled kernel, which reads it from the cache, takes longer than that on every machine seen. And the size
of a file of 10,000 launches with 60 distinct keys.
"""

from __future__ import annotations

import os
import tempfile
import time

import torch
import triton
import triton.language as tl

from kernels.capture.capture_file import begin
from kernels.capture.describing import first_launch
from kernels.capture.recorder import Recorder

ROUNDS, LAUNCHES = 7, 3000


@triton.jit
def few(a, b, out, n, BLOCK: tl.constexpr):
    tl.store(out + tl.arange(0, BLOCK), tl.load(a + tl.arange(0, BLOCK)) + tl.load(b + tl.arange(0, BLOCK)))


@triton.jit
def many(a, b, c, d, e, f, g, h, sa, sb, sc, sd, se, sf, sg, sh, n, m, k, eps, BLOCK: tl.constexpr, MORE: tl.constexpr):
    tl.store(a + tl.arange(0, BLOCK), tl.load(b + tl.arange(0, BLOCK)))


def nothing(function, *args, grid, warmup, **kwargs):
    if callable(grid):
        grid({"n": 1024, "BLOCK": 128})


def repeated(recorder, kernel, args, kwargs, grid):
    """Microseconds of processor time that recording adds to a launch: the least of several rounds, because what other
    programs do on the machine only adds."""
    recorder.launch(nothing, kernel, args, grid, kwargs)
    rounds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(LAUNCHES):
            recorder.launch(nothing, kernel, args, grid, kwargs)
        between = time.thread_time()
        for _ in range(LAUNCHES):
            nothing(kernel, *args, grid=grid, warmup=False, **kwargs)
        rounds.append((2 * between - started - time.thread_time()) / LAUNCHES * 1e6)
    return min(rounds)


def main():
    first_launch.describe_device = lambda tensors, function: {"kind": "none"}
    x = [torch.ones(8, 128) for _ in range(8)]
    cases = {
        "5 arguments": (few, (*x[:3], 1024), {"BLOCK": 128}, (8,)),
        "22 arguments": (many, (*x, *range(128, 136), 8, 8, 8, 1e-6), {"BLOCK": 128, "MORE": 1, "num_warps": 4}, (8,)),
        "5 arguments, callable grid": (few, (*x[:3], 1024), {"BLOCK": 128}, lambda m: (m["n"] // m["BLOCK"],)),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.capture"
        begin(path, {})
        for name, (kernel, args, kwargs, grid) in cases.items():
            recorder = Recorder(path, "no")
            started = time.thread_time()
            recorder.launch(nothing, kernel, args, grid, kwargs)
            first = (time.thread_time() - started) * 1e3
            print(
                f"{name:28} repeated {repeated(recorder, kernel, args, kwargs, grid):6.2f} us   first {first:6.2f} ms"
            )
        path = f"{folder}/b.capture"
        begin(path, {})
        recorder = Recorder(path, "no")
        given = [(*[torch.ones(rows, 128) for _ in range(3)], rows * 128) for rows in range(1, 61)]
        for i in range(10_000):
            recorder.launch(nothing, few, given[i % 60], (8,), {"BLOCK": 128})
        recorder.flush()
        print(f"10,000 launches, 60 distinct: {os.path.getsize(path) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
