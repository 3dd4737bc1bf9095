"""Tiles, constraints and candidates of ``conv2d``'s family ``warp_specialized`` (``kernels.conv2d.gluon``). Imports no
Gluon."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from kernels.conv2d.config import ELEMENT_BYTES, Conv2dConfig, Conv2dProblem, cdiv
from kernels.gemm import gluon_space, space
from kernels.gemm.config import GemmConfig, GemmProblem
from kernels.hardware import Hardware

Box = tuple[int, int, int]
"""Sides of a box of output pixels: images, rows, columns."""


def box(problem: Conv2dProblem, block_m: int) -> Box:
    """The box of `block_m` pixels (a power of two) that forms a tile. Its sides are powers of two.

    It is the box of which the fewest cover all pixels. If several are equal, the one whose taps read the fewest
    different pixels is taken (it tends to be nearly square), then the one with the fewest images, then the one with the
    fewest rows."""
    p = problem
    down, right = p.dilation * (p.R - 1), p.dilation * (p.S - 1)
    sides = [1 << i for i in range(block_m.bit_length())]
    found = [(block_m // (rows * cols), rows, cols) for rows, cols in product(sides, sides) if rows * cols <= block_m]
    return min(found, key=lambda b: (prod(boxes(p, b)), b[0] * (b[1] + down) * (b[2] + right), b))


def boxes(problem: Conv2dProblem, sides: Box) -> Box:
    """Numbers of boxes that cover the result along images, rows and columns."""
    n, p, q = (cdiv(size, side) for size, side in zip((problem.N, problem.P, problem.Q), sides, strict=True))
    return n, p, q


def part(sides: Box, parts: int) -> Box:
    """The box of the first of `parts` (1 or 2) equal shares of a tile's rows, with the pixels in order. A box of one
    pixel cannot be halved."""
    images, rows, cols = sides
    if parts == 1:
        return sides
    if images > 1:
        return images // 2, rows, cols
    return (1, rows // 2, cols) if rows > 1 else (1, 1, cols // 2)


def tiles(problem: Conv2dProblem, config: Conv2dConfig) -> int:
    return prod(boxes(problem, box(problem, config.BLOCK_M))) * cdiv(problem.K, config.BLOCK_N)


def programs(problem: Conv2dProblem, config: Conv2dConfig, hardware: Hardware) -> int:
    """The fewest programs that need no more rounds of tiles than one per SM would."""
    count = tiles(problem, config)
    return cdiv(count, cdiv(count, hardware.sms))


def as_matmul(config: Conv2dConfig) -> GemmConfig:
    """The config of the ``warp_specialized`` matmul with the same tiles. A matmul has no BLOCK_K of 16, which this
    family does not allow either."""
    c = config
    return GemmConfig(
        family="warp_specialized",
        BLOCK_M=c.BLOCK_M,
        BLOCK_N=c.BLOCK_N,
        BLOCK_K=max(32, c.BLOCK_K),
        GROUP_M=1,
        num_warps=c.num_warps,
        num_stages=c.num_stages,
        EPILOGUE_SUBTILE=c.EPILOGUE_SUBTILE,
        CONSUMERS=c.CONSUMERS,
    )


def shared_bytes(config: Conv2dConfig) -> int:
    """Bytes of the ring of boxes and blocks of weights and of the staging buffers, without barriers."""
    return gluon_space.shared_bytes(as_matmul(config))


def accumulator_registers(config: Conv2dConfig, warp_size: int = 32) -> int:
    """fp32 accumulators that a consumer's thread holds."""
    return space.accumulator_registers(as_matmul(config), warp_size)


def constraint(problem: Conv2dProblem, config: Conv2dConfig, hardware: Hardware) -> str | None:
    """The first constraint of this family that `config` breaks, in the form of ``kernels.conv2d.space.constraint``."""
    p, c = problem, config
    if p.stride != 1:
        return (
            f"box_stride: family warp_specialized loads boxes of neighbouring pixels, so stride must be 1, "
            f"got {p.stride}: use family pointer"
        )
    for name, dim, length in (("x and w", "C", p.C), ("y", "K", p.K)):
        if length * ELEMENT_BYTES % 16 != 0:
            return (
                f"tma_alignment: descriptors need rows of a multiple of 16 bytes, "
                f"{name} have {length * ELEMENT_BYTES} for {dim} {length}: use family pointer"
            )
    if c.BLOCK_K < 32:
        return f"tile_K: family warp_specialized takes 32 channels or more at a time, got BLOCK_K {c.BLOCK_K}"
    if c.BLOCK_N // c.EPILOGUE_SUBTILE < 16:
        return f"subtile_width: BLOCK_N {c.BLOCK_N} in {c.EPILOGUE_SUBTILE} pieces is narrower than 16 columns"
    one_tile = GemmProblem(M=c.BLOCK_M, N=c.BLOCK_N, K=c.BLOCK_K)
    return gluon_space.constraint(one_tile, as_matmul(c), hardware)


def defaults(problem: Conv2dProblem, hardware: Hardware) -> list[Conv2dConfig]:
    """Reasonable configs without tuning, wide tiles first: those that give every SM a tile, else the smallest."""
    choices = [
        Conv2dConfig(
            family="warp_specialized",
            BLOCK_M=bm,
            BLOCK_N=bn,
            BLOCK_K=64,
            num_warps=warps,
            num_stages=stages,
            EPILOGUE_SUBTILE=subtile,
            CONSUMERS=consumers,
        )
        for bm, bn, warps, stages, subtile, consumers in (
            (128, 256, 8, 4, 4, 2),
            (128, 128, 8, 5, 2, 2),
            (64, 128, 4, 6, 2, 1),
            (64, 64, 4, 6, 1, 1),
        )
        if bn <= max(64, problem.K)
    ]
    return [c for c in choices if tiles(problem, c) >= hardware.sms] or choices[-1:]


def candidates(problem: Conv2dProblem, hardware: Hardware) -> Iterator[Conv2dConfig]:
    """The family's configs that are worth trying, in a fixed order. Wide tiles come first. Tiles are stored whole or in
    pieces of 64 columns. The ring is the deepest that fits beside the staging buffers."""
    p = problem
    shapes = ((128, 256, 8), (256, 128, 8), (128, 128, 8), (64, 256, 4), (64, 128, 4), (128, 64, 8), (64, 64, 4))
    for (bm, bn, warps), consumers, bk in product(shapes, (1, 2), (64, 128)):
        if bk > 64 and (bn > 64 or bk > p.C):
            continue  # a wide tile has enough work in 64 channels
        for subtile in sorted({1, bn // 64}):
            choices = (
                Conv2dConfig(
                    family="warp_specialized",
                    BLOCK_M=bm,
                    BLOCK_N=bn,
                    BLOCK_K=bk,
                    num_warps=8 if consumers == 2 else warps,
                    num_stages=stages,
                    EPILOGUE_SUBTILE=subtile,
                    CONSUMERS=consumers,
                )
                for stages in (7, 6, 5, 4, 3)
                if stages <= max(3, p.R * p.S * cdiv(p.C, bk))
            )
            fitting = next((c for c in choices if constraint(p, c, hardware) is None), None)
            if fitting is not None:
                yield fitting
