"""What a tiled matmul's configs mean on one GPU: tiles, instruction, registers, shared memory, resident blocks.

Everything is worked out for many configs at once, in arrays of one entry a config: from the config's fields alone
before anything was compiled, and from the compiler's figures where there are some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from tools.harness.results import CompileResult

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TILE_FIELDS = ("BLOCK_M", "BLOCK_N", "BLOCK_K", "num_warps", "num_stages")
OPTIONAL_FIELDS = {"GROUP_M": 1, "EPILOGUE_SUBTILE": 1, "FLATTEN": 0}
"""Fields of a matmul config that have a meaning when absent, and that meaning."""

BASE_REGISTERS = 40
"""Loop state, barriers and addresses of a kernel whose operands stay in shared memory. Source: the Gluon
128x256x64 kernel compiles to 168 registers a thread, 128 of them accumulators."""
POINTER_REGISTERS = 16
"""More where every thread keeps its own load addresses and masks."""
RESERVED_SHARED = {"cuda": 1024, "hip": 0}
"""Bytes the driver keeps per block. Source: CUDA C++ Programming Guide, compute capabilities 8.x and 9.0."""


@dataclass(frozen=True)
class Tiles:
    """The fields of a matmul's configs as arrays, and the problem they tile."""

    m: int
    n: int
    k: int
    b_row: int
    """Contiguous elements of B: N, or K where B is column-major."""
    element_bytes: int
    block_m: Floats
    block_n: Floats
    block_k: Floats
    group_m: Floats
    warps: Floats
    stages: Floats
    pieces: Floats
    """Parts in which the epilogue stores a tile."""
    flatten: Flags
    tma: Flags
    persistent: Flags

    @property
    def rows(self) -> Floats:
        return np.ceil(self.m / self.block_m)

    @property
    def columns(self) -> Floats:
        return np.ceil(self.n / self.block_n)

    @property
    def count(self) -> Floats:
        return self.rows * self.columns

    @property
    def k_steps(self) -> Floats:
        return np.ceil(self.k / self.block_k)

    @property
    def stage_bytes(self) -> Floats:
        """Operand bytes of one k step of one tile."""
        return (self.block_m + self.block_n) * self.block_k * self.element_bytes


@dataclass(frozen=True)
class Launch:
    """What each config asks of an SM."""

    tensor_core: npt.NDArray[np.str_]
    """``wgmma``, ``tcgen05``, ``mma.sync`` or ``mfma``."""
    registers: Floats
    """Per thread, capped at what the architecture can encode."""
    accumulators: Floats
    """Registers per thread that hold the tile's partial sums."""
    spill_bytes: Floats
    """Per thread."""
    shared_bytes: Floats
    """Per block."""
    blocks_per_sm: Floats
    """Resident blocks that registers, shared memory and threads allow, at least 1."""
    fits: Flags
    """Whether one block fits an SM at all."""
    compiled: Flags
    """Whether the figures come from the compiler."""
    serialized: Flags
    """Whether the compiler said that it had to wait for every wgmma (ptxas C7511)."""


def read_tiles(problem: Problem, configs: Sequence[Config]) -> Tiles | None:
    """The configs as tiles of a matmul, or ``None`` where problem or configs are of another kind."""
    if not configs or any(not isinstance(getattr(problem, d, None), int) for d in "MNK"):
        return None
    wanted = [*TILE_FIELDS, *OPTIONAL_FIELDS]
    rows = [[getattr(c, f, OPTIONAL_FIELDS.get(f)) for f in wanted] for c in configs]
    if any(not isinstance(v, int) for row in rows for v in row):
        return None
    table = dict(zip(wanted, np.asarray(rows, dtype=np.float64).T, strict=True))
    if any(np.any(table[f] < 1) for f in TILE_FIELDS):
        return None
    families = [str(getattr(c, "family", "pointer")) for c in configs]
    m, n, k = (int(getattr(problem, d)) for d in "MNK")
    return Tiles(
        m=m,
        n=n,
        k=k,
        b_row=k if getattr(problem, "b_layout", "row") == "col" else n,
        element_bytes=problem.torch_dtype.itemsize,
        block_m=table["BLOCK_M"],
        block_n=table["BLOCK_N"],
        block_k=table["BLOCK_K"],
        group_m=np.maximum(1, table["GROUP_M"]),
        warps=table["num_warps"],
        stages=table["num_stages"],
        pieces=np.maximum(1, table["EPILOGUE_SUBTILE"]),
        flatten=table["FLATTEN"] > 0,
        tma=np.array(["tma" in f for f in families]),
        persistent=np.array(["persistent" in f for f in families]),
    )


