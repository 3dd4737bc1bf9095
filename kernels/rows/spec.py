"""The base of the row-wise kernels (softmax, rms_norm, layer_norm): problem, config, space, launch geometry.

There are three families:

- ``row`` keeps whole rows in registers and reads each element once.
- ``walk`` does the same with a few programs per SM. Each program takes one group of rows after another: the next rows
  are loaded while the current ones are computed, and data that all rows share is loaded once.
- ``loop`` reads a row in blocks, twice. The second time the row comes from the L2. This family serves rows that do not
  fit the registers. For rows that do, it keeps more programs, and so more loads, in flight on an SM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch
import triton
import triton.language as tl
from pydantic import Field, model_validator

from kernels.defaults import UNIT, normal, shrunk
from kernels.hardware import Hardware
from kernels.spec import Config, Inputs, KernelSpec, Problem
from kernels.triton import overlap

ELEMENT_BYTES = 2
MOST_PER_THREAD = 128
"""Most fp32 values of a row that a thread can hold: with addresses and as many temporaries they fill 255 registers."""
BLOCKS = (512, 1024, 2048, 4096, 8192, 16384)


@triton.jit
def within(rows, cols, M, N, ROWS: tl.constexpr, BLOCK_N: tl.constexpr, EVEN: tl.constexpr):
    """Mask of a tile at `rows` and `cols`. EVEN means that every tile is inside; the compiler then drops the mask,
    because it knows that it is true."""
    return tl.full((ROWS, BLOCK_N), True, tl.int1) if EVEN else (rows < M) & (cols < N)


@triton.jit
def below(cols, N, BLOCK_N: tl.constexpr, EVEN: tl.constexpr):
    """Mask of the columns alone; EVEN as for ``within``."""
    return tl.full((1, BLOCK_N), True, tl.int1) if EVEN else cols < N


class RowsProblem(Problem):
    """M rows of N elements, contiguous."""

    dims: ClassVar[tuple[str, ...]] = ("M", "N")

    M: int = Field(default=32768, ge=1, le=2**31 - 1)
    N: int = Field(default=4096, ge=1, le=2**20)

    @model_validator(mode="after")
    def _fits_a_memory(self) -> Self:
        if self.M * self.N > 2**38:
            raise ValueError(f"{self.M} x {self.N} elements are more than any GPU holds: make M or N smaller")
        return self


class RowsConfig(Config):
    """Tuning choices of one launch. A field that a family does not use stays at its default."""

    family: Literal["row", "walk", "loop"]
    """``row``: a program holds whole rows in registers. ``walk``: a few programs per SM walk over the rows, the next
    ones in flight. ``loop``: a program reads its rows twice, in blocks."""
    ROWS: Literal[1, 2, 4, 8, 16, 32]
    """Rows of one program."""
    num_warps: Literal[1, 2, 4, 8, 16, 32]
    """Warps of a program."""
    BLOCK_N: Literal[0, 512, 1024, 2048, 4096, 8192, 16384] = 0
    """Elements of a row that are taken at a time (``loop``); 0 means the whole row."""
    num_stages: Literal[1, 2, 3, 4] = 1
    """Groups of rows in flight (``walk``)."""
    PER_SM: Literal[0, 1, 2, 4, 8, 16] = 0
    """Programs per SM (``walk``)."""
    STREAM: Literal[0, 1, 2] = 0
    """Cache hints. 0: none. 1: loads tell the caches that a row is not read again; in a ``loop`` the second reading
    does so, and the first reading tells the caches to keep the row. 2: also, stores tell the caches that the result is
    not read soon."""


P = TypeVar("P", bound=RowsProblem)


def width(problem: RowsProblem, config: RowsConfig) -> int:
    """Columns of a program's tile: a power of two."""
    return config.BLOCK_N if config.family == "loop" else max(16, 1 << (problem.N - 1).bit_length())


def tile(problem: RowsProblem, config: RowsConfig) -> dict[str, Any]:
    """The arguments of every family's kernels other than tensors and sizes."""
    block = width(problem, config)
    whole = problem.N % block == 0 if config.family == "loop" else block == problem.N
    return {
        "ROWS": config.ROWS,
        "BLOCK_N": block,
        "EVEN": whole and problem.M % config.ROWS == 0,
        "READ": "evict_first" if config.STREAM > 0 else "",
        "WRITE": ".cs" if config.STREAM > 1 else "",
        "num_warps": config.num_warps,
    }


