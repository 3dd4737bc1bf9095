"""Problem and config of ``fused_linear_cross_entropy``, its candidates and constraints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kernels.gemm import space
from kernels.gemm.config import ELEMENT_BYTES, GemmConfig, GemmProblem, cdiv
from kernels.hardware import Hardware
from kernels.spec import Config, Problem

MOST_LOGITS = 2**31
"""Logits of one chunk: offsets within a chunk have 31 bits in the products by pointers."""


class CrossEntropyProblem(Problem):
    """Mean cross-entropy of x (M, K) @ weight (N, K)^T against target (M), with the gradients for x and weight."""

    dims: ClassVar[tuple[str, ...]] = ("M", "N", "K")

    M: int = Field(default=4096, ge=1, le=2**24)
    """Tokens."""
    N: int = Field(default=128256, ge=1, le=2**24)
    """Words of the vocabulary."""
    K: int = Field(default=4096, ge=1, le=2**20)
    """Hidden size."""
    dtype: Literal["fp16", "bf16"] = "bf16"
    """With fp16, gradients of the logits below 6e-8 vanish, as they do in PyTorch: scale the loss."""
    ignore_index: int = Field(default=-100, ge=-(2**31), le=2**31 - 1)
    """Rows with this target count for nothing."""

    @model_validator(mode="after")
    def _fits_a_memory(self) -> Self:
        largest = max(self.M * self.K, self.N * self.K)
        if largest > 2**38:
            raise ValueError(f"one matrix has {largest} elements, more than any GPU holds: make M, N or K smaller")
        return self


class CrossEntropyConfig(Config):
    """Tuning choices of one call. The products of x and weight^T and of the logits' gradient and weight are those of
    ``kernels/gemm``; the third one (``WEIGHT_…``) is in ``kernels/cross_entropy/weight_source.py``."""

    family: Literal["pointer", "tma", "persistent_tma", "warp_specialized"]
    """That of the first two products; the third one uses descriptors in all but ``pointer``."""
    CHUNKS: Literal[1, 2, 4, 8, 16, 32]
    """Parts in which the rows are taken. The logits of one part are in memory at a time."""
    BLOCK_M: Literal[64, 128, 256]
    """Rows of a tile of the first two products."""
    BLOCK_N: Literal[64, 128, 256]
    """Columns of such a tile."""
    BLOCK_K: Literal[32, 64, 128]
    """Length of the pieces of the summed dimension that are multiplied at a time."""
    GROUP_M: Literal[4, 8, 16]
    """Tiles along M that come before the next column of tiles; it sets which tiles share L2."""
    num_warps: Literal[4, 8]
    """Warps that multiply; ``warp_specialized`` adds one that loads."""
    num_stages: Literal[2, 3, 4, 5]
    """Tiles of both operands in flight."""
    EPILOGUE_SUBTILE: Literal[1, 2, 4] = 1
    """Pieces in which a tile is stored (``persistent_tma``, ``warp_specialized``)."""
    WEIGHT_N: Literal[64, 128, 256] = 128
    """Rows of a tile of the weight's gradient."""
    WEIGHT_K: Literal[64, 128, 256] = 128
    """Columns of a tile of the weight's gradient."""
    WEIGHT_WARPS: Literal[4, 8] = 8
    """Warps of a program of the weight's gradient."""
    WEIGHT_STAGES: Literal[2, 3, 4] = 3
    """Tiles of both operands in flight in the weight's gradient."""
    WEIGHT_PERSISTENT: Literal[False, True] = False
    """One program per SM that takes several tiles, instead of one program per tile."""
    ROW_BLOCK: Literal[1024, 2048, 4096, 8192] = 4096
    """Logits of a row that are taken at a time."""
    ROW_WARPS: Literal[4, 8, 16] = 8
    """Warps of a program that takes a row of logits."""
    ROW_PROGRAMS: Literal[1, 2, 4] = 2
    """Rows under way per SM."""


WEIGHT_STEP = 64
"""Rows of a chunk that a step of the weight's gradient takes."""


def chunk_rows(problem: CrossEntropyProblem, config: CrossEntropyConfig) -> int:
    """Rows of a chunk: whole tiles, all chunks but the last alike."""
    return min(problem.M, cdiv(cdiv(problem.M, config.CHUNKS), config.BLOCK_M) * config.BLOCK_M)


def logit_stride(problem: CrossEntropyProblem) -> int:
    """Elements between rows of logits: a multiple of 16 bytes, as descriptors want it."""
    return cdiv(problem.N, 8) * 8


def gemm_config(config: CrossEntropyConfig) -> GemmConfig:
    """The config of the first two products."""
    fields = ("family", "BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP_M", "num_warps", "num_stages", "EPILOGUE_SUBTILE")
    flatten = {"FLATTEN": True} if config.family == "persistent_tma" else {}
    return GemmConfig.model_validate({name: getattr(config, name) for name in fields} | flatten)


def gemm_problems(problem: CrossEntropyProblem, config: CrossEntropyConfig) -> tuple[GemmProblem, GemmProblem]:
    """The first two products of a chunk: logits = x @ weight^T, dx = dlogits @ weight."""
    rows, across = chunk_rows(problem, config), logit_stride(problem)
    return (
        GemmProblem(M=rows, N=across, K=problem.K, dtype=problem.dtype, b_layout="col"),
        GemmProblem(M=rows, N=problem.K, K=across, dtype=problem.dtype),
    )


def by_descriptors(config: CrossEntropyConfig) -> bool:
    return config.family != "pointer"


