"""Problem and config of ``grouped_matmul``: the sizes and dtypes of a launch, and its tuning choices."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from kernels.gemm.config import GemmConfig, GemmProblem, cdiv
from kernels.spec import Config

Routing = Literal["even", "skewed", "single"]
Family = Literal["pointer", "tma", "persistent_tma", "warp_specialized", "trimmed"]
PERSISTENT = ("persistent_tma", "warp_specialized", "trimmed")
"""Families with one program per SM. Each program takes several tiles."""

ROUTING_SEED = 20
"""Seed of the drawn group sizes. A problem always has the same groups, so that times of its configs can be compared and
a baseline may read the sizes once."""


class GroupedProblem(GemmProblem):
    """C (M, N): the rows of group e are those of A (M, K) times B[e] (K, N), for E groups of rows that follow one
    another. fp8 operands are multiplied by their scales."""

    dims: ClassVar[tuple[str, ...]] = ("M", "N", "K", "E")

    M: int = Field(default=8192, ge=1, le=2**30)
    """Rows of all groups, padding included: tokens times the experts of a token."""
    N: int = Field(default=14336, ge=1, le=2**30)
    K: int = Field(default=4096, ge=1, le=2**30)
    E: int = Field(default=8, ge=1, le=1024)
    """Groups (experts)."""
    dtype: Literal["fp16", "bf16", "fp8"] = "bf16"
    """``fp8`` is e4m3 (OCP, no infinities); its result is bf16."""
    b_layout: Literal["row", "col"] = "col"
    """``col``: B is the transpose of a contiguous (E, N, K) tensor, as the weights of linear layers. ``row``: B is
    contiguous."""
    align: Literal[1, 16, 32, 64, 128, 256] = 128
    """Every group starts at a multiple of this. The last rows of a group are then padding, zeros, as serving engines
    pad the tokens of an expert."""
    routing: Routing = "even"
    """How rows are dealt to groups: every group is as likely as the others; the r-th group's share falls as 1/r^1.5, in
    a drawn order, and some get nothing; one drawn group gets all."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.M % self.align:
            raise ValueError(
                f"groups start at multiples of {self.align}, so M must be one too, got {self.M}: change M or align"
            )
        if self.E * self.N * self.K > 2**40:
            raise ValueError(
                f"the {self.E} matrices B have {self.E * self.N * self.K} elements, more than any GPU holds: "
                "make N, K or E smaller"
            )
        return self


class GroupedConfig(Config):
    """Tuning choices of one launch. A field that a family does not use stays at its default."""

    family: Family
    """``pointer``, ``tma``: one program per tile, loads by pointer or descriptor. ``persistent_tma``: one program per
    SM. ``warp_specialized``: that, and a warp of its own loads. ``trimmed``: that, and rows that a group does not have
    are left out."""
    BLOCK_M: Literal[16, 32, 64, 128, 256]
    """Rows of C in a tile."""
    BLOCK_N: Literal[16, 32, 64, 128, 256]
    """Columns of C in a tile."""
    BLOCK_K: Literal[32, 64, 128, 256]
    """Length of the pieces of K that are multiplied at a time."""
    GROUP_M: Literal[1, 2, 4, 8, 16]
    """Tiles along M of one group that come before the next column of tiles; it sets which tiles share L2."""
    num_warps: Literal[2, 4, 8, 16]
    """Warps that multiply; ``warp_specialized`` and ``trimmed`` add one that loads."""
    num_stages: Literal[1, 2, 3, 4, 5, 6, 7]
    """Tiles of A and B in flight."""
    EPILOGUE_SUBTILE: Literal[1, 2, 4] = 1
    """Pieces in which a tile is stored (``persistent_tma``, ``warp_specialized``, ``trimmed``)."""
    CONSUMERS: Literal[1, 2] = 1
    """Groups into which the multiplying warps are divided (``warp_specialized``, ``trimmed``)."""
    OVERLAP: Literal[False, True] = False
    """Start while the table of blocks is still written, and wait for it before it is read (``trimmed``)."""

    def as_gemm(self) -> GemmConfig:
        """The same tile as a config of ``matmul``, whose rules for registers and shared memory hold here as well.
        ``trimmed``, which ``matmul`` does not have, has the accumulators of ``persistent_tma``."""
        family = "persistent_tma" if self.family == "trimmed" else self.family
        return GemmConfig.model_validate({**self.model_dump(exclude={"OVERLAP"}), "family": family})


@lru_cache(maxsize=64)
def group_sizes(problem: GroupedProblem) -> tuple[int, ...]:
    """Rows of each group, padding included: multiples of ``align`` whose sum is M."""
    p = problem
    generator = torch.Generator().manual_seed(ROUTING_SEED)
    order = torch.randperm(p.E, generator=generator)
    weights = torch.ones(p.E)
    if p.routing == "skewed":
        weights = (torch.arange(p.E) + 1.0).pow(-1.5)[order]
    elif p.routing == "single":
        weights = (order == 0).float()
    blocks = p.M // p.align
    drawn = torch.rand(blocks, generator=generator, dtype=torch.float64)
    edges = weights.double().cumsum(0) / weights.double().sum()
    chosen = torch.searchsorted(edges, drawn, right=True).clamp_(max=int(weights.nonzero().max()))
    counts = torch.bincount(chosen, minlength=p.E)
    return tuple(int(n) * p.align for n in counts)


def planned_rows(config: GroupedConfig) -> int:
    """Rows of a block in the table from which programs take their tiles: of ``trimmed`` those of one consumer."""
    return config.BLOCK_M // config.CONSUMERS if config.family == "trimmed" else config.BLOCK_M


def whole_tiles(problem: GroupedProblem, config: GroupedConfig) -> bool:
    """Whether no planned block reaches past its group's rows."""
    return problem.align % planned_rows(config) == 0


def most_blocks(problem: GroupedProblem, config: GroupedConfig) -> int:
    """The most planned blocks that any division of M rows into E groups gives; every group with rows may end in an
    incomplete one."""
    p, block = problem, planned_rows(config)
    if whole_tiles(p, config):
        return p.M // block
    return (p.M + min(p.E, p.M // p.align) * (block - 1)) // block


def programs(problem: GroupedProblem, config: GroupedConfig, sms: int) -> int:
    """Programs to launch. A persistent grid has the fewest programs that need no more rounds than one program per SM,
    if the number of tiles is known; otherwise it has one program per SM. ``trimmed`` counts blocks of one consumer,
    and has one program for each if a last round is left that is so short (``kernels.grouped.equal_shares``)."""
    count = most_blocks(problem, config) * cdiv(problem.N, config.BLOCK_N)
    if config.family == "trimmed":
        if count <= sms:
            return count
        last = count % (sms * config.CONSUMERS)
        if config.CONSUMERS > 1 and 0 < last <= sms:
            return sms
        count = cdiv(count, config.CONSUMERS)
    if config.family not in PERSISTENT or count <= sms:
        return count
    return cdiv(count, cdiv(count, sms)) if whole_tiles(problem, config) else sms
