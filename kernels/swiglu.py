"""``swiglu``: out = silu(gate) * up, element by element, in fp32, rounded once.

``flat`` gives each program one block; ``loop`` starts a few programs per SM, each of which walks over many blocks, so
that the loads of one block overlap the arithmetic of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from pydantic import Field, model_validator

from kernels.defaults import UNIT, normal
from kernels.gemm.tiles import rounded
from kernels.hardware import Hardware
from kernels.spec import Config, Inputs, KernelSpec, Problem
from kernels.triton import overlap
from kernels.triton.overlap import inputs_ready

ELEMENT_BYTES = 2


@triton.jit
def swiglu_block(gate_ptr, up_ptr, out_ptr, at, size):
    gate = tl.load(gate_ptr + at, mask=at < size, other=0.0).to(tl.float32)
    up = tl.load(up_ptr + at, mask=at < size, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, rounded(gate * tl.sigmoid(gate) * up, out_ptr.dtype.element_ty), mask=at < size)


@triton.jit
def swiglu_flat(gate_ptr, up_ptr, out_ptr, size, BLOCK: tl.constexpr, OVERLAP: tl.constexpr):
    inputs_ready(OVERLAP)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    swiglu_block(gate_ptr, up_ptr, out_ptr, at, size)


@triton.jit
def swiglu_loop(
    gate_ptr,
    up_ptr,
    out_ptr,
    size,
    PROGRAMS: tl.constexpr,
    STAGES: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    inputs_ready(OVERLAP)
    # Loads that feed no matrix instruction are pipelined only where the loop itself says so.
    for block in tl.range(tl.program_id(0), tl.cdiv(size, BLOCK), PROGRAMS, num_stages=STAGES):
        at = tl.cast(block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
        swiglu_block(gate_ptr, up_ptr, out_ptr, at, size)


class SwigluProblem(Problem):
    """out (M, N) = silu(gate (M, N)) * up (M, N), all contiguous."""

    dims: ClassVar[tuple[str, ...]] = ("M", "N")

    M: int = Field(default=16384, ge=1, le=2**31 - 1)
    N: int = Field(default=8192, ge=1, le=2**31 - 1)

    @model_validator(mode="after")
    def _fits_a_memory(self) -> Self:
        if self.M * self.N > 2**38:
            raise ValueError(f"{self.M} x {self.N} elements are more than any GPU holds: make M or N smaller")
        return self


class SwigluConfig(Config):
    """Tuning choices of one launch. A field that a family does not use stays at its default."""

    family: Literal["flat", "loop"]
    """``flat``: one program per block. ``loop``: a few programs per SM walk over the blocks."""
    BLOCK: Literal[256, 512, 1024, 2048, 4096, 8192, 16384]
    """Elements that a program takes at a time."""
    num_warps: Literal[1, 2, 4, 8, 16, 32]
    """Warps of a program."""
    PER_SM: Literal[1, 2, 4, 8] = 1
    """Programs per SM (``loop``)."""
    num_stages: Literal[1, 2, 3, 4] = 1
    """Blocks in flight (``loop``)."""


class Swiglu(KernelSpec[SwigluProblem, SwigluConfig]):
    """The gate of a SwiGLU feed-forward layer; inputs are (gate, up)."""

    name = "swiglu"
    aliases = ("silu and mul", "fused gate")
    problem_type = SwigluProblem
    config_type = SwigluConfig
    metric = "gbps"

    def default_config(self, problem: SwigluProblem, hardware: Hardware) -> SwigluConfig:
        """Eight elements a thread: one 16-byte access per tensor."""
        return SwigluConfig(family="flat", BLOCK=1024 if hardware.warp_size == 32 else 2048, num_warps=4)

    def candidates(self, problem: SwigluProblem, hardware: Hardware) -> Iterator[SwigluConfig]:
        """4 to 32 elements a thread; loops only where every program gets two blocks."""
        for block, warps in product((256, 512, 1024, 2048, 4096, 8192, 16384), (1, 2, 4, 8, 16, 32)):
            if not 4 <= block / (warps * hardware.warp_size) <= 32:
                continue
            yield SwigluConfig(family="flat", BLOCK=block, num_warps=warps)
            for per_sm, stages in product((1, 2, 4, 8), (1, 2, 3)):
                if 2 * block * per_sm * hardware.sms <= problem.M * problem.N:
                    yield SwigluConfig(family="loop", BLOCK=block, num_warps=warps, PER_SM=per_sm, num_stages=stages)

    def constraint(self, problem: SwigluProblem, config: SwigluConfig, hardware: Hardware) -> str | None:
        """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
        c = config
        if c.family == "flat" and (c.PER_SM != 1 or c.num_stages != 1):
            return (
                f"unused_field: family flat has no loop, so PER_SM and num_stages must be 1, "
                f"got {c.PER_SM} and {c.num_stages}"
            )
        threads = c.num_warps * hardware.warp_size
        if threads > 1024:
            return f"threads: {c.num_warps} warps of {hardware.warp_size} exceed the 1024 threads of a block"
        if (held := c.BLOCK / threads) > 64:
            return f"registers: {c.BLOCK} elements on {threads} threads are {held:g} of two inputs each, 64 at most"
        waiting = 2 * (c.num_stages - 1) * c.BLOCK * ELEMENT_BYTES
        if waiting > hardware.shared_per_block:
            most = hardware.shared_per_block
            return f"shared_memory: {waiting} bytes in flight, a block of {hardware.name} has {most}"
        if c.family == "flat" and (count := triton.cdiv(problem.M * problem.N, c.BLOCK)) >= 2**31:
            return f"grid: {count} blocks exceed the 2147483647 programs of a launch"
        return None

    def inputs(self, problem: SwigluProblem, generator: torch.Generator | None, device: str) -> Inputs:
        """gate and up (M, N), standard normal."""
        shape = problem.M, problem.N
        return tuple(normal(shape, problem.torch_dtype, generator, device) for _ in range(2))

    def output(self, problem: SwigluProblem, device: str) -> torch.Tensor:
        return torch.empty((problem.M, problem.N), dtype=problem.torch_dtype, device=device)

    def launch(
        self, problem: SwigluProblem, config: SwigluConfig, inputs: Inputs, out: torch.Tensor, hardware: Hardware
    ) -> None:
        gate, up = inputs
        size = problem.M * problem.N
        blocks = triton.cdiv(size, config.BLOCK)
        early = overlap.possible(hardware)
        shared = {"BLOCK": config.BLOCK, "num_warps": config.num_warps, "OVERLAP": early, **overlap.attribute(early)}
        if config.family == "flat":
            swiglu_flat[(blocks,)](gate, up, out, size, **shared)
        else:
            programs = min(blocks, config.PER_SM * hardware.sms)
            swiglu_loop[(programs,)](gate, up, out, size, PROGRAMS=programs, STAGES=config.num_stages, **shared)

    def eager(self, problem: SwigluProblem, inputs: Inputs) -> torch.Tensor:
        gate, up = inputs
        assert gate is not None
        assert up is not None
        return F.silu(gate) * up

    def tolerance(self, problem: SwigluProblem) -> float:
        """Two roundings, u = 2^-11 (fp16) or 2^-8 (bf16) each: the result's, and that of silu(gate), which eager
        PyTorch stores and which has to pass too; a sixteenth of u and 32 * 2^-24 for the fp32 arithmetic."""
        return UNIT[problem.dtype] * (2 + 1 / 16) + 32 * 2.0**-24

    def flops(self, problem: SwigluProblem) -> int:
        """About five operations an element: negation, exponential, sum, quotient, product."""
        return 5 * problem.M * problem.N

    def bytes(self, problem: SwigluProblem) -> int:
        """gate and up read once, the result written once."""
        return 3 * ELEMENT_BYTES * problem.M * problem.N

    def reduced(self, problem: SwigluProblem, config: SwigluConfig) -> SwigluProblem:
        """Some seven blocks (three SMs walk over them more than once), the last as ragged as the true shape's."""
        size = problem.M * problem.N
        if size <= 7 * config.BLOCK:
            return problem
        return problem.model_copy(update={"M": 1, "N": 6 * config.BLOCK + (size % config.BLOCK or config.BLOCK)})
