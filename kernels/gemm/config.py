"""Problem and config of the matmul kernels: the sizes and dtypes of a launch, and its tuning choices."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from kernels.spec import Config, Problem

Family = Literal["pointer", "tma", "persistent_tma", "warp_specialized", "split_k", "stream_k"]
PERSISTENT = ("persistent_tma", "warp_specialized")
"""Families with one program per SM. Each program takes several tiles."""

OPERANDS: dict[str, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
ELEMENT_BYTES = 2
"""Bytes of an element of fp16 and bf16: every result and all operands except fp8."""


class GemmProblem(Problem):
    """C (M, N) = A (M, K) @ B (K, N), with fp8 operands times their scales."""

    dims: ClassVar[tuple[str, ...]] = ("M", "N", "K")

    M: int = Field(ge=1, le=2**30)
    N: int = Field(ge=1, le=2**30)
    K: int = Field(ge=1, le=2**30)
    dtype: Literal["fp16", "bf16", "fp8"] = "fp16"  # type: ignore[assignment]  # wider than other kernels'
    """``fp8`` is e4m3 (OCP, no infinities); its result is bf16."""
    b_layout: Literal["row", "col"] = "row"
    """``row``: B is contiguous. ``col``: B is the transpose of a contiguous (N, K) tensor, as in a linear layer."""
    scales: Literal["tensor", "row"] = "tensor"
    """Scales of fp8 operands: one number per operand, or one for each row of A and each column of B."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """dtype of the operands."""
        return OPERANDS[self.dtype]

    @property
    def result_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.dtype == "fp8" else self.torch_dtype

    @model_validator(mode="after")
    def _fits_a_memory(self) -> Self:
        largest = max(self.M * self.K, self.K * self.N, self.M * self.N)
        if largest > 2**40:
            raise ValueError(f"one matrix has {largest} elements, more than any GPU holds: make M, N or K smaller")
        return self

    @model_validator(mode="after")
    def _options_go_together(self) -> Self:
        if self.dtype == "fp8" and self.b_layout == "row":
            raise ValueError("tensor cores read 8-bit operands along K only, so fp8 needs b_layout col")
        if self.dtype != "fp8" and self.scales != "tensor":
            raise ValueError(f"scales {self.scales} is for fp8 operands, {self.dtype} has none: leave it out")
        return self


class GemmConfig(Config):
    """Tuning choices of one launch. A field that a family does not use stays at its default."""

    family: Family
    """``pointer``, ``tma``: one program per tile, loads by pointer or descriptor. ``persistent_tma``: one program per
    SM. ``warp_specialized``: that, and a warp of its own loads. ``split_k``, ``stream_k``: programs share the K of a
    tile."""
    BLOCK_M: Literal[16, 32, 64, 128, 256]
    """Rows of C in a tile."""
    BLOCK_N: Literal[16, 32, 64, 128, 256]
    """Columns of C in a tile."""
    BLOCK_K: Literal[32, 64, 128, 256]
    """Length of the pieces of K that are multiplied at a time."""
    GROUP_M: Literal[1, 2, 4, 8, 16]
    """Tiles along M that come before the next column of tiles; it sets which tiles share L2."""
    num_warps: Literal[2, 4, 8, 16]
    """Warps that multiply; ``warp_specialized`` adds one that loads."""
    num_stages: Literal[1, 2, 3, 4, 5, 6, 7]
    """Tiles of A and B in flight."""
    EPILOGUE_SUBTILE: Literal[1, 2, 4] = 1
    """Pieces in which a tile is stored (``persistent_tma``, ``warp_specialized``)."""
    FLATTEN: Literal[False, True] = False
    """One pipelined loop over tiles and K instead of two nested ones (``persistent_tma``)."""
    SPLIT_K: Literal[1, 2, 4, 8, 16] = 1
    """Programs that share the K range of one tile (``split_k``)."""
    CONSUMERS: Literal[1, 2] = 1
    """Groups into which the multiplying warps are divided (``warp_specialized``)."""
    OVERLAP: Literal[False, True] = False
    """Start while the launch before it still runs, and wait for that launch's results before the first load
    (``tma``)."""
    CLUSTER: Literal[1] = 1
    """Always 1: no family shares loads by multicast. The field stays because a recorded config is known by the hash of
    all its fields, in memory files, landscapes and traces."""


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def tiles(M: int, N: int, config: GemmConfig) -> int:
    return cdiv(M, config.BLOCK_M) * cdiv(N, config.BLOCK_N)
