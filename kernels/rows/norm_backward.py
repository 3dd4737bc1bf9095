"""The base of the specs of ``rms_norm_backward`` and ``layer_norm_backward``: problem, config, space, launch.

There are two families:

- ``walk`` reads everything once. A few programs per SM take one group of whole rows after another, and keep their sums
  for dweight and dbias in registers.
- ``tiles`` reads everything twice, for rows that do not fit the registers. A first launch computes the numbers that a
  row needs; programs of the second launch own a block of columns and a share of the rows.

Both end with a short launch that adds the programs' sums. The launches overlap where the GPU can do that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar, Literal, TypeVar

import torch
import triton
from pydantic import Field

from kernels.defaults import UNIT, normal, shrunk
from kernels.hardware import Hardware
from kernels.rows.norm_backward_source import backward_terms, backward_tiles, backward_walk, sum_programs
from kernels.rows.spec import ELEMENT_BYTES, RowsProblem
from kernels.spec import Config, Inputs, KernelSpec
from kernels.triton import overlap

Tensor = torch.Tensor

HELD = 5
"""fp32 values of an element that a thread of ``walk`` holds: x, grad, weight and two sums."""
MOST_HELD = 180
"""Registers of a thread that may hold elements; the rest of 255 hold addresses and temporaries."""
SUM_WIDTH, SUM_HEIGHT = 32, 128
"""Columns of a program of the last launch, and rows that it reads at a time: 128 bytes of a row, 16 values a thread."""


class NormBackwardProblem(RowsProblem):
    """dx (M, N), dweight (N) and, for layer_norm, dbias (N) from grad (M, N), x (M, N) and weight (N)."""

    M: int = Field(default=16384, ge=1, le=2**31 - 1)
    N: int = Field(default=4096, ge=4, le=2**20)
    """At least 4: of fewer elements dx is a difference of numbers that are equal but for their rounding."""
    dtype: Literal["fp16", "bf16"] = "bf16"
    eps: float = Field(default=1e-6, gt=0, le=1)
    saved: bool = True
    """Whether the statistics of the forward pass are given, as in PyTorch's autograd; otherwise x tells them."""


class NormBackwardConfig(Config):
    """Tuning choices of one launch. A field that a family does not use stays at its default."""

    family: Literal["walk", "tiles"]
    """``walk``: programs take whole rows, and everything is read once. ``tiles``: programs take blocks of columns, and
    everything is read twice."""
    ROWS: Literal[1, 2, 4, 8]
    """Rows that a program takes at a time."""
    num_warps: Literal[1, 2, 4, 8, 16, 32]
    """Warps of a program."""
    PER_SM: Literal[1, 2, 3, 4, 6, 8, 16]
    """Programs per SM."""
    num_stages: Literal[1, 2, 3, 4] = 1
    """Groups of rows in flight."""
    BLOCK_N: Literal[0, 128, 256, 512, 1024, 2048, 4096] = 0
    """Columns of a program (``tiles``); 0 means the whole row (``walk``)."""
    STREAM: Literal[0, 1, 2] = 0
    """Cache hints. 1: loads tell the caches that x and grad are not read again. 2: also, stores tell them that dx is
    not read soon."""


NP = TypeVar("NP", bound=NormBackwardProblem)


def width(problem: NormBackwardProblem, config: NormBackwardConfig) -> int:
    """Columns of a program's tile: a power of two."""
    return config.BLOCK_N or max(16, 1 << (problem.N - 1).bit_length())


def per_thread(problem: NormBackwardProblem, config: NormBackwardConfig, hardware: Hardware) -> float:
    """Elements of a tile that each thread holds."""
    return config.ROWS * width(problem, config) / (config.num_warps * hardware.warp_size)


