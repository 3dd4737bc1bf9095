"""Constraints and candidates of the matmul family ``warp_specialized`` (``kernels.gemm.gluon``). Imports no Gluon."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import product

from kernels.gemm.config import ELEMENT_BYTES, GemmConfig, GemmProblem, cdiv
from kernels.hardware import Hardware

LAUNCH_REGISTERS = 168
"""Registers per thread at launch: 12 warps (those of the consumers and a warp group for the producer) share the 65,536
of an SM. A matrix instruction with 128 accumulators a thread does not compile with fewer than 154."""

PRODUCER_REGISTERS = 40
CONSUMER_REGISTERS = 232
"""Registers that a thread of the producer and of a second consumer keep. The first consumer takes the rest, 232 or
more."""

MOST_ACCUMULATORS = 128
"""Most accumulators of a thread: with 256 no register would be left for anything else."""

BARRIERS_BYTES = 1024
"""An upper bound on the barriers and the values that Triton passes between warps (180 to 232 bytes seen)."""


def takes_turns(config: GemmConfig) -> bool:
    """Whether two consumers take turns at whole tiles instead of each taking half of every tile. They do if 4 warps can
    hold a tile."""
    return config.CONSUMERS == 2 and config.BLOCK_M * config.BLOCK_N <= MOST_ACCUMULATORS * 4 * 32


def consumer_rows(config: GemmConfig) -> int:
    """Rows of a tile that one consumer multiplies."""
    return config.BLOCK_M if takes_turns(config) else config.BLOCK_M // config.CONSUMERS


def shared_bytes(config: GemmConfig) -> int:
    """Bytes of the ring of operand tiles and of the staging buffers, without barriers. Each consumer has two buffers,
    or one if a tile is stored in one piece."""
    stage = (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K
    piece = consumer_rows(config) * config.BLOCK_N // config.EPILOGUE_SUBTILE
    buffers = config.CONSUMERS * (1 if config.EPILOGUE_SUBTILE == 1 else 2)
    return (stage * config.num_stages + piece * buffers) * ELEMENT_BYTES


@cache
def has_gluon() -> bool:
    """Whether this Triton has Gluon with Hopper's instructions."""
    try:
        return find_spec("triton.experimental.gluon.nvidia.hopper") is not None
    except ModuleNotFoundError:
        return False


def constraint(problem: GemmProblem, config: GemmConfig, hardware: Hardware) -> str | None:
    """The first constraint of this family that `config` breaks, in the form of ``kernels.gemm.space.constraint``."""
    c, h = config, hardware
    if not has_gluon():
        return "gluon_missing: family warp_specialized needs a Triton with triton.experimental.gluon.nvidia.hopper"
    if h.arch != 90:
        return (
            f"gluon_hardware: family warp_specialized needs the warp-group instructions of compute capability 9.0, "
            f"{h.name} is {h.arch}"
        )
    warps = c.num_warps // c.CONSUMERS
    if c.num_warps not in (4, 8) or warps < 4:
        return (
            f"consumer_warps: a consumer needs 4 or 8 warps, and 8 consume in all: "
            f"{c.num_warps} for {c.CONSUMERS} give {warps} each"
        )
    rows = consumer_rows(c)
    if rows < 16 * warps:
        return (
            f"consumer_rows: {warps} warps multiply at least {16 * warps} rows, BLOCK_M {c.BLOCK_M} gives them {rows}"
        )
    if (held := rows * c.BLOCK_N // (32 * warps)) > MOST_ACCUMULATORS:
        return (
            f"consumer_registers: a consumer's thread would hold {held} accumulators, the most is {MOST_ACCUMULATORS}"
        )
    if c.num_stages < 2:
        return "consumer_stages: a stage is released when the next one has been issued, so num_stages must be 2 or more"
    if (shared := shared_bytes(c) + BARRIERS_BYTES) > h.shared_per_block:
        return f"shared_memory: {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None


def candidates(problem: GemmProblem, hardware: Hardware) -> Iterator[GemmConfig]:
    """The family's configs that are worth trying, in a fixed order. Wide tiles come first. Tiles are stored whole or in
    pieces of 64 columns. The ring is the deepest that fits beside the staging buffers."""
    shapes = ((128, 256, 8), (128, 128, 8), (64, 256, 4), (64, 128, 4), (128, 64, 8), (64, 64, 4), (256, 128, 8))
    for (bm, bn, warps), consumers, bk in product(shapes, (1, 2), (64, 128)):
        if bk > 64 and bm * bn >= 128 * 256:
            continue  # two stages are a quarter slower at 4096^3 on an H200
        for subtile, group in product(sorted({1, bn // 64}), (16, 8) if bm * bn >= 128 * 128 else (8,)):
            choices = (
                GemmConfig(
                    family="warp_specialized",
                    BLOCK_M=bm,
                    BLOCK_N=bn,
                    BLOCK_K=bk,
                    GROUP_M=group,
                    num_warps=8 if consumers == 2 else warps,
                    num_stages=stages,
                    EPILOGUE_SUBTILE=subtile,
                    CONSUMERS=consumers,
                )
                for stages in (7, 6, 5, 4, 3)
                if stages <= max(3, cdiv(problem.K, bk))
            )
            fitting = next((c for c in choices if constraint(problem, c, hardware) is None), None)
            if fitting is not None:
                yield fitting