def walkers(problem: RowsProblem, config: RowsConfig, hardware: Hardware) -> int:
    """Number of programs of a ``walk``."""
    return min(triton.cdiv(problem.M, config.ROWS), config.PER_SM * hardware.sms)


def per_thread(problem: RowsProblem, config: RowsConfig, hardware: Hardware) -> float:
    """Elements of a tile that each thread holds."""
    return config.ROWS * width(problem, config) / (config.num_warps * hardware.warp_size)


def constraint(problem: RowsProblem, config: RowsConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    c = config
    if c.family == "row" and (c.BLOCK_N, c.num_stages, c.PER_SM) != (0, 1, 0):
        return (
            f"unused_field: family row has no loop, so BLOCK_N must be 0, num_stages 1 and PER_SM 0, "
            f"got {c.BLOCK_N}, {c.num_stages} and {c.PER_SM}"
        )
    if c.family == "walk" and (c.BLOCK_N != 0 or c.PER_SM == 0):
        return (
            f"walk: family walk takes whole rows, by a few programs per SM, so BLOCK_N must be 0 and PER_SM must not, "
            f"got {c.BLOCK_N} and {c.PER_SM}"
        )
    if c.family == "loop" and c.BLOCK_N == 0:
        return "block: family loop takes a row in blocks, so BLOCK_N must not be 0"
    if c.family == "loop" and (c.num_stages, c.PER_SM) != (1, 0):
        return (
            f"unused_field: family loop has a program for each group of rows and loads a block where it is used, so "
            f"num_stages must be 1 and PER_SM 0, got {c.num_stages} and {c.PER_SM}"
        )
    threads = c.num_warps * hardware.warp_size
    if threads > 1024:
        return f"threads: {c.num_warps} warps of {hardware.warp_size} exceed the 1024 threads of a block"
    held = per_thread(problem, c, hardware)
    most = min(MOST_PER_THREAD, hardware.registers_per_sm // threads - 32)
    if held > most:
        return (
            f"registers: {c.ROWS} x {width(problem, c)} elements on {c.num_warps} warps are {held:g} a thread, "
            f"and {most} is all a thread can hold"
        )
    if c.family == "walk" and c.PER_SM * threads > hardware.threads_per_sm:
        return f"occupancy: {c.PER_SM} programs of {threads} threads exceed the {hardware.threads_per_sm} of an SM"
    waiting = (c.num_stages - 1) * c.ROWS * width(problem, c) * ELEMENT_BYTES if c.family == "walk" else 0
    if waiting * c.PER_SM > hardware.shared_per_sm or waiting > hardware.shared_per_block:
        return f"shared_memory: {c.PER_SM} programs with {waiting} bytes in flight each exceed an SM's shared memory"
    return None


def candidates(problem: RowsProblem, hardware: Hardware) -> Iterator[RowsConfig]:
    """Configs that are worth trying: 2 to 64 elements per thread (a 16-byte access takes 8), and no program with mostly
    missing rows. A ``walk`` needs at least two steps per program and eight elements per thread. A ``loop`` takes blocks
    no longer than a row; with a block of the whole row it keeps no registers between the two readings."""
    for rows in (1, 2, 4, 8, 16, 32):
        if rows > max(1, problem.M):
            break
        for warps in (1, 2, 4, 8, 16, 32):
            whole = RowsConfig(family="row", ROWS=rows, num_warps=warps)
            if not _worth_it(problem, whole, hardware):
                continue
            for stream in (0, 1, 2):
                yield whole.model_copy(update={"STREAM": stream})
            if not 8 <= per_thread(problem, whole, hardware) <= 32:
                continue
            for per_sm, stages in product((2, 4, 8, 16), (1, 2, 3)):
                enough = per_sm * warps * hardware.warp_size >= 512  # fewer threads cannot keep the memory busy
                if enough and 2 * per_sm * hardware.sms * rows <= problem.M:
                    walk = {"family": "walk", "PER_SM": per_sm, "num_stages": stages, "STREAM": 1}
                    yield whole.model_copy(update=walk)
    for block in (b for b in BLOCKS if b <= problem.N):
        for rows in (r for r in (1, 2, 4) if r <= max(1, problem.M)):
            for warps, stream in product((2, 4, 8, 16, 32), (0, 1)):
                looped = RowsConfig(family="loop", ROWS=rows, num_warps=warps, BLOCK_N=block, STREAM=stream)
                if _worth_it(problem, looped, hardware):
                    yield looped


def _worth_it(problem: RowsProblem, config: RowsConfig, hardware: Hardware) -> bool:
    held = per_thread(problem, config, hardware)
    smallest = config.ROWS == 1 and config.num_warps == 1
    return held <= 64 and (held >= 2 or smallest)


class Rows(KernelSpec[P, RowsConfig]):
    """A kernel over rows, measured in GB/s. Its first input is x (M, N)."""

    config_type = RowsConfig
    metric = "gbps"
    kernels: ClassVar[Mapping[str, Any]]
    """The Triton kernel of each family."""
    roundings: ClassVar[int] = 1
    """Number of roundings to the problem's dtype, in the kernel or in eager PyTorch."""

    def default_problem(self) -> P:
        """32,768 rows of 4,096: 256 MiB in, 256 MiB out."""
        return self.problem_type()

    def default_config(self, problem: P, hardware: Hardware) -> RowsConfig:
        """One row per program with 16 elements per thread: in registers up to 16,384 elements, in a loop beyond."""
        fitting = 1 << max(0, (problem.N - 1).bit_length() - 9)
        warps: Any = min(1024 // hardware.warp_size, 16, max(1, fitting))
        if problem.N <= 16384:
            return RowsConfig(family="row", ROWS=1, num_warps=warps)
        return RowsConfig(family="loop", ROWS=1, num_warps=8, BLOCK_N=4096, STREAM=1)

    def candidates(self, problem: P, hardware: Hardware) -> Iterator[RowsConfig]:
        return candidates(problem, hardware)

    def constraint(self, problem: P, config: RowsConfig, hardware: Hardware) -> str | None:
        return constraint(problem, config, hardware)

    def inputs(self, problem: P, generator: torch.Generator | None, device: str) -> Inputs:
        """x (M, N), standard normal."""
        return (normal((problem.M, problem.N), problem.torch_dtype, generator, device),)

    def output(self, problem: P, device: str) -> torch.Tensor:
        return torch.empty((problem.M, problem.N), dtype=problem.torch_dtype, device=device)

    def tolerance(self, problem: P) -> float:
        """``roundings`` times the unit roundoff u = 2^-11 (fp16) or 2^-8 (bf16), plus the errors of the fp32
        arithmetic: sums run in a tree over a block and in a loop over at most N/512 blocks, 2^-24 each; exponentials,
        roots and quotients err by some 2^-22. With second-order terms these are a sixteenth of u and (32 + N/512) *
        2^-24.

        A wrong kernel errs by more: summing in fp16 by u sqrt(N/16), leaving out a column by about 1/sqrt(N)."""
        unit = UNIT[problem.dtype]
        return unit * (self.roundings + 1 / 16) + (32 + problem.N / 512) * 2.0**-24

    def flops(self, problem: P) -> int:
        """About five operations per element (difference, exponential or square, two sums, product)."""
        return 5 * problem.M * problem.N

    def bytes(self, problem: P) -> int:
        """x read once and the result written once. Data that all rows share are not counted."""
        return 2 * ELEMENT_BYTES * problem.M * problem.N

    def arguments(self, problem: P, inputs: Inputs, out: torch.Tensor) -> tuple[Any, ...]:
        """The first arguments of the kernels of all families: tensors, sizes, constants of the problem."""
        return (*inputs, out, problem.M, problem.N)

    def launch(self, problem: P, config: RowsConfig, inputs: Inputs, out: torch.Tensor, hardware: Hardware) -> None:
        kernel = self.kernels[config.family]
        arguments, choices = self.arguments(problem, inputs, out), tile(problem, config)
        early = overlap.possible(hardware)
        choices |= {"OVERLAP": early, **overlap.attribute(early)}
        if config.family == "walk":
            programs = walkers(problem, config, hardware)
            choices |= {"PROGRAMS": programs, "STAGES": config.num_stages}
            kernel[(programs,)](*arguments, **choices)
        else:
            kernel[(triton.cdiv(problem.M, config.ROWS),)](*arguments, **choices)

    def reduced(self, problem: P, config: RowsConfig) -> P:
        """A smaller problem: up to two groups of rows, the last with the true shape's remainder. A ``walk`` has seven
        groups, so that a GPU of three SMs takes several steps. Rows are whole (up to 8,192) or have up to three blocks
        (``loop``)."""
        block = config.BLOCK_N if config.family == "loop" else 4096
        most = 3 if config.family == "loop" else 2
        groups = 7 if config.family == "walk" else 2
        return problem.model_copy(
            update={"M": shrunk(problem.M, config.ROWS, groups), "N": shrunk(problem.N, block, most)}
        )
