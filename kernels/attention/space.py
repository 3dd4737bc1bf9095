"""Problem, config, static constraints, candidates and baselines of ``attention``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch.nn.attention import SDPBackend, sdpa_kernel

from kernels.gemm.gluon_space import has_gluon
from kernels.hardware import Hardware
from kernels.spec import Baseline, Config, Inputs, KernelSpec, Problem

ELEMENT_BYTES = 2
CONSUMERS, CONSUMER_ROWS = 2, 64
"""Number of groups of four computing warps in the family ``warp_specialized``, and the queries of each group: the rows
of one matrix instruction."""


class AttentionProblem(Problem):
    """out (B, H, S, D) = softmax(q (B, H, S, D) k^T / sqrt(D)) v, k and v (B, H / GROUP, S, D)."""

    dims: ClassVar[tuple[str, ...]] = ("B", "H", "S", "D")

    B: int = Field(default=4, ge=1, le=2**16)
    """Sequences."""
    H: int = Field(default=32, ge=1, le=2**16)
    """Query heads."""
    S: int = Field(default=4096, ge=1, le=2**20)
    """Positions of queries and of keys."""
    D: Literal[64, 128] = 128
    """Elements of a head."""
    causal: bool = True
    """Whether a position attends only to itself and to earlier positions."""
    GROUP: int = Field(default=1, ge=1, le=2**16)
    """Query heads that share a head of keys and values."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.H % self.GROUP:
            raise ValueError(f"GROUP {self.GROUP} does not divide the {self.H} heads: choose a divisor")
        if self.B * self.H * self.S >= 2**31:
            raise ValueError(f"{self.B} x {self.H} x {self.S} rows exceed 2147483647: make B, H or S smaller")
        return self


class AttentionConfig(Config):
    """Tuning choices of one launch. A field that a family does not use stays at its default."""

    family: Literal["pointer", "tma", "warp_specialized"]
    """How q, k and v are loaded: by pointer, by descriptor, or by descriptor in a separate warp."""
    BLOCK_M: Literal[16, 32, 64, 128, 256]
    """Queries of a program."""
    BLOCK_N: Literal[16, 32, 64, 128]
    """Keys that are taken at a time."""
    num_warps: Literal[2, 4, 8, 16]
    """Warps that compute; ``warp_specialized`` adds one that loads."""
    num_stages: Literal[1, 2, 3, 4]
    """Blocks of keys and values in flight."""
    PERSISTENT: Literal[False, True] = False
    """One program per SM, which takes several tiles, instead of one program per tile (``warp_specialized``)."""
    PINGPONG: Literal[False, True] = False
    """The groups of warps issue their products in turn (``warp_specialized``)."""


Configs = Iterator[AttentionConfig]


def accumulators(problem: AttentionProblem, config: AttentionConfig, warp_size: int) -> float:
    """fp32 registers per thread for the result's tile and the scores' tile."""
    return config.BLOCK_M * (problem.D + config.BLOCK_N) / (config.num_warps * warp_size)


def least_shared(problem: AttentionProblem, config: AttentionConfig, hardware: Hardware) -> int:
    """Least bytes of shared memory, for the keys and values in flight; one stage of them may be in registers. On AMD
    the weights also go through shared memory to the second product (seen in Triton 3.9)."""
    flight = max(1, config.num_stages - 1) * 2 * config.BLOCK_N * problem.D * ELEMENT_BYTES
    weights = config.BLOCK_M * config.BLOCK_N * ELEMENT_BYTES if hardware.backend == "hip" else 0
    return flight + (weights if config.num_stages > 1 else 0)


def ring_bytes(problem: AttentionProblem, config: AttentionConfig) -> int:
    """Bytes of shared memory of ``warp_specialized``, without barriers: queries, keys and values, and 8 KiB per
    consumer to rearrange the result for coalesced stores (seen in Triton 3.6 and 3.9)."""
    rows = config.BLOCK_M + 2 * config.num_stages * config.BLOCK_N
    return rows * problem.D * ELEMENT_BYTES + CONSUMERS * 8192


