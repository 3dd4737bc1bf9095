"""What a tiled matmul's configs mean on one GPU: tiles, instruction, registers, shared memory, resident blocks.

Everything is worked out for many configs at once, in arrays of one entry a config: from the config's fields alone
before anything was compiled, and from the compiler's figures where there are some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.gemm.stream_k_schedule import LEAST_STEPS
from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from tools.planner.cost.resources import Compiled, Flags, Floats, Resources, resources_of

TILE_FIELDS = ("BLOCK_M", "BLOCK_N", "BLOCK_K", "num_warps", "num_stages")
OPTIONAL_FIELDS = {"GROUP_M": 1, "EPILOGUE_SUBTILE": 1, "FLATTEN": 0, "SPLIT_K": 1, "CONSUMERS": 1, "OVERLAP": 0}
"""Fields of a matmul config that have a meaning when absent, and that meaning."""

BASE_REGISTERS = 40
"""Loop state, barriers and addresses of a kernel whose operands stay in shared memory. Source: the Gluon
128x256x64 kernel compiles to 168 registers a thread, 128 of them accumulators."""
POINTER_REGISTERS = 16
"""More where every thread keeps its own load addresses and masks."""
SPECIALIZED_REGISTERS = 168
"""Per thread at launch where warps have roles; the producer's warps then hand most of theirs to the others. Source:
``kernels.gemm.gluon_space``."""
PRODUCER_WARPS = 4
"""Of a warp group that only loads: registers are handed over by whole warp groups (PTX ISA, setmaxnreg)."""
BARRIER_BYTES = 1024
"""More than the barriers of a ring take."""
WHOLE_TILE = 128 * 4 * 32
"""Accumulators that one consumer of four warps can hold: two such consumers take whole tiles in turn, others halves."""


@dataclass(frozen=True)
class Tiles:
    """The fields of a matmul's configs as arrays, and the problem they tile."""

    m: int
    n: int
    k: int
    b_row: int
    """Contiguous elements of B: N, or K where B is column-major."""
    a_share: float
    """Distinct elements of A over M K: under 1 where a convolution reads one pixel for several taps."""
    element_bytes: int
    """Of an operand."""
    result_bytes: int
    """Of an element of the result."""
    block_m: Floats
    block_n: Floats
    block_k: Floats
    group_m: Floats
    warps: Floats
    stages: Floats
    pieces: Floats
    """Parts in which the epilogue stores a tile."""
    split: Floats
    """Programs that share the K range of one tile."""
    consumers: Floats
    """Groups of warps that multiply, where warps have roles."""
    overlap: Flags
    """Whether it starts while the launch before still runs."""
    flatten: Flags
    tma: Flags
    persistent: Flags
    specialized: Flags
    """Whether one warp loads for all others."""
    streaming: Flags
    """Whether the tiles of the last wave are shared out step by step."""

    @property
    def rows(self) -> Floats:
        return np.ceil(self.m / self.block_m)

    @property
    def columns(self) -> Floats:
        return np.ceil(self.n / self.block_n)

    @property
    def count(self) -> Floats:
        """Tiles, each as often as its K range is split."""
        return self.rows * self.columns * self.split

    @property
    def k_steps(self) -> Floats:
        """Of one program at one tile."""
        return np.ceil(np.ceil(self.k / self.block_k) / self.split)

    def streamed(self, sms: int) -> tuple[Floats, Floats]:
        """Tiles that are shared out step by step, and programs that share them, 1 where none are:
        ``kernels.gemm.stream_k_schedule`` for arrays."""
        rest = np.where(self.streaming, self.count % sms, 0.0)
        alone = (rest == 0) | (self.count < sms) | (rest * self.k_steps >= LEAST_STEPS * sms)
        streamed = np.where(alone, rest, rest + sms)
        return streamed, np.maximum(1.0, np.minimum(sms, streamed * self.k_steps))

    @property
    def takes_turns(self) -> Flags:
        """Whether two consumers have every second tile each: one multiplies while the other stores."""
        return np.asarray(self.specialized & (self.consumers == 2) & (self.block_m * self.block_n <= WHOLE_TILE))

    @property
    def stage_bytes(self) -> Floats:
        """Operand bytes of one k step of one tile."""
        return (self.block_m + self.block_n) * self.block_k * self.element_bytes


@dataclass(frozen=True)
class Launch(Resources):
    """What each config asks of an SM."""

    tensor_core: npt.NDArray[np.str_]
    """``wgmma``, ``tcgen05``, ``mma.sync`` or ``mfma``."""
    accumulators: Floats
    """Registers per thread that hold the tile's partial sums."""
    serialized: Flags
    """Whether the compiler said that it had to wait for every wgmma (ptxas C7511)."""


