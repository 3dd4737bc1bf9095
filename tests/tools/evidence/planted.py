"""Small kernels, each with one limit planted on an H200, and a healthy twin of each that lacks it: evidence's exam.

They are launched, explained and timed, never compared with a reference: what they compute is arithmetic for its own
sake. ``planted=False`` is the twin."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import triton
import triton.language as tl

from kernels.spec import Config, KernelSpec, Problem


class PlantedProblem(Problem):
    """N elements; what they mean is each kernel's own."""

    dims = ("N",)
    N: int = 1 << 26


class PlantedConfig(Config):
    planted: Literal[True, False] = True


class Planted(KernelSpec):
    """What all have in common."""

    problem_type = PlantedProblem
    config_type = PlantedConfig
    metric = "latency"
    limit: ClassVar[str]
    """What is planted, a name of ``tools.evidence.bottleneck.Name``."""
    elements: ClassVar[int] = 1 << 26
    dtype: ClassVar[torch.dtype] = torch.float16

    def default_problem(self):
        return PlantedProblem(N=self.elements)

    def inputs(self, problem, generator, device):
        if device == "meta":
            return (torch.empty(problem.N, dtype=self.dtype, device="meta"),)
        return (torch.rand(problem.N, device=device, generator=generator).to(self.dtype),)

    def output(self, problem, device):
        return torch.empty(problem.N, dtype=self.dtype, device=device)

    def reference(self, problem, inputs):
        raise NotImplementedError("a planted kernel computes nothing that one would want")

    def flops(self, problem):
        return 0

    def bytes(self, problem):
        return 4 * problem.N