def weight_pieces(config: CrossEntropyConfig) -> int:
    """Pieces in which a tile of the weight's gradient is stored: at most 64 columns each where programs are
    persistent, so that the staging buffer leaves room for the loads of the next tile."""
    return max(1, config.WEIGHT_K // 64) if config.WEIGHT_PERSISTENT else 1


def weight_shared(config: CrossEntropyConfig) -> int:
    """The least bytes of shared memory of the third product: its operands in flight and a staging buffer."""
    stage = (config.WEIGHT_N + config.WEIGHT_K) * WEIGHT_STEP * ELEMENT_BYTES
    staging = config.WEIGHT_N * config.WEIGHT_K * ELEMENT_BYTES // weight_pieces(config)
    return max(stage * config.WEIGHT_STAGES + (staging if config.WEIGHT_PERSISTENT else 0), staging)


def constraint(problem: CrossEntropyProblem, config: CrossEntropyConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    c, h = config, hardware
    for given, which in zip(gemm_problems(problem, c), ("logits", "dx"), strict=True):
        why = space.constraint(given, gemm_config(c), h)
        if why is not None:
            return f"{why} (the product for {which})"
    if c.family == "pointer" and c.WEIGHT_PERSISTENT:
        return "unused_field: family pointer has a program for each tile, so WEIGHT_PERSISTENT must be False"
    if (logits := chunk_rows(problem, c) * logit_stride(problem)) >= MOST_LOGITS:
        return f"chunk: {logits} logits of a chunk exceed {MOST_LOGITS}: use more CHUNKS than {c.CHUNKS}"
    if c.CHUNKS > 1 and cdiv(problem.M, c.CHUNKS) <= c.BLOCK_M // 2:
        return f"chunk: {c.CHUNKS} chunks of {problem.M} rows are mostly smaller than BLOCK_M {c.BLOCK_M}"
    threads = c.WEIGHT_WARPS * h.warp_size
    held = c.WEIGHT_N * c.WEIGHT_K // threads
    if held > 128:
        return f"weight_registers: {c.WEIGHT_N}x{c.WEIGHT_K} on {c.WEIGHT_WARPS} warps are {held} a thread, 128 at most"
    if (needed := weight_shared(c)) > h.shared_per_block:
        return f"weight_shared_memory: at least {needed} bytes needed, a block of {h.name} has {h.shared_per_block}"
    if c.ROW_WARPS * h.warp_size > 1024:
        return f"threads: {c.ROW_WARPS} warps of {h.warp_size} exceed the 1024 threads of a block"
    if (width := c.ROW_BLOCK // (c.ROW_WARPS * h.warp_size)) > 32:
        return f"row_registers: {c.ROW_BLOCK} logits on {c.ROW_WARPS} warps are {width} a thread, 32 at most"
    return None


ROW_CHOICES = ((4096, 8, 2), (8192, 16, 1), (8192, 16, 2), (8192, 8, 2), (4096, 8, 4))
"""ROW_BLOCK, ROW_WARPS, ROW_PROGRAMS."""
WEIGHT_CHOICES = ((128, 256, 8, 3, True), (128, 128, 8, 3, False), (128, 128, 4, 3, False), (256, 128, 8, 3, True))
"""WEIGHT_N, WEIGHT_K, WEIGHT_WARPS, WEIGHT_STAGES, WEIGHT_PERSISTENT."""
TILES: tuple[tuple[str, int, int, int, int, int], ...] = (
    ("warp_specialized", 128, 256, 8, 4, 4),
    ("warp_specialized", 128, 128, 8, 5, 2),
    ("persistent_tma", 128, 256, 8, 3, 2),
    ("persistent_tma", 128, 128, 8, 4, 1),
    ("tma", 128, 256, 8, 3, 1),
    ("tma", 128, 128, 8, 3, 1),
    ("pointer", 128, 128, 8, 3, 1),
    ("pointer", 64, 128, 4, 3, 1),
    ("pointer", 64, 64, 4, 3, 1),
)
"""family, BLOCK_M, BLOCK_N, num_warps, num_stages, EPILOGUE_SUBTILE."""


def candidates(problem: CrossEntropyProblem, hardware: Hardware) -> Iterator[CrossEntropyConfig]:
    """The tiles that large products want, chunks of 512 to 4,096 rows, and a few choices for the two other passes.
    Choices are first combined with the first of the other passes' and then among themselves where tiles are the best
    known ones."""
    rows = [n for n in (1, 2, 4, 8, 16, 32) if n == 1 or 256 <= cdiv(problem.M, n) <= 8192]
    for tiles, chunks, group in product(TILES, rows, (8, 16, 4)):
        family, block_m, block_n, warps, stages, subtile = tiles
        steps = (64, 32) if family == "pointer" else (64,)
        for step, weight, row in product(steps, WEIGHT_CHOICES, ROW_CHOICES):
            if (weight != WEIGHT_CHOICES[0 if family != "pointer" else 1]) + (row != ROW_CHOICES[0]) + (group != 8) > 1:
                continue
            values: dict[str, Any] = dict(zip(WEIGHT_FIELDS, weight, strict=True)) | dict(zip(_ROW, row, strict=True))
            yield CrossEntropyConfig.model_validate(
                {"family": family, "CHUNKS": chunks, "BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": step}
                | {"GROUP_M": group, "num_warps": warps, "num_stages": stages, "EPILOGUE_SUBTILE": subtile, **values}
            )


WEIGHT_FIELDS = ("WEIGHT_N", "WEIGHT_K", "WEIGHT_WARPS", "WEIGHT_STAGES", "WEIGHT_PERSISTENT")
_ROW = ("ROW_BLOCK", "ROW_WARPS", "ROW_PROGRAMS")