def read_tiles(problem: Problem, configs: Sequence[Config]) -> Tiles | None:
    """The configs as tiles of a matmul, or ``None`` where problem or configs are of another kind."""
    shape = matmul_shape(problem)
    if not configs or shape is None:
        return None
    wanted = [*TILE_FIELDS, *OPTIONAL_FIELDS]
    rows = [[getattr(c, f, OPTIONAL_FIELDS.get(f)) for f in wanted] for c in configs]
    if any(not isinstance(v, int) for row in rows for v in row):
        return None
    table = dict(zip(wanted, np.asarray(rows, dtype=np.float64).T, strict=True))
    if any(np.any(table[f] < 1) for f in TILE_FIELDS):
        return None
    families = [str(getattr(c, "family", "pointer")) for c in configs]
    specialized = np.array([f == "warp_specialized" for f in families])
    m, n, k, a_share = shape
    element_bytes = problem.torch_dtype.itemsize
    b_row = k if getattr(problem, "b_layout", "row") == "col" else n
    # Families that share K out use descriptors wherever rows are a multiple of 16 bytes.
    aligned = all(row * element_bytes % 16 == 0 for row in (k, b_row))
    return Tiles(
        m=m,
        n=n,
        k=k,
        b_row=b_row,
        a_share=a_share,
        element_bytes=element_bytes,
        result_bytes=getattr(problem, "result_dtype", problem.torch_dtype).itemsize,
        block_m=table["BLOCK_M"],
        block_n=table["BLOCK_N"],
        block_k=table["BLOCK_K"],
        group_m=np.maximum(1, table["GROUP_M"]),
        warps=table["num_warps"],
        stages=table["num_stages"],
        pieces=np.maximum(1, table["EPILOGUE_SUBTILE"]),
        split=np.maximum(1, table["SPLIT_K"]),
        consumers=np.maximum(1, table["CONSUMERS"]),
        overlap=table["OVERLAP"] > 0,
        flatten=table["FLATTEN"] > 0,
        tma=np.array(["tma" in f or (f in ("split_k", "stream_k") and aligned) for f in families]) | specialized,
        persistent=np.array(["persistent" in f for f in families]) | specialized,
        specialized=specialized,
        streaming=np.array([f == "stream_k" for f in families]),
    )


def matmul_shape(problem: Problem) -> tuple[int, int, int, float] | None:
    """M, N, K and distinct elements of A over M K; ``None`` where the problem is no matmul. A convolution is one of
    `pixels` rows, K columns and `terms` products, and reads its image once."""
    if all(isinstance(getattr(problem, d, None), int) for d in "MNK"):
        m, n, k = (int(getattr(problem, d)) for d in "MNK")
        return m, n, k, 1.0
    names = ("pixels", "K", "terms", "N", "H", "W", "C")
    sizes = [getattr(problem, name, None) for name in names]
    if not all(isinstance(size, int) for size in sizes):
        return None
    m, n, k, *image = (int(size) for size in sizes if size is not None)
    return m, n, k, min(1.0, math.prod(image) / (m * k))


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
    staging = piece * tiles.result_bytes
    loop = np.where(tiles.flatten, ring + scratch, np.maximum(ring, scratch))
    triton = np.where(tiles.persistent, loop + staging, np.maximum(ring, staging))
    # By hand: two staging buffers where a tile is stored in pieces, and for each consumer that has tiles of its own.
    buffers = np.where(tiles.pieces > 1, 2, 1) * np.where(tiles.takes_turns, 2, 1)
    return np.where(tiles.specialized, ring + buffers * staging + BARRIER_BYTES, triton)


def read_launch(tiles: Tiles, hardware: Hardware, compiled: Compiled) -> Launch:
    """Resources of each config: the compiler's figures where `compiled` has them for its index, else the estimate."""
    multiplying = tiles.warps * hardware.warp_size
    threads = multiplying + np.where(tiles.specialized, PRODUCER_WARPS * hardware.warp_size, 0)
    held = np.where(tiles.takes_turns, 2, 1)  # each consumer has a tile of its own
    accumulators = held * tiles.block_m * tiles.block_n / multiplying
    tensor_core = matrix_instruction(tiles, hardware)
    need = register_need(tiles, tensor_core, accumulators, hardware.warp_size)
    # With roles, what would spill does not compile.
    need = np.where(tiles.specialized, SPECIALIZED_REGISTERS, need)
    found = resources_of(hardware, threads, need, shared_need(tiles, tensor_core), compiled)
    serialized = np.zeros(threads.shape, bool)
    for i, result in compiled.items():
        if result.status == "correct":
            tensor_core[i] = result.tensor_core or tensor_core[i]
            serialized[i] = any("C7511" in w or "serializ" in w for w in result.warnings)
    return Launch(**vars(found), tensor_core=tensor_core, accumulators=accumulators, serialized=serialized)