def constraint(problem: AttentionProblem, config: AttentionConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    p, c, h = problem, config, hardware
    for name, block in (("BLOCK_M", c.BLOCK_M), ("BLOCK_N", c.BLOCK_N)):
        if block > max(64, 1 << (p.S - 1).bit_length()):
            return f"tile: {name} {block} is mostly padding for {p.S} positions"
    if c.family == "warp_specialized":
        return _warp_specialized_constraint(problem, config, hardware)
    if c.PERSISTENT or c.PINGPONG:
        return f"warp_specialized: PERSISTENT and PINGPONG are choices of that family, {c.family} has neither"
    if c.family == "tma" and not h.has_tma:
        return f"tma_hardware: family tma needs compute capability 9.0 or later, {h.name} is {h.arch}"
    threads = c.num_warps * h.warp_size
    if threads > 1024:
        return f"threads: {c.num_warps} warps of {h.warp_size} exceed the 1024 threads of a block"
    most = min(255, h.registers_per_sm // threads)
    if (held := accumulators(p, c, h.warp_size)) > most - 24:
        return f"registers: result and scores hold {held:g} registers a thread, and {most} is all it can have"
    if (shared := least_shared(p, c, h)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


def _warp_specialized_constraint(problem: AttentionProblem, config: AttentionConfig, hardware: Hardware) -> str | None:
    p, c, h = problem, config, hardware
    if not has_gluon():
        return "gluon_missing: family warp_specialized needs a Triton with triton.experimental.gluon.nvidia.hopper"
    if h.arch != 90:
        return (
            f"gluon_hardware: family warp_specialized needs the warp-group instructions of compute capability 9.0, "
            f"{h.name} is {h.arch}"
        )
    if c.BLOCK_M != CONSUMERS * CONSUMER_ROWS or c.num_warps != 8:
        return (
            f"consumers: family warp_specialized has two groups of 4 warps and {CONSUMER_ROWS} queries each, "
            f"BLOCK_M 128 and num_warps 8, got {c.BLOCK_M} and {c.num_warps}"
        )
    if c.BLOCK_N < 64:
        return f"tile: family warp_specialized takes 64 or 128 keys at a time, got BLOCK_N {c.BLOCK_N}"
    if (shared := ring_bytes(p, c)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


def candidates(problem: AttentionProblem, hardware: Hardware) -> Configs:
    """Configs that are worth trying: those of the other families whose tiles take 24 to 200 registers a thread, and all
    of ``warp_specialized``."""
    for n, stages, persistent, pingpong in product((64, 128), (1, 2, 3, 4), (False, True), (False, True)):
        yield AttentionConfig(
            family="warp_specialized",
            BLOCK_M=CONSUMERS * CONSUMER_ROWS,
            BLOCK_N=n,
            num_warps=8,
            num_stages=stages,
            PERSISTENT=persistent,
            PINGPONG=pingpong,
        )
    families: tuple[Any, ...] = ("tma", "pointer") if hardware.has_tma else ("pointer",)
    blocks: Any = product(families, (64, 128, 256), (32, 64, 128), (4, 8, 16), (1, 2, 3, 4))
    for family, block_m, block_n, warps, stages in blocks:
        config = AttentionConfig(family=family, BLOCK_M=block_m, BLOCK_N=block_n, num_warps=warps, num_stages=stages)
        if 24 <= accumulators(problem, config, hardware.warp_size) <= 200:
            yield config


def default_config(problem: AttentionProblem, hardware: Hardware) -> AttentionConfig:
    """``warp_specialized`` if the GPU has the instructions for it. Otherwise 128 queries on eight warps if they fit,
    else 64 queries on four warps, with loads by descriptor if the GPU has descriptors."""
    roles = AttentionConfig(
        family="warp_specialized",
        BLOCK_M=CONSUMERS * CONSUMER_ROWS,
        BLOCK_N=128,
        num_warps=8,
        num_stages=2,
        PERSISTENT=True,
        PINGPONG=True,
    )
    plain = [
        AttentionConfig(family=family, BLOCK_M=m, BLOCK_N=n, num_warps=warps, num_stages=stages)
        for family in ("tma", "pointer")
        for m, n, warps, stages in ((128, 64, 8, 3), (64, 64, 4, 2), (64, 32, 4, 1))
    ]
    return next(c for c in (roles, *plain) if constraint(problem, c, hardware) is None)


def baselines(spec: KernelSpec[AttentionProblem, AttentionConfig]) -> list[Baseline[AttentionProblem]]:
    """PyTorch with its own choice of backend, then with each fused backend by name."""
    call = "scaled_dot_product_attention"
    return [
        Baseline("sdpa", f"{call}, backend by PyTorch's choice", _with(spec, None)),
        Baseline("flash", f"{call}, FlashAttention-2", _with(spec, SDPBackend.FLASH_ATTENTION)),
        Baseline("cudnn", f"{call}, cuDNN", _with(spec, SDPBackend.CUDNN_ATTENTION), missing=_no_cudnn),
    ]


def _with(
    spec: KernelSpec[AttentionProblem, AttentionConfig], backend: SDPBackend | None
) -> Callable[[AttentionProblem, Inputs], Callable[[], torch.Tensor]]:
    def prepare(problem: AttentionProblem, inputs: Inputs) -> Callable[[], torch.Tensor]:
        if backend is None:
            return lambda: spec.eager(problem, inputs)

        def call() -> torch.Tensor:
            with sdpa_kernel(backend):
                return spec.eager(problem, inputs)

        return call

    return prepare


def _no_cudnn(problem: AttentionProblem) -> str | None:
    if torch.version.hip is not None or not torch.backends.cudnn.is_available():
        return "this PyTorch has no cuDNN"
    if problem.S < 128:
        return f"cuDNN's attention is not asked for {problem.S} positions, 128 is the least"
    return None
