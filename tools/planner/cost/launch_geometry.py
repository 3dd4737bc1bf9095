"""Computes a tiled matmul's tiles, instruction, registers, shared memory and resident blocks on one GPU.

Everything is computed for many configs at once, in arrays with one entry per config. The values come from the
compiler's figures if the config was compiled, otherwise from its fields.
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
"""Optional fields of a matmul config, and the value that an absent field means."""

BASE_REGISTERS = 40
"""Registers per thread for loop state, barriers and addresses, if the operands stay in shared memory. Source: the Gluon
128x256x64 kernel compiles to 168 registers a thread, 128 of them accumulators."""
POINTER_REGISTERS = 16
"""Additional registers per thread if every thread keeps its own load addresses and masks."""
SPECIALIZED_REGISTERS = 168
"""Registers per thread at launch if warps are specialised. The producer's warps then release most of theirs to the
others. Source: ``kernels.gemm.gluon_space``."""
PRODUCER_WARPS = 4
"""Warps of the group that only loads: registers are reallocated by whole warp groups (PTX ISA, setmaxnreg)."""
BARRIER_BYTES = 1024
"""An upper bound on the barriers of a ring."""
WHOLE_TILE = 128 * 4 * 32
"""Accumulators that one consumer of four warps can hold. If a tile fits, two consumers take whole tiles in turn;
otherwise each takes half of every tile."""


@dataclass(frozen=True)
class Tiles:
    """The fields of a matmul's configs as arrays, and the problem they tile."""

    m: int
    n: int
    k: int
    b_row: int
    """Contiguous elements of B: N, or K if B is column-major."""
    a_share: float
    """Distinct elements of A divided by M K: below 1 if a convolution reads one pixel for several taps."""
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
    """Groups of warps that multiply, if warps are specialised."""
    overlap: Flags
    """Whether the kernel starts while the launch before it still runs."""
    flatten: Flags
    tma: Flags
    persistent: Flags
    specialized: Flags
    """Whether one warp loads for all others."""
    by_rows: Flags
    """Whether two consumers always share a tile's rows, even if one could hold the tile."""
    streaming: Flags
    """Whether the K steps of the last wave's tiles are divided among several programs (stream K)."""

    @property
    def rows(self) -> Floats:
        return np.ceil(self.m / self.block_m)

    @property
    def columns(self) -> Floats:
        return np.ceil(self.n / self.block_n)

    @property
    def count(self) -> Floats:
        """Number of tiles times the parts of the K range."""
        return self.rows * self.columns * self.split

    @property
    def k_steps(self) -> Floats:
        """K steps of one program in one tile."""
        return np.ceil(np.ceil(self.k / self.block_k) / self.split)

    def streamed(self, sms: int) -> tuple[Floats, Floats]:
        """The number of tiles whose K steps are divided, and of programs that share them (1 if there are no such
        tiles). It is ``kernels.gemm.stream_k_schedule`` for arrays."""
        rest = np.where(self.streaming, self.count % sms, 0.0)
        alone = (rest == 0) | (self.count < sms) | (rest * self.k_steps >= LEAST_STEPS * sms)
        streamed = np.where(alone, rest, rest + sms)
        return streamed, np.maximum(1.0, np.minimum(sms, streamed * self.k_steps))

    @property
    def takes_turns(self) -> Flags:
        """Whether two consumers take every second tile each. One multiplies while the other stores."""
        small = self.block_m * self.block_n <= WHOLE_TILE
        return np.asarray(self.specialized & ~self.by_rows & (self.consumers == 2) & small)

    @property
    def stage_bytes(self) -> Floats:
        """Operand bytes of one k step of one tile."""
        return (self.block_m + self.block_n) * self.block_k * self.element_bytes


@dataclass(frozen=True)
class Launch(Resources):
    """The resources and the matrix instruction of each config."""

    tensor_core: npt.NDArray[np.str_]
    """``wgmma``, ``tcgen05``, ``mma.sync`` or ``mfma``."""
    accumulators: Floats
    """Registers per thread that hold the tile's partial sums."""
    serialized: Flags
    """Whether the compiler warned that it serialised the wgmmas (ptxas C7511)."""


def read_tiles(problem: Problem, configs: Sequence[Config]) -> Tiles | None:
    """The configs as tiles of a matmul; ``None`` if problem or configs are not of a matmul."""
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
    by_rows = np.array([f == "trimmed" for f in families])
    specialized = by_rows | np.array([f == "warp_specialized" for f in families])
    m, n, k, a_share = shape
    element_bytes = problem.torch_dtype.itemsize
    b_row = k if getattr(problem, "b_layout", "row") == "col" else n
    # The split_k and stream_k families use descriptors if rows are a multiple of 16 bytes.
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
        by_rows=by_rows,
        streaming=np.array([f == "stream_k" for f in families]),
    )


