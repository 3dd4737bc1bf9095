"""Kernels that break the process, the compiler or the GPU they run on."""

import ctypes
import errno
import os
import time
from typing import Literal

import torch
import triton
import triton.language as tl

from tests.exploits.axpy import Axpy, AxpyConfig
from tests.exploits.cheats import Zeros


@triton.jit
def never_ends(out_ptr):
    while tl.atomic_add(out_ptr, 0.0) < float("inf"):
        pass


@triton.jit
def out_of_bounds(out_ptr):
    tl.store(out_ptr + tl.arange(0, 128).to(tl.int64) * (1 << 40), 1.0)


@triton.jit
def refused(out_ptr, VALUE: tl.constexpr):
    tl.static_assert(VALUE == 2, "VALUE has to be two")
    tl.store(out_ptr, 1.0)


class NeverEnds(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        never_ends[(1,)](torch.zeros(1, device=out.device))


class OutOfBounds(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        out_of_bounds[(1,)](out)


class CompilerRefuses(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        refused[(1,)](out, 1)


class CompilerHangs(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        time.sleep(600)


class Segfaults(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        ctypes.string_at(0)


class Exits(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        os._exit(7)


class LaunchesNothing(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        pass


class OutOfMemory(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        torch.empty(1 << 50, dtype=torch.uint8, device=out.device)


class DiskFull(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        raise OSError(errno.ENOSPC, "No space left on device")


class Raises(Axpy):
    def launch(self, problem, config, inputs, out, hardware):
        raise IndexError("list index out of range")


class FaultyConfig(AxpyConfig):
    n: int = 0
    """Tells attempts apart that are otherwise the same."""
    fault: Literal["none", "never_ends", "out_of_bounds", "segfault", "exit", "out_of_memory", "raises", "wrong"] = (
        "none"
    )


KINDS = {
    "never_ends": NeverEnds,
    "out_of_bounds": OutOfBounds,
    "segfault": Segfaults,
    "exit": Exits,
    "out_of_memory": OutOfMemory,
    "raises": Raises,
    "wrong": Zeros,
    "none": Axpy,
}
TRUE_STATUS = {
    "never_ends": "timeout",
    "out_of_bounds": "runtime",
    "segfault": "runtime",
    "exit": "runtime",
    "out_of_memory": "runtime",
    "raises": "runtime",
    "wrong": "correctness",
    "none": "correct",
}


class Faulty(Axpy):
    """One kernel whose configs break in a way of choice: a fault and what comes after it run on one device."""

    config_type = FaultyConfig

    def candidates(self, problem, hardware):
        yield from (FaultyConfig(BLOCK=b) for b in (256, 512, 1024, 2048))

    def launch(self, problem, config, inputs, out, hardware):
        KINDS[config.fault]().launch(problem, config, inputs, out, hardware)
