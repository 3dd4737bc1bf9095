"""Problem and config of ``conv2d``: the sizes and dtypes of a launch, and its tuning choices."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from kernels.spec import Config, Problem

Family = Literal["pointer", "warp_specialized"]

ELEMENT_BYTES = 2
"""Bytes of an element of fp16 and bf16."""


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
    """Tuning choices of one launch: an implicit matrix product of N P Q rows, K columns and R S C terms. A field that a
    family does not use stays at its default."""

    family: Family = "pointer"
    BLOCK_M: Literal[16, 32, 64, 128, 256]
    """Output pixels of a tile."""
    BLOCK_N: Literal[16, 32, 64, 128, 256]
    """Filters of a tile."""
    BLOCK_K: Literal[16, 32, 64, 128]
    """Channels that are taken at a time."""
    num_warps: Literal[2, 4, 8, 16]
    """Warps that multiply; ``warp_specialized`` adds one that loads."""
    num_stages: Literal[1, 2, 3, 4, 5, 6, 7]
    """Blocks of x and w in flight."""
    EPILOGUE_SUBTILE: Literal[1, 2, 4] = 1
    """Pieces in which a tile is stored (``warp_specialized``)."""
    CONSUMERS: Literal[1, 2] = 1
    """Groups into which the multiplying warps are divided (``warp_specialized``)."""


def cdiv(a: int, b: int) -> int:
    return -(-a // b)