@triton.jit
def arithmetic(x_ptr, out_ptr, ROUNDS: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr):
    """ROUNDS of multiply-adds, exponentials, or multiply-adds beside integer logic, on a block of elements."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at).to(tl.float32)
    bits = tl.arange(0, BLOCK)
    y = x
    for _ in range(ROUNDS):
        if KIND == "exp":
            x = tl.exp2(x)
        elif KIND == "mixed":
            for _ in tl.static_range(3):
                x = x * 0.5 + 0.25
                y = y * 0.75 + 0.125
            bits = bits ^ (bits >> 3)
        else:
            x = x * 0.5 + 0.25
    tl.store(out_ptr + at, (x + y + bits.to(tl.float32)).to(out_ptr.dtype.element_ty))


class Dram(Planted):
    """One multiply-add an element; the twin does five hundred."""

    name, limit = "planted_dram", "DRAM"

    def launch(self, problem, config, inputs, out, hardware):
        rounds = 1 if config.planted else 512
        arithmetic[(problem.N // 2048,)](inputs[0], out, rounds, "fma", 2048, num_warps=8)


class SpecialFunctions(Planted):
    """64 exponentials an element, one after another; the twin multiplies instead."""

    name, limit, elements = "planted_special", "special functions", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        kind = "exp" if config.planted else "fma"
        arithmetic[(problem.N // 2048,)](inputs[0], out, 64, kind, 2048, num_warps=8)


class IssueSlots(Planted):
    """Multiply-adds and integer logic side by side: no pipe is full, the schedulers are. The twin does few."""

    name, limit, elements = "planted_issue", "issue slots", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        rounds = 256 if config.planted else 2
        arithmetic[(problem.N // 2048,)](inputs[0], out, rounds, "mixed", 2048, num_warps=8)


class LaunchOverhead(Planted):
    """A thousand elements; the twin has 64 million."""

    name, limit = "planted_launch", "launch overhead"

    def launch(self, problem, config, inputs, out, hardware):
        blocks = 1 if config.planted else problem.N // 1024
        arithmetic[(blocks,)](inputs[0], out, 1, "fma", 1024, num_warps=4)


class TailWave(Planted):
    """One block more than there are multiprocessors, each of which fills one; the twin has eight for each."""

    name, limit, elements = "planted_tail", "tail wave", 1 << 22

    def launch(self, problem, config, inputs, out, hardware):
        blocks, rounds = (hardware.sms + 1, 4096) if config.planted else (8 * hardware.sms, 512)
        arithmetic[(blocks,)](inputs[0], out, rounds, "fma", 4096, num_warps=16)


@triton.jit
def uneven(x_ptr, out_ptr, FIRST: tl.constexpr, OTHERS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at).to(tl.float32)
    rounds = tl.where(tl.program_id(0) == 0, FIRST, OTHERS)
    for _ in range(rounds):
        x = x * 0.5 + 0.25
    tl.store(out_ptr + at, x.to(out_ptr.dtype.element_ty))


class Imbalance(Planted):
    """One block turns sixteen times as often as the others; in the twin all turn alike."""

    name, limit, elements = "planted_imbalance", "imbalance", 1 << 22

    def launch(self, problem, config, inputs, out, hardware):
        first = 16384 if config.planted else 1024
        uneven[(hardware.sms,)](inputs[0], out, first, 1024, 4096, num_warps=16)


@triton.jit
def reread(x_ptr, out_ptr, STEPS, STRIDE, WORDS: tl.constexpr, BLOCK: tl.constexpr):
    """Sums STEPS blocks of a buffer of WORDS elements, a power of two, STRIDE elements behind the program before."""
    columns = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    start = tl.program_id(0) * STRIDE
    for step in range(STEPS):
        at = tl.multiple_of((start + step * BLOCK) & (WORDS - 1), BLOCK)
        total += tl.load(x_ptr + at + columns).to(tl.float32)
    tl.store(out_ptr + tl.program_id(0) * BLOCK + columns, total.to(out_ptr.dtype.element_ty))


class L2Port(Planted):
    """Every program reads the same 4 MB; in the twin each reads its own."""

    name, limit, elements = "planted_l2", "L2 port", 1 << 28

    def launch(self, problem, config, inputs, out, hardware):
        words, stride = (1 << 21, 4096 * 3) if config.planted else (problem.N, 4096 * 64)
        steps = 512 if config.planted else 64
        reread[(1024,)](inputs[0], out, steps, stride, words, 4096, num_warps=8)


class Latency(Planted):
    """One warp a multiprocessor asks for 128 bytes at a time; the twin has enough in flight."""

    name, limit, elements = "planted_latency", "latency", 1 << 26

    def launch(self, problem, config, inputs, out, hardware):
        if config.planted:
            reread[(hardware.sms,)](inputs[0], out, 2048, 64 * 2048, problem.N, 64, num_warps=1)
        else:
            reread[(4096,)](inputs[0], out, 4, 4 * 4096, problem.N, 4096, num_warps=8)


@triton.jit
def wide(x_ptr, out_ptr, ROUNDS, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Holds a tile of products in registers, and goes over all of it in every round."""
    rows, columns = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    at = tl.program_id(0) * ROWS * COLUMNS + rows * COLUMNS + columns
    total = tl.load(x_ptr + at).to(tl.float32)
    for turn in range(ROUNDS):
        total = total * 0.5 + tl.load(x_ptr + turn)
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty))


class Spills(Planted):
    """128 sums a thread in 32 registers; the twin may use all it needs."""

    name, limit, elements = "planted_spills", "spills", 1 << 24

    def launch(self, problem, config, inputs, out, hardware):
        more = {"maxnreg": 32} if config.planted else {}
        wide[(problem.N // (128 * 128),)](inputs[0], out, 64, 128, 128, num_warps=4, **more)


@triton.jit
def add_up(x_ptr, out_ptr, WORDS: tl.constexpr, ATOMIC: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at).to(tl.float32)
    if ATOMIC:
        tl.atomic_add(out_ptr + (tl.arange(0, BLOCK) % WORDS), x, sem="relaxed")
    else:
        tl.store(out_ptr + at, x)


class Atomics(Planted):
    """All programs add to the same 32 words; the twin stores."""

    name, limit, elements, dtype = "planted_atomics", "atomics", 1 << 22, torch.float32

    def launch(self, problem, config, inputs, out, hardware):
        add_up[(problem.N // 1024,)](inputs[0], out, 32, config.planted, 1024, num_warps=4)
