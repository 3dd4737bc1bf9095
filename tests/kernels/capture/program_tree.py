"""A program for the tests: kernels of every origin, launched from threads and processes. It ends with exit code 7."""

import multiprocessing
import os
import sys
import threading

import torch
import triton
import triton.language as tl

SCALE = tl.constexpr(2.0)


@triton.jit
def twice(x):
    return x * SCALE


@triton.jit
def doubled(x_ptr, out_ptr, n, seed, BLOCK: tl.constexpr):
    """In ``__main__``."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, twice(tl.load(x_ptr + at, mask=at < n)) + 0 * seed, mask=at < n)


@triton.jit
def fill(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, 0.0, mask=at < n)


@triton.autotune(
    [triton.Config({"BLOCK": b}, pre_hook=lambda args: fill[(1,)](args["out_ptr"], 8, BLOCK=8)) for b in (16, 32)],
    key=["n"],
    reset_to_zero=["out_ptr"],
)
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.jit
def summed(x_ptr, out_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out_ptr, tl.sum(tl.load(x_ptr + at, mask=at < n, other=0.0)))


@triton.jit
def unchanged(x_ptr, only_read_ptr, pair, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at) * tl.load(only_read_ptr))
    tl.atomic_add(pair[1], 0.0)


def local_kernel():
    @triton.jit
    def applied(x_ptr, other, function: tl.constexpr, BLOCK: tl.constexpr):
        tl.store(x_ptr + tl.arange(0, BLOCK), function(tl.load(x_ptr + tl.arange(0, BLOCK))))

    return applied


def launches(x):
    for seed in range(40):
        doubled[(2,)](x, torch.empty(32), 32, seed, BLOCK=16)


def forked():
    doubled[(1,)](torch.ones(16), torch.empty(16), 16, 3, BLOCK=16)
    os._exit(0)


def spawned(queue):
    doubled[(1,)](torch.ones(48), torch.empty(48), 48, 3, BLOCK=16)
    queue.put(1)


if __name__ == "__main__":
    x = torch.ones(64)
    thread = threading.Thread(target=launches, args=(x[:32],))
    thread.start()
    thread.join()
    doubled[(1,)](x[:32], x[32:], 16, 1, BLOCK=16)
    doubled[(1,)](x, torch.zeros(4, 16).t()[0], 1, 1, BLOCK=16)
    summed[lambda meta: (triton.cdiv(64, meta["BLOCK"]),)](x, torch.zeros(8), 64)
    local_kernel()[(1,)](torch.ones(16), None, twice, BLOCK=16)
    unchanged[(1,)](x[:16], torch.ones(1), (1, torch.zeros(1)), BLOCK=16)
    print(triton.runtime.driver.active.get_active_torch_device(), os.environ.get("FROM_THEIRS"))
    child = os.fork()
    if child == 0:
        forked()
    os.waitpid(child, 0)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=spawned, args=(queue,))
    process.start()
    queue.get()
    process.join()
    sys.exit(7)