def matmul_shape(problem: Problem) -> tuple[int, int, int, float] | None:
    """M, N, K, and the distinct elements of A divided by M K; ``None`` if the problem is no matmul. A convolution is a
    matmul with `pixels` rows, K columns and `terms` products, and reads its image once."""
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
    """The matrix instruction that a tile can use.

    wgmma takes 64 rows per warp group of four warps, tcgen05 takes 64 or 128 rows per block. Smaller tiles use
    mma.sync. Source: PTX ISA, sections wgmma.mma_async and tcgen05.mma."""
    if hardware.backend == "hip":
        return np.full(tiles.block_m.shape, "mfma")
    grouped = (tiles.block_m >= 64) & (tiles.warps % 4 == 0)
    large = {9: "wgmma", 10: "tcgen05"}.get(int(hardware.arch) // 10, "mma.sync")
    return np.where(grouped, large, "mma.sync")


def register_need(tiles: Tiles, tensor_core: npt.NDArray[np.str_], accumulators: Floats, warp_size: int) -> Floats:
    """Registers per thread that the main loop needs, before any limit.

    wgmma reads its operands from shared memory. tcgen05 also accumulates outside the registers. mma.sync and mfma hold
    two k slices of 16 of both operands in registers (double buffering). The estimate assumes that each warp's part of
    the tile is square."""
    side = np.sqrt(tiles.block_m * tiles.block_n / tiles.warps)
    fragments = 2 * (2 * side) * 16 * tiles.element_bytes / (warp_size * 4)
    in_registers = np.isin(tensor_core, ["mma.sync", "mfma"])
    accumulating = np.where(tensor_core == "tcgen05", accumulators / tiles.pieces / 2, accumulators)
    pointers = np.where(tiles.tma, 0, POINTER_REGISTERS)
    return (
        accumulating + np.where(in_registers, fragments, 0) + pointers + np.where(tiles.flatten, 8, 0) + BASE_REGISTERS
    )


def shared_need(tiles: Tiles, tensor_core: npt.NDArray[np.str_]) -> Floats:
    """Shared memory per block, bytes: the operand ring, the store's staging buffer, and scratch to rearrange pieces.

    Pointer loads for mma.sync and mfma keep one stage in registers. A persistent kernel loads the next tile while it
    stores the current one, so it needs a staging buffer besides the ring; other kernels reuse the drained ring. If warp
    groups split N (there are more groups than 64-row slices), cutting the tile's columns into pieces moves fp32 values
    between warps through scratch memory. A flattened loop never drains its ring, so this scratch comes on top. Source:
    what Triton 3.6 allocated for 1,027 configs on sm_90. This function names all 18 that did not fit, and no other."""
    in_registers = np.isin(tensor_core, ["mma.sync", "mfma"]) & ~tiles.tma
    ring = np.where(in_registers, np.maximum(1, tiles.stages - 1), tiles.stages) * tiles.stage_bytes
    piece = tiles.block_m * tiles.block_n / tiles.pieces
    beside = (tensor_core == "wgmma") & (tiles.pieces > 1) & (tiles.warps / 4 > tiles.block_m / 64)
    scratch = np.where(beside, piece * 4, 0)
    staging = piece * tiles.result_bytes
    loop = np.where(tiles.flatten, ring + scratch, np.maximum(ring, scratch))
    triton = np.where(tiles.persistent, loop + staging, np.maximum(ring, staging))
    # Specialised kernels double their staging buffers if a tile is stored in pieces, and if consumers take turns.
    buffers = np.where(tiles.pieces > 1, 2, 1) * np.where(tiles.takes_turns, 2, 1)
    return np.where(tiles.specialized, ring + buffers * staging + BARRIER_BYTES, triton)


def read_launch(tiles: Tiles, hardware: Hardware, compiled: Compiled) -> Launch:
    """Resources of each config: the compiler's figures if `compiled` has them for its index, else the estimate."""
    multiplying = tiles.warps * hardware.warp_size
    threads = multiplying + np.where(tiles.specialized, PRODUCER_WARPS * hardware.warp_size, 0)
    tiles_held = np.where(tiles.takes_turns, 2, 1)  # each consumer has a tile of its own
    accumulators = tiles_held * tiles.block_m * tiles.block_n / multiplying
    tensor_core = matrix_instruction(tiles, hardware)
    need = register_need(tiles, tensor_core, accumulators, hardware.warp_size)
    # A specialised kernel that would spill does not compile.
    need = np.where(tiles.specialized, SPECIALIZED_REGISTERS, need)
    found = resources_of(hardware, threads, need, shared_need(tiles, tensor_core), compiled)
    serialized = np.zeros(threads.shape, bool)
    for i, result in compiled.items():
        if result.status == "correct":
            tensor_core[i] = result.tensor_core or tensor_core[i]
            serialized[i] = any("C7511" in w or "serializ" in w for w in result.warnings)
    return Launch(**vars(found), tensor_core=tensor_core, accumulators=accumulators, serialized=serialized)