def programs(problem: NormBackwardProblem, config: NormBackwardConfig, hardware: Hardware) -> int:
    """Programs among which the rows are divided: all of them in ``walk``, those of one block of columns in
    ``tiles``."""
    blocks = triton.cdiv(problem.N, width(problem, config))
    most: int = min(triton.cdiv(problem.M, config.ROWS), max(1, config.PER_SM * hardware.sms // blocks))
    return most


class NormBackward(KernelSpec[NP, NormBackwardConfig]):
    """Gradients of a norm over rows. Inputs are (grad, x, weight, mean or None, rstd or None), results are
    (dx, dweight) and, for layer_norm, dbias. The statistics are fp32 (M)."""

    config_type = NormBackwardConfig
    metric = "gbps"
    centred: ClassVar[bool]
    """Whether the norm subtracts the mean and has a bias."""

    def default_config(self, problem: NP, hardware: Hardware) -> NormBackwardConfig:
        """One row at a time with 16 elements per thread, on two programs per SM; tiles beyond 8,192 elements."""
        if problem.N <= 8192:
            warps: Any = min(16, 1024 // hardware.warp_size, max(1, 1 << max(0, (problem.N - 1).bit_length() - 9)))
            return NormBackwardConfig(family="walk", ROWS=1, num_warps=warps, PER_SM=2)
        return NormBackwardConfig(family="tiles", ROWS=4, num_warps=8, PER_SM=4, BLOCK_N=1024)

    def candidates(self, problem: NP, hardware: Hardware) -> Iterator[NormBackwardConfig]:
        """``walk`` with 4 to 32 elements of one row per thread, or 4 to 16 of several rows; ``tiles`` with 4 to 16; at
        least 256 threads on an SM."""
        for rows, warps, per_sm in product((1, 2, 4, 8), (1, 2, 4, 8, 16, 32), (1, 2, 3, 4, 6, 8, 16)):
            if rows > problem.M or per_sm * warps * hardware.warp_size < 256:
                continue
            walk = NormBackwardConfig(family="walk", ROWS=rows, num_warps=warps, PER_SM=per_sm)
            held, least = per_thread(problem, walk, hardware), 4 if rows > 1 or warps > 1 else 0
            if least <= held <= (32 if rows == 1 else 16):
                for stages, stream in product((1, 2, 3), (0, 1, 2)):
                    yield walk.model_copy(update={"num_stages": stages, "STREAM": stream})
        for block, rows, warps, per_sm in product(
            (128, 256, 512, 1024, 2048, 4096), (1, 2, 4, 8), (2, 4, 8), (2, 4, 8)
        ):
            if block >= 2 * problem.N or rows > problem.M:
                continue
            tiles = NormBackwardConfig(family="tiles", ROWS=rows, num_warps=warps, PER_SM=per_sm, BLOCK_N=block)
            if 4 <= per_thread(problem, tiles, hardware) <= 16:
                for stages, stream in product((1, 3), (0, 1)):
                    yield tiles.model_copy(update={"num_stages": stages, "STREAM": stream})

    def promising(self, problem: NP, hardware: Hardware) -> list[NormBackwardConfig]:
        """``walk`` over single rows with 8 or 16 elements per thread: five fp32 values of each then leave room for two
        to four programs per SM, whose loads, reductions and stores overlap."""
        found = []
        for elements, per_sm, stages in product((16, 8), (2, 3, 1, 4), (1, 2)):
            warps: Any = problem.N // (elements * hardware.warp_size)
            if warps in (2, 4, 8, 16):
                found.append(
                    NormBackwardConfig(
                        family="walk", ROWS=1, num_warps=warps, PER_SM=per_sm, num_stages=stages, STREAM=1
                    )
                )
        return [c for c in found if self.constraint(problem, c, hardware) is None][:10]

    def constraint(self, problem: NP, config: NormBackwardConfig, hardware: Hardware) -> str | None:
        """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
        c = config
        if (c.family == "walk") != (c.BLOCK_N == 0):
            return f"block: family {c.family} takes {_TAKES[c.family]}, got BLOCK_N {c.BLOCK_N}"
        threads = c.num_warps * hardware.warp_size
        if threads > 1024:
            return f"threads: {c.num_warps} warps of {hardware.warp_size} exceed the 1024 threads of a block"
        if c.PER_SM * threads > hardware.threads_per_sm:
            return f"occupancy: {c.PER_SM} programs of {threads} threads exceed the {hardware.threads_per_sm} of an SM"
        held = HELD * per_thread(problem, c, hardware)
        most = min(MOST_HELD, hardware.registers_per_sm // threads - 32)
        if held > most:
            return (
                f"registers: {c.ROWS} x {width(problem, c)} elements on {c.num_warps} warps are {held:g} values a "
                f"thread, and {most} is all a thread can hold"
            )
        waiting = 2 * (c.num_stages - 1) * c.ROWS * width(problem, c) * ELEMENT_BYTES
        if waiting > hardware.shared_per_block or waiting * c.PER_SM > hardware.shared_per_sm:
            return (
                f"shared_memory: {c.PER_SM} programs with {waiting} bytes in flight each exceed an SM's shared memory"
            )
        return None

    def inputs(self, problem: NP, generator: torch.Generator | None, device: str) -> Inputs:
        """grad and x (M, N) standard normal, x of layer_norm with mean 1/2; weight (N) about 1; the statistics of x."""
        shape, dtype = (problem.M, problem.N), problem.torch_dtype
        grad, x = (normal(shape, dtype, generator, device) for _ in range(2))
        weight = normal((problem.N,), dtype, generator, device, scale=0.25).add_(1.0)
        if self.centred:
            x.add_(0.5)
        if not problem.saved:
            return grad, x, weight, None, None
        mean, rstd = (t.contiguous() for t in self.statistics(problem, x.float()))
        return grad, x, weight, mean if self.centred else None, rstd

    def statistics(self, problem: NP, wide: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (0 for rms_norm) and 1 / sqrt(variance + eps) of the rows of `wide`, (M) each."""
        if self.centred:
            variance, mean = torch.var_mean(wide, -1, correction=0)
        else:
            variance, mean = wide.square().mean(-1), torch.zeros_like(wide[:, 0])
        return mean, torch.rsqrt(variance + problem.eps)

    def output(self, problem: NP, device: str) -> Any:
        """dx (M, N), dweight (N) and, for layer_norm, dbias (N)."""
        shapes = [(problem.M, problem.N), *([(problem.N,)] * (2 if self.centred else 1))]
        return tuple(torch.empty(shape, dtype=problem.torch_dtype, device=device) for shape in shapes)

    def formula(self, problem: NP, inputs: Inputs) -> tuple[Tensor, ...]:
        """The gradients by elementary operations: in fp32, or in float64 for float64 inputs."""
        grad, x, weight, given_mean, given_rstd = inputs
        assert grad is not None
        assert x is not None
        assert weight is not None
        kind = torch.promote_types(x.dtype, torch.float32)
        wide, wide_grad = x.to(kind), grad.to(kind)
        mean, rstd = (given_mean, given_rstd) if given_rstd is not None else self.statistics(problem, wide)
        rstd = rstd.to(kind)[:, None]
        xhat = (wide if mean is None else wide - mean.to(kind)[:, None]) * rstd
        scaled = wide_grad * weight.to(kind)
        inner = scaled - xhat * (scaled * xhat).mean(-1, keepdim=True)
        if self.centred:
            inner = inner - scaled.mean(-1, keepdim=True)
        sums = [(wide_grad * xhat).sum(0), *([wide_grad.sum(0)] if self.centred else [])]
        return ((inner * rstd).to(x.dtype), *(t.to(weight.dtype) for t in sums))

    def tolerance(self, problem: NP) -> float:
        """Two unit roundoffs u = 2^-11 (fp16) or 2^-8 (bf16), of which a kernel that computes in fp32 needs one, and
        the errors of fp32 arithmetic: a sixteenth of u for second-order terms, and 2^-24 for each step of the sums,
        which run in trees over a block and in loops over at most N/512 blocks and M/256 groups of rows."""
        return UNIT[problem.dtype] * (2 + 1 / 16) + (64 + problem.N / 512 + problem.M / 256) * 2.0**-24

    def flops(self, problem: NP) -> int:
        """About twelve operations per element (layer_norm: fifteen)."""
        return (15 if self.centred else 12) * problem.M * problem.N

    def bytes(self, problem: NP) -> int:
        """grad and x read once, dx written once; the statistics, the weight and its gradients besides."""
        rows = 4 * problem.M * (2 if self.centred else 1) if problem.saved else 0
        columns = ELEMENT_BYTES * problem.N * (3 if self.centred else 2)
        return 3 * ELEMENT_BYTES * problem.M * problem.N + rows + columns

    def launch(self, problem: NP, config: NormBackwardConfig, inputs: Inputs, out: Any, hardware: Hardware) -> None:
        """The workspace comes from the caching allocator, as in ``kernels/gemm/split_k.py``."""
        grad, x, weight, mean, rstd = inputs
        assert x is not None
        dx, dweight, *dbias = out
        M, N, block = problem.M, problem.N, width(problem, config)
        shares, blocks = programs(problem, config, hardware), triton.cdiv(N, block)
        early = overlap.possible(hardware)
        sums = torch.empty((1 + len(dbias), shares, N), dtype=torch.float32, device=x.device)
        started = {"OVERLAP": early, "num_warps": config.num_warps, **overlap.attribute(early)}
        norm = {"CENTRED": self.centred, "SAVED": problem.saved}
        tile = {
            "PROGRAMS": shares,
            "STAGES": config.num_stages,
            "ROWS": config.ROWS,
            "BLOCK_N": block,
            "EVEN": N % block == 0 and M % config.ROWS == 0,
            "READ": "evict_first" if config.STREAM > 0 else "",
            "WRITE": ".cs" if config.STREAM > 1 else "",
        }
        given = (grad, x, weight, mean, rstd)
        if config.family == "walk":
            backward_walk[(shares,)](*given, dx, sums, M, N, problem.eps, **norm, **tile, **started)
        else:
            terms = torch.empty((4, M), dtype=torch.float32, device=x.device)
            whole = {"BLOCK_N": block, "EVEN": N % block == 0}
            backward_terms[(M,)](*given, terms, M, N, problem.eps, **norm, **whole, **started)
            backward_tiles[(shares * blocks,)](
                grad, x, weight, terms, dx, sums, M, N, CENTRED=self.centred, **tile, **started
            )
        sum_programs[(triton.cdiv(N, SUM_WIDTH), 1 + len(dbias))](
            sums,
            dweight,
            dbias[0] if dbias else dweight,
            N,
            PROGRAMS=shares,
            HEIGHT=min(SUM_HEIGHT, triton.next_power_of_2(shares)),
            WIDTH=SUM_WIDTH,
            OVERLAP=early,
            num_warps=8,
            **overlap.attribute(early),
        )

    def reduced(self, problem: NP, config: NormBackwardConfig) -> NP:
        """Seven groups of rows, so that the programs of three SMs take several, the last with the true shape's
        remainder; rows are whole up to 8,192 elements, or have up to three blocks (``tiles``)."""
        block, most = (config.BLOCK_N, 3) if config.BLOCK_N else (4096, 2)
        return problem.model_copy(
            update={
                "M": shrunk(problem.M, config.ROWS, 6 * config.PER_SM + 1),
                "N": shrunk(problem.N, block, most),
            }
        )


_TAKES = {"walk": "whole rows, so BLOCK_N must be 0", "tiles": "blocks of columns, so BLOCK_N must not be 0"}