def matrix_instruction(tiles: Tiles, hardware: Hardware) -> npt.NDArray[np.str_]:
    """The matrix instruction a tile can use.

    wgmma takes 64 rows per warp group of four warps, tcgen05 64 or 128 rows per block; smaller tiles fall back to
    mma.sync. Source: PTX ISA, sections wgmma.mma_async and tcgen05.mma."""
    if hardware.backend == "hip":
        return np.full(tiles.block_m.shape, "mfma")
    grouped = (tiles.block_m >= 64) & (tiles.warps % 4 == 0)
    large = {9: "wgmma", 10: "tcgen05"}.get(int(hardware.arch) // 10, "mma.sync")
    return np.where(grouped, large, "mma.sync")


def register_need(tiles: Tiles, tensor_core: npt.NDArray[np.str_], accumulators: Floats, warp_size: int) -> Floats:
    """Registers per thread that the main loop wants, before any limit.

    wgmma reads its operands from shared memory, tcgen05 also accumulates outside the registers; mma.sync and mfma hold
    two k slices of 16 of both operands in registers (double buffering). Warps are taken to split the tile squarely."""
    side = np.sqrt(tiles.block_m * tiles.block_n / tiles.warps)
    fragments = 2 * (2 * side) * 16 * tiles.element_bytes / (warp_size * 4)
    in_registers = np.isin(tensor_core, ["mma.sync", "mfma"])
    held = np.where(tensor_core == "tcgen05", accumulators / tiles.pieces / 2, accumulators)
    pointers = np.where(tiles.tma, 0, POINTER_REGISTERS)
    return held + np.where(in_registers, fragments, 0) + pointers + np.where(tiles.flatten, 8, 0) + BASE_REGISTERS


def shared_need(tiles: Tiles, tensor_core: npt.NDArray[np.str_]) -> Floats:
    """Shared memory per block, bytes: the operand ring, the store's staging buffer, and scratch to rearrange pieces.

    Pointer loads for mma.sync and mfma keep one stage in registers. A persistent kernel loads the next tile while it
    stores this one, so its staging buffer lies beside the ring; elsewhere the drained ring serves. Where warp groups
    stand side by side along N (more of them than 64-row slices), cutting the tile's columns into pieces moves fp32
    values from warp to warp through scratch, and a flattened loop has no drained ring to lend it. Source: what Triton
    3.6 allocated for 1,027 configs on sm_90; all 18 that did not fit are told so here, and no other."""
    in_registers = np.isin(tensor_core, ["mma.sync", "mfma"]) & ~tiles.tma
    ring = np.where(in_registers, np.maximum(1, tiles.stages - 1), tiles.stages) * tiles.stage_bytes
    piece = tiles.block_m * tiles.block_n / tiles.pieces
    beside = (tensor_core == "wgmma") & (tiles.pieces > 1) & (tiles.warps / 4 > tiles.block_m / 64)
    scratch = np.where(beside, piece * 4, 0)
    staging = piece * tiles.element_bytes
    loop = np.where(tiles.flatten, ring + scratch, np.maximum(ring, scratch))
    return np.where(tiles.persistent, loop + staging, np.maximum(ring, staging))


def resident_blocks(hardware: Hardware, threads: Floats, registers: Floats, shared: Floats) -> Floats:
    """Blocks that fit on one SM together: ``kernels.hardware.occupancy`` for arrays, with registers in steps of 8."""
    by_shared = np.floor(hardware.shared_per_sm / (shared + RESERVED_SHARED[hardware.backend]))
    by_registers = np.floor(hardware.registers_per_sm / (np.ceil(registers / 8) * 8 * threads))
    by_threads = np.floor(hardware.threads_per_sm / threads)
    by_slots = np.full(threads.shape, float(hardware.blocks_per_sm))
    return np.asarray(np.minimum.reduce([by_shared, by_registers, by_threads, by_slots]))


def read_launch(tiles: Tiles, hardware: Hardware, compiled: Mapping[int, CompileResult]) -> Launch:
    """Resources of each config: the compiler's figures where `compiled` has them for its index, else the estimate."""
    threads = tiles.warps * hardware.warp_size
    accumulators = tiles.block_m * tiles.block_n / threads
    tensor_core = matrix_instruction(tiles, hardware)
    need = register_need(tiles, tensor_core, accumulators, hardware.warp_size)
    encodable = 512 if hardware.backend == "hip" else 255
    limit = np.minimum(encodable, np.floor(hardware.registers_per_sm / threads / 8) * 8)
    registers, spills = np.minimum(need, limit), np.maximum(0, need - limit) * 4
    shared = shared_need(tiles, tensor_core)
    known, serialized = np.zeros(threads.shape, bool), np.zeros(threads.shape, bool)
    figures = [(i, r) for i, r in compiled.items() if r.status == "correct"]
    for i, result in figures:
        known[i] = True
        registers[i] = _or(result.registers, registers[i])
        spills[i] = _or(result.spill_bytes, spills[i])
        shared[i] = _or(result.shared_bytes, shared[i])
        threads[i] = _or(result.num_warps, tiles.warps[i]) * hardware.warp_size
        if result.tensor_core is not None:
            tensor_core[i] = result.tensor_core
        serialized[i] = any("C7511" in w or "serializ" in w for w in result.warnings)
    blocks = resident_blocks(hardware, threads, registers, shared)
    for i, result in figures:
        blocks[i] = _or(result.blocks_per_sm, blocks[i])
    fits = (shared <= hardware.shared_per_block) & (blocks >= 1)
    return Launch(
        tensor_core=tensor_core,
        registers=registers,
        accumulators=accumulators,
        spill_bytes=spills,
        shared_bytes=shared,
        blocks_per_sm=np.maximum(1, blocks),
        fits=fits,
        compiled=known,
        serialized=serialized,
    )


def _or(value: Any, otherwise: Any) -> float:
    return float(otherwise if value is None else value)
