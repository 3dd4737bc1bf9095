"""What capturing costs the host: ``python -m tests.bench.bench_capture``. No GPU is needed.

A launch that does nothing is recorded, so that all the time is the recorder's. Repeated: microseconds a launch, by
number of arguments. First: milliseconds of a function's first launch, and of a further distinct one, without values.
Then the same through Triton itself, compiled, with a driver that launches nothing: a first launch that finds its
machine code in Triton's cache, and repeated ones, with and without capture. And the size of a file of 10,000 launches
with 60 distinct keys.
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
from tests.kernels.capture.launching_driver import LaunchingDriver

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


def through_triton(folder):
    """Print the times of ``few`` through ``JITFunction.run`` with and without capture, the least of several rounds."""
    from triton.runtime import driver

    from agent.programs import capture

    driver.set_active(LaunchingDriver())
    x = [torch.ones(8, 128) for _ in range(3)]

    def forget():
        few.device_caches.clear()
        few.hash = None

    def timed():
        forget()
        started = time.thread_time()
        few[(8,)](*x, 1024, BLOCK=128)
        first = time.thread_time() - started
        started = time.thread_time()
        for _ in range(LAUNCHES):
            few[(8,)](*x, 1024, BLOCK=128)
        return first * 1e3, (time.thread_time() - started) / LAUNCHES * 1e6

    timed()  # compiles
    found: dict[str, list[tuple[float, float]]] = {"without capture": [], "with capture": []}
    for i in range(ROUNDS):
        found["without capture"].append(timed())
        with capture(f"{folder}/{i}.capture", values="no"):
            found["with capture"].append(timed())
    for name, rounds in found.items():
        first, repeated_us = (min(r[i] for r in rounds) for i in range(2))
        print(f"through Triton, {name:16} repeated {repeated_us:6.2f} us   first {first:6.2f} ms")


def main():
    vars(first_launch)["describe_device"] = lambda tensors, function: {"kind": "none"}
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
            wider = [torch.ones(9, 128) if torch.is_tensor(a) else a for a in args]
            started = time.thread_time()
            recorder.launch(nothing, kernel, tuple(wider), grid, kwargs)
            further = (time.thread_time() - started) * 1e3
            cost = repeated(recorder, kernel, args, kwargs, grid)
            print(f"{name:27} repeated {cost:6.2f} us   first {first:6.2f} ms   further {further:5.2f} ms")
        through_triton(folder)
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
