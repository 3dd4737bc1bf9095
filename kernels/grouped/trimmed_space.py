"""Constraints of the family ``trimmed`` of ``grouped_matmul`` (``kernels.grouped.trimmed``). Imports no Gluon."""

from __future__ import annotations

from kernels.gemm.config import ELEMENT_BYTES
from kernels.gemm.gluon_space import BARRIERS_BYTES, MOST_ACCUMULATORS, has_gluon
from kernels.grouped.config import GroupedConfig, GroupedProblem, planned_rows
from kernels.hardware import Hardware

CONSUMER_WARPS = 4
"""Warps of a consumer. Two consumers of eight would need more registers than an SM has."""


def shared_bytes(config: GroupedConfig, element_bytes: int) -> int:
    """Bytes of the ring of operand tiles and of the staging buffers, without barriers. Each consumer has two buffers,
    or one if a tile is stored in one piece."""
    ring = (config.BLOCK_M + config.BLOCK_N) * config.BLOCK_K * config.num_stages * element_bytes
    piece = planned_rows(config) * config.BLOCK_N // config.EPILOGUE_SUBTILE * ELEMENT_BYTES
    return ring + piece * config.CONSUMERS * (1 if config.EPILOGUE_SUBTILE == 1 else 2)


def constraint(problem: GroupedProblem, config: GroupedConfig, hardware: Hardware) -> str | None:
    """The first constraint of this family that `config` breaks, in the form of ``kernels.grouped.space.constraint``."""
    p, c, h = problem, config, hardware
    if not has_gluon():
        return "gluon_missing: family trimmed needs a Triton with triton.experimental.gluon.nvidia.hopper"
    if h.arch != 90:
        return (
            f"gluon_hardware: family trimmed needs the warp-group instructions of compute capability 9.0, "
            f"{h.name} is {h.arch}"
        )
    if c.num_warps != CONSUMER_WARPS * c.CONSUMERS:
        return f"consumer_warps: a consumer has {CONSUMER_WARPS} warps, so {c.CONSUMERS} cannot have {c.num_warps}"
    if (rows := planned_rows(c)) < 16 * CONSUMER_WARPS:
        return (
            f"consumer_rows: {CONSUMER_WARPS} warps multiply at least {16 * CONSUMER_WARPS} rows, "
            f"BLOCK_M {c.BLOCK_M} gives them {rows}"
        )
    if (held := rows * c.BLOCK_N // (32 * CONSUMER_WARPS)) > MOST_ACCUMULATORS:
        return (
            f"consumer_registers: a consumer's thread would hold {held} accumulators, the most is {MOST_ACCUMULATORS}"
        )
    if c.num_stages < 2:
        return "consumer_stages: a stage is released when the next one has been issued, so num_stages must be 2 or more"
    if (shared := shared_bytes(c, p.torch_dtype.itemsize) + BARRIERS_BYTES) > h.shared_per_block:
        return f"shared_memory: {shared} bytes needed, a block of {h.name} has {h.shared_per_block}"
    return None
