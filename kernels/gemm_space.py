"""Config of the matmul kernels, their static constraints, and the configs worth naming for a problem."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kernels.hardware import Hardware
from kernels.spec import Config, Problem

Family = Literal["pointer", "tma", "persistent_tma"]

ELEMENT_BYTES = 2
"""fp16 and bf16."""


class GemmProblem(Problem):
    """C (M, N) = A (M, K) @ B (K, N)."""

    dims: ClassVar[tuple[str, ...]] = ("M", "N", "K")

    M: int = Field(ge=1, le=2**30)
    N: int = Field(ge=1, le=2**30)
    K: int = Field(ge=1, le=2**30)
    b_layout: Literal["row", "col"] = "row"
    """``row``: B is contiguous. ``col``: B is the transpose of a contiguous (N, K) tensor, as in a linear layer."""

    @model_validator(mode="after")
    def _fits_a_memory(self) -> Self:
        largest = max(self.M * self.K, self.K * self.N, self.M * self.N)
        if largest > 2**40:
            raise ValueError(f"one matrix has {largest} elements, more than any GPU holds: make M, N or K smaller")
        return self


class GemmConfig(Config):
    """Tuning choices of one launch. A field that a family does not use stays at its default."""

    family: Family
    BLOCK_M: Literal[16, 32, 64, 128, 256]
    BLOCK_N: Literal[16, 32, 64, 128, 256]
    BLOCK_K: Literal[32, 64, 128]
    GROUP_M: Literal[1, 2, 4, 8, 16]
    """Tiles along M that are walked before the next column of tiles; sets what shares L2."""
    num_warps: Literal[2, 4, 8, 16]
    num_stages: Literal[1, 2, 3, 4, 5, 6, 7]
    """Tiles of A and B in flight."""
    EPILOGUE_SUBTILE: Literal[1, 2, 4] = 1
    """Pieces in which a tile is stored (``persistent_tma``)."""
    FLATTEN: Literal[False, True] = False
    """One pipelined loop over tiles and K instead of two nested ones (``persistent_tma``)."""


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def tiles(M: int, N: int, config: GemmConfig) -> int:
    return cdiv(M, config.BLOCK_M) * cdiv(N, config.BLOCK_N)


def programs(M: int, N: int, config: GemmConfig, hardware: Hardware) -> int:
    """Programs to launch. A persistent grid has the fewest programs that need no more rounds than one per SM would:
    512 tiles on 132 SMs are four rounds of 128, and the idle SMs leave their power to the others."""
    count = tiles(M, N, config)
    if config.family != "persistent_tma":
        return count
    return cdiv(count, cdiv(count, hardware.sms))


def accumulator_registers(config: GemmConfig, warp_size: int = 32) -> int:
    """fp32 accumulators that each thread holds."""
    return cdiv(config.BLOCK_M * config.BLOCK_N, warp_size * config.num_warps)


def least_shared(config: GemmConfig, hardware: Hardware) -> int:
    """Bytes of shared memory that the compiler cannot do without (seen in Triton 3.6 and 3.9): the operand tiles in
    flight and, in a persistent kernel, which loads the next tile while it stores this one, the staging buffer.

    Hopper's and Blackwell's asynchronous matrix instructions read the operands of every stage from shared memory;
    others read them into registers first, which frees one stage. The compiler uses them for 64 rows and more, on
    Blackwell with up to 8 warps."""
    stage = (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * ELEMENT_BYTES
    warps = {90: (4, 8, 16), 100: (4, 8)}.get(hardware.arch, ()) if isinstance(hardware.arch, int) else ()
    from_shared = config.BLOCK_M >= 64 and config.num_warps in warps and config.num_stages > 1
    staging = config.BLOCK_M * config.BLOCK_N * ELEMENT_BYTES // config.EPILOGUE_SUBTILE
    return stage * (config.num_stages if from_shared else config.num_stages - 1) + (
        staging if config.family == "persistent_tma" else 0
    )


def constraint(problem: GemmProblem, config: GemmConfig, hardware: Hardware) -> str | None:
    """The first static constraint that `config` breaks, as ``name: why, with its numbers``."""
    p, c, h = problem, config, hardware
    if c.family != "persistent_tma" and (c.EPILOGUE_SUBTILE != 1 or c.FLATTEN):
        return (
            f"unused_field: family {c.family} stores whole tiles in one loop, "
            f"so EPILOGUE_SUBTILE must be 1 and FLATTEN false, got {c.EPILOGUE_SUBTILE} and {str(c.FLATTEN).lower()}"
        )
    if c.family != "pointer":
        if not h.has_tma:
            return f"tma_hardware: family {c.family} needs compute capability 9.0 or later, {h.name} is {h.arch}"
        for name, length in _row_lengths(p):
            if _misaligned(length):
                return (
                    f"tma_alignment: descriptors need rows of a multiple of 16 bytes, "
                    f"{name} has rows of {length * ELEMENT_BYTES}: use family pointer"
                )
    if c.BLOCK_N // c.EPILOGUE_SUBTILE < 16:
        return f"subtile_width: BLOCK_N {c.BLOCK_N} in {c.EPILOGUE_SUBTILE} pieces is narrower than 16 columns"
    for name, block, size, least in (("M", c.BLOCK_M, p.M, 64), ("N", c.BLOCK_N, p.N, 64), ("K", c.BLOCK_K, p.K, 64)):
        if block > max(least, _next_power_of_2(size)):
            return f"tile_{name}: BLOCK_{name} {block} is mostly padding for {name} {size}"
    if (count := tiles(p.M, p.N, c)) >= 2**31:
        return f"grid: {count} tiles exceed the 2147483647 programs of a launch"
    threads = c.num_warps * h.warp_size
    if threads > 1024:
        return f"threads: {c.num_warps} warps of {h.warp_size} exceed the 1024 threads of a block"
    registers, most = accumulator_registers(c, h.warp_size), min(255, h.registers_per_sm // threads)
    if registers > most - 1:
        return (
            f"accumulator_registers: a {c.BLOCK_M}x{c.BLOCK_N} tile on {c.num_warps} warps needs {registers} "
            f"registers a thread for its accumulators alone, and {most} is all a thread can have"
        )
    if (shared := least_shared(c, h)) > h.shared_per_block:
        return f"shared_memory: at least {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


def _row_lengths(problem: GemmProblem) -> list[tuple[str, int]]:
    """Elements from one row to the next of A, B (as it lies in memory) and C."""
    return [("A", problem.K), ("B", problem.N if problem.b_layout == "row" else problem.K), ("C", problem.N)]


def _misaligned(row_length: int) -> bool:
    return row_length * ELEMENT_BYTES % 16 != 0


def _next_power_of_2(n: int) -> int:
    return 1 << (n - 1).bit_length()


def candidates(problem: GemmProblem, hardware: Hardware) -> Iterator[GemmConfig]:
    """Configs worth naming, in a fixed order. What a config cannot do is left to ``constraint``; what is left out here
    is legal but not worth a compilation: tiles much smaller than the problem allows, warps with too little or too much
    to hold, pipelines that are shallow or deeper than K, and persistence where every program would have one tile.
    Where descriptors work, the pointer family is named in outline only."""
    p, h = problem, hardware
    descriptors = h.has_tma and not any(_misaligned(length) for _, length in _row_lengths(p))
    for bm, bn in _tiles(p, h):
        for warps, bk in product(_warps(bm, bn, h), (32, 64, 128)):
            for stages, group in product(_stages(p, bm, bn, bk, h), _groups(p, bm)):
                base: dict[str, Any] = {
                    "BLOCK_M": bm,
                    "BLOCK_N": bn,
                    "BLOCK_K": bk,
                    "GROUP_M": group,
                    "num_warps": warps,
                    "num_stages": stages,
                }
                if not descriptors or (group == _groups(p, bm)[-1] and stages <= 4):
                    yield GemmConfig(family="pointer", **base)
                if not descriptors or bk == 32:
                    continue
                yield GemmConfig(family="tma", **base)
                for subtile, flatten in product((1, 2, 4), (False, True)):
                    config = GemmConfig(family="persistent_tma", **base, EPILOGUE_SUBTILE=subtile, FLATTEN=flatten)
                    if tiles(p.M, p.N, config) > h.sms and bn // subtile >= 64:
                        yield config


def _tiles(problem: GemmProblem, hardware: Hardware) -> list[tuple[int, int]]:
    """(BLOCK_M, BLOCK_N). Sides under 64 only where 64x64 tiles would leave SMs idle, and only where the side above
    them would too."""
    few = cdiv(problem.M, 64) * cdiv(problem.N, 64) < 2 * hardware.sms
    least = 16 if few else 64
    sides_m, sides_n = (
        [side for side in (16, 32, 64, 128, 256) if least <= side <= max(64, _next_power_of_2(size))]
        for size in (problem.M, problem.N)
    )
    return [(bm, bn) for bm in sides_m for bn in sides_n]


def _warps(bm: int, bn: int, hardware: Hardware) -> list[int]:
    """Warps that hold 32 to 128 accumulators a thread (of small tiles: four warps, or two). Warp-group instructions
    take four warps at a time, and two warps cannot move large tiles without spilling."""
    options = [2, 4, 8, 16] if bm * bn < 64 * 64 else [4, 8, 16]
    fitting = [w for w in options if 32 <= bm * bn // (hardware.warp_size * w) <= 128]
    return fitting[:2] or [w for w in options if w <= 4]


def _stages(problem: GemmProblem, bm: int, bn: int, bk: int, hardware: Hardware) -> list[int]:
    """Depths that fill 40 % of a block's shared memory or more; the deepest where none does."""
    stage = (bm + bn) * bk * ELEMENT_BYTES
    options = [s for s in (2, 3, 4, 5, 6) if s <= max(2, cdiv(problem.K, bk))]
    fitting = [s for s in options if (s - 1) * stage <= hardware.shared_per_block]
    return [s for s in fitting if s * stage >= 0.4 * hardware.shared_per_block] or fitting[-1:] or [1]


def _groups(problem: GemmProblem, bm: int) -> list[int]:
    """Groups no larger than the tiles along M; the last is the default."""
    most = _next_power_of_2(cdiv(problem.M, bm))
    return [g for g in (4, 16, 8) if g <= most] or [most]
