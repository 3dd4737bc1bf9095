"""Problem and config of ``conv2d``, its static constraints, and the configs worth naming."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from kernels.hardware import Hardware
from kernels.spec import Config, Problem

ELEMENT_BYTES = 2
"""fp16 and bf16."""


class Conv2dProblem(Problem):
    """y (N, P, Q, K) = x (N, H, W, C) * w (K, R, S, C) + bias (K), all contiguous (NHWC and KRSC)."""

    dims: ClassVar[tuple[str, ...]] = ("N", "H", "W", "C", "K", "R", "S")

    N: int = Field(default=32, ge=1, le=2**20)
    H: int = Field(default=56, ge=1, le=2**16)
    W: int = Field(default=56, ge=1, le=2**16)
    C: int = Field(default=256, ge=1, le=2**16)
    K: int = Field(default=256, ge=1, le=2**16)
    R: int = Field(default=3, ge=1, le=2**10)
    S: int = Field(default=3, ge=1, le=2**10)
    stride: int = Field(default=1, ge=1, le=2**10)
    padding: int = Field(default=1, ge=0, le=2**10)
    dilation: int = Field(default=1, ge=1, le=2**10)
    bias: bool = False

    @property
    def P(self) -> int:
        """Rows of the result."""
        return (self.H + 2 * self.padding - self.dilation * (self.R - 1) - 1) // self.stride + 1

    @property
    def Q(self) -> int:
        """Columns of the result."""
        return (self.W + 2 * self.padding - self.dilation * (self.S - 1) - 1) // self.stride + 1

    @property
    def pixels(self) -> int:
        """Rows of the implicit matrix product: N P Q."""
        return self.N * self.P * self.Q

    @property
    def terms(self) -> int:
        """Products in one element of the result: R S C."""
        return self.R * self.S * self.C

    @model_validator(mode="after")
    def _can_be_computed(self) -> Self:
        if self.P < 1 or self.Q < 1:
            raise ValueError(
                f"a {self.R}x{self.S} filter of dilation {self.dilation} does not fit {self.H}x{self.W} pixels with "
                f"padding {self.padding}: make the image or the padding larger"
            )
        reach = self.dilation * (self.R - 1) * self.W + self.dilation * (self.S - 1) + 1
        largest = max(self.pixels, reach * self.C, self.K * self.terms)
        if largest > 2**30:
            raise ValueError(
                f"{largest} output pixels, filter elements, or elements under one filter are more than the kernel's "
                f"{2**30}: make N, H, W, C or K smaller"
            )
        return self


class Conv2dConfig(Config):
    """Tuning choices of one launch: an implicit matrix product of N P Q rows, K columns and R S C terms."""

    BLOCK_M: Literal[16, 32, 64, 128, 256]
    """Output pixels of a tile."""
    BLOCK_N: Literal[16, 32, 64, 128, 256]
    """Filters of a tile."""
    BLOCK_K: Literal[16, 32, 64, 128]
    """Channels taken at a time."""
    num_warps: Literal[2, 4, 8, 16]
    num_stages: Literal[1, 2, 3, 4, 5, 6]
    """Blocks of x and w in flight."""


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def tiles(problem: Conv2dProblem, config: Conv2dConfig) -> int:
    return cdiv(problem.pixels, config.BLOCK_M) * cdiv(problem.K, config.BLOCK_N)


def accumulator_registers(config: Conv2dConfig, warp_size: int = 32) -> int:
    """fp32 accumulators that each thread holds."""
    return cdiv(config.BLOCK_M * config.BLOCK_N, warp_size * config.num_warps)


def least_shared(config: Conv2dConfig) -> int:
    """Bytes of shared memory that the compiler cannot do without: all stages but the one in registers."""
    return (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * ELEMENT_BYTES * (config.num_stages - 1)


def constraint(problem: Conv2dProblem, config: Conv2dConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    p, c, h = problem, config, hardware
    sides = (
        ("M", c.BLOCK_M, "pixels", p.pixels),
        ("N", c.BLOCK_N, "K", p.K),
        ("K", c.BLOCK_K, "C", p.C),
    )
    for name, block, what, size in sides:
        if block > max(64, _next_power_of_2(size)):
            return f"tile_{name}: BLOCK_{name} {block} is mostly padding for {what} {size}"
    threads = c.num_warps * h.warp_size
    if threads > 1024:
        return f"threads: {c.num_warps} warps of {h.warp_size} exceed the 1024 threads of a block"
    registers, most = accumulator_registers(c, h.warp_size), min(255, h.registers_per_sm // threads)
    if registers > most - 1:
        return (
            f"accumulator_registers: a {c.BLOCK_M}x{c.BLOCK_N} tile on {c.num_warps} warps needs {registers} "
            f"registers a thread for its accumulators alone, and {most} is all a thread can have"
        )
    if (shared := least_shared(c)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


def _next_power_of_2(n: int) -> int:
    return 1 << (n - 1).bit_length()


def candidates(problem: Conv2dProblem, hardware: Hardware) -> Iterator[Conv2dConfig]:
    """Configs worth naming, in a fixed order: tiles that the problem has room for (small ones only where 64x64 would
    leave SMs idle), warps with 16 to 128 accumulators a thread (two warps for tiles that have fewer)."""
    p, h = problem, hardware
    few = cdiv(p.pixels, 64) * cdiv(p.K, 64) < 2 * h.sms
    least = 16 if few else 64
    for bm, bn in product((16, 32, 64, 128, 256), repeat=2):
        if not _fits(bm, p.pixels, least) or not _fits(bn, p.K, min(least, 32)):
            continue
        for bk, warps, stages in product((16, 32, 64, 128), (2, 4, 8, 16), (2, 3, 4, 5)):
            held = bm * bn / (h.warp_size * warps)
            if not (16 <= held <= 128 or (held < 16 and warps == 2)):
                continue
            if bk > max(16, _next_power_of_2(p.C)) or (bk == 16 and p.C > 16):
                continue
            if stages > max(2, cdiv(p.C, bk) * p.R * p.S):
                continue
            yield Conv2dConfig(BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk, num_warps=warps, num_stages=stages)


def _fits(block: int, size: int, least: int) -> bool:
    return least <= block <= max(least, _next_power_of_2(size))
