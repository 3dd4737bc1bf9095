"""Estimates the time of a tiled matmul from first principles: one function per term, each with its source.

The slowest engine sets the time of a tile's main loop: tensor cores, shared memory, the SM's port to L2, or the ring of
stages that hides the load latency. The SMs compute the tiles in waves. The work of a tile before and after its loop
adds to the time, unless another block or the next tile overlaps it. The launch takes at least as long as its traffic
with device memory. Units are SM clocks inside, ms outside. Absolute times are good to tens of percent. The surrogate
calibrates them, so only the order of configs matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2

import numpy as np

from kernels.hardware import Hardware
from tools.planner.cost.launch_geometry import Launch, Tiles
from tools.planner.cost.physics import (
    BLOCK_START_CLOCKS,
    L2_BYTES_PER_CLOCK,
    LAUNCH_MS,
    MEMORY_LATENCY,
    MEMORY_SHARE,
    SCHEDULERS,
)
from tools.planner.cost.resources import Floats

SHARED_BYTES_PER_CLOCK = 128
"""32 banks of 4 bytes. Source: CUDA C++ Programming Guide, shared memory; the LDS of CDNA3 is the same."""
L2_LATENCY = 500
"""Clocks under load, about twice the unloaded 260. Source: arXiv:2402.13499, table of latencies."""
MMA_SYNC_SHARE = 0.63
"""Share of Hopper's peak that mma.sync reaches. Source: arXiv:2402.13499 (only wgmma reaches the peak)."""
COPY_INSTRUCTIONS = 6
"""Issue slots per warp-wide cp.async (addresses, predicates, copy); TMA needs one thread. Chosen so that TMA is faster
by about the 13 % that triton-lang/triton#5461 measured."""
WGMMA_LATENCY = 128
"""Clocks that a serialised wgmma waits for its result (ptxas warning C7511)."""
EPILOGUE_INSTRUCTIONS = 4
"""Instructions per output element: bias, activation, conversion, store to shared memory. A count, not a measurement."""
PERSISTENT_START_CLOCKS = 1500
"""Additional clocks before the first tile of a persistent program. Chosen on launches of one wave, in which it matters
most: the landscapes 1024^3 and 64x8192x8192."""
OVERLAPPED_MS = 0.0005
"""The part of a launch's cost that overlaps the launch before, if programs start early. Seen at 1024^3 on an H200."""
SECOND_LAUNCH_MS = 0.0015
"""Launch of the kernel that sums the parts of a split K or of a streamed tile. It overlaps the first kernel
(programmatic dependent launch). An estimate."""
PARTIAL_BYTES = 4
"""Bytes of an element of a partial sum: fp32."""
L2_KEEPS = 0.8
"""Share of L2 that holds operands while outputs stream through."""
SHARPNESS = 5.0
"""Exponent of the soft maximum: two equally loaded engines take 1.15 times as long as one of them. An estimate."""

ENGINES = ("tensor cores", "shared memory", "the L2 port", "load latency", "device memory")


@dataclass(frozen=True)
class Cost:
    """The model's estimates for each config."""

    ms: Floats
    tensor: Floats
    shared: Floats
    l2: Floats
    latency: Floats
    """Clocks of one k step by engine, for all blocks resident on one SM together."""
    waves: Floats
    """Rounds of tiles over the SMs. The last round counts as whole."""
    fill: Floats
    """Tiles divided by the places for them in those rounds, 0..1."""
    overhead: Floats
    """Share of an SM's time outside main loops."""
    memory: Floats
    """Device memory time divided by the SMs' time."""
    terms: Mapping[str, Floats]
    """ms for which each unit is busy in the whole launch (:class:`tools.planner.cost.physics.Physics`)."""

    def limiter(self, i: int) -> str:
        """The engine that bounds config `i`."""
        if self.memory[i] > 1:
            return ENGINES[4]
        steps = [self.tensor[i], self.shared[i], self.l2[i], self.latency[i]]
        return ENGINES[int(np.argmax(steps))]


def soft_max(*terms: Floats) -> Floats:
    """The p-norm of the terms: slightly above the largest term, and more so if two terms are close."""
    powers: Floats = np.sum([t**SHARPNESS for t in terms], axis=0)
    return np.asarray(powers ** (1 / SHARPNESS))


def multiply_adds_per_clock(peak: float, sms: int) -> float:
    """Dense multiply-adds of one SM per clock: the power of two that puts the clock nearest to 1.8 GHz.

    Gives 1024 for an A100 (1.41 GHz), 2048 for an H100 (1.83), 4096 for a B200 (1.86), 1024 for an MI300X (2.1), 256
    for an RTX 4090 (2.52), as their white papers do."""
    return float(2 ** round(log2(peak / (2 * sms * 1.8e9))))


def core_clock(hardware: Hardware, dtype: str) -> float | None:
    """Boost clock in Hz, from the peak; ``None`` if the hardware has no peak for `dtype`."""
    peak = hardware.peak.get(dtype)
    return None if peak is None else peak / (2 * hardware.sms * multiply_adds_per_clock(peak, hardware.sms))


def tensor_clocks(tiles: Tiles, launch: Launch, per_clock: float, hopper_or_later: bool) -> Floats:
    """Tensor core time of one k step of one tile, with the instructions that its warps issue in between."""
    multiply = tiles.block_m * tiles.block_n * tiles.block_k / per_clock
    warp_level = (launch.tensor_core == "mma.sync") & hopper_or_later
    multiply = np.where(warp_level, multiply / MMA_SYNC_SHARE, multiply)
    half = (launch.tensor_core == "tcgen05") & (tiles.block_m < 128)  # a 64-row tcgen05 runs at half rate
    return np.where(half, 2 * multiply, multiply) + copy_clocks(tiles) + spill_clocks(tiles, launch)


def copy_clocks(tiles: Tiles) -> Floats:
    """Issue slots that pointer loads take from the warps that also feed the tensor cores.

    A copy moves up to 16 bytes per thread, and fewer if the row length is no multiple of 16 bytes."""

    def vector_bytes(row: int) -> int:
        return tiles.element_bytes * int(np.gcd(row, 16 // tiles.element_bytes))

    along_a = tiles.block_m * tiles.block_k * tiles.element_bytes / (32 * vector_bytes(tiles.k))
    along_b = tiles.block_n * tiles.block_k * tiles.element_bytes / (32 * vector_bytes(tiles.b_row))
    return np.where(tiles.tma, 0.0, (along_a + along_b) * COPY_INSTRUCTIONS / SCHEDULERS)


def spill_clocks(tiles: Tiles, launch: Launch) -> Floats:
    """Clocks of one k step that spills and serialised wgmmas add: spilled accumulators go through L1 and back, and each
    serialised wgmma waits for the one before."""
    through_l1 = 2 * launch.spill_bytes * tiles.warps * 32 / SHARED_BYTES_PER_CLOCK
    k_steps = tiles.block_k * tiles.element_bytes / 32  # an instruction takes 32 bytes of K
    instructions = np.maximum(1, tiles.block_m / 64 / np.maximum(1, tiles.warps / 4)) * k_steps
    return through_l1 + np.where(launch.serialized, instructions * WGMMA_LATENCY, 0.0)


def shared_clocks(tiles: Tiles, launch: Launch) -> Floats:
    """Shared memory reads of one k step of one tile.

    wgmma m64nNk16 reads 64 rows of A and N columns of B, with N at most 256. Warp groups split the rows first, then the
    columns, so each 64-row slice reads B again. tcgen05 takes 128 rows at a time and is not split among warps. With
    mma.sync and mfma each warp reads the sides of its own piece. Source: PTX ISA, wgmma and tcgen05 shapes."""
    groups = np.maximum(1, tiles.warps / 4)
    along_m = np.minimum(groups, np.maximum(1, tiles.block_m / 64))
    width = np.minimum(256, tiles.block_n / np.maximum(1, groups / along_m))
    grouped = np.maximum(1, tiles.block_m / 64) * tiles.block_n / width * (64 + width)
    by_block = np.maximum(1, tiles.block_m / 128) * (128 + tiles.block_n)
    by_warp = 2 * np.sqrt(tiles.block_m * tiles.block_n * tiles.warps)
    kinds = [launch.tensor_core == "wgmma", launch.tensor_core == "tcgen05"]
    elements: Floats = np.select(kinds, [grouped, by_block], by_warp) * tiles.block_k
    return elements * tiles.element_bytes / SHARED_BYTES_PER_CLOCK


def ring_clocks(tiles: Tiles, load: Floats, tensor: Floats) -> Floats:
    """Shortest k step that the ring of stages allows when a load takes `load` clocks from issue to arrival.

    The loop issues load ``i + stages - 1`` only after load ``i`` has arrived, so ``stages - 1`` loads are in flight.
    With one stage, loads and products alternate. Source: the loop that Triton's pipeliner emits (wait, wgmma, wait for
    the one before, issue). A warp that only loads waits in the same way. By this term 128x256x128 loses 14 % with two
    stages; 25 % was measured in one family."""
    return np.asarray(np.where(tiles.stages > 1, load / np.maximum(1, tiles.stages - 1), load + tensor))


def wave_operands(tiles: Tiles, resident: Floats) -> Floats:
    """Distinct operand bytes that `resident` concurrent tiles read together, over the whole of their K.

    Tiles run down GROUP_M rows before the next column, so a wave is a block of rows and columns. In a split K, all
    tiles of one part of K come before the next part. Source: Triton's matmul tutorial, "L2 cache optimizations"."""
    shares = np.maximum(1, resident / (tiles.rows * tiles.columns))
    resident = resident / shares
    group = np.minimum(tiles.group_m, tiles.rows)
    in_group = group * tiles.columns
    rows = np.where(resident <= in_group, group, np.ceil(resident / in_group) * group)
    columns = np.minimum(np.ceil(resident / group), tiles.columns)
    m = np.minimum(rows * tiles.block_m, tiles.m)
    n = np.minimum(columns * tiles.block_n, tiles.n)
    return (m * tiles.a_share + n) * (shares / tiles.split) * tiles.k * tiles.element_bytes


def memory_reads(tiles: Tiles, resident: Floats, l2_bytes: int) -> Floats:
    """Bytes read from device memory: each operand once, and each wave's operands again to the extent that L2 cannot
    hold them."""
    once = float((tiles.m * tiles.a_share + tiles.n) * tiles.k * tiles.element_bytes)
    again = np.maximum(once, wave_operands(tiles, resident) * tiles.count / resident)
    lost = np.clip(once / (L2_KEEPS * l2_bytes) - 1, 0, 1)
    return np.asarray(once + (again - once) * lost)


def epilogue_clocks(tiles: Tiles) -> Floats:
    """Exposed time of a tile's epilogue: its arithmetic, and the part of its store that nothing overlaps.

    TMA stores are asynchronous: a piece is stored while the next one is computed. A flattened loop already loads the
    next tile. A part of a split K is stored without an epilogue, in fp32. A streamed tile is stored by pointers.
    Source: Triton tutorial 09, persistent matmul."""
    elements = tiles.block_m * tiles.block_n
    compute = elements * EPILOGUE_INSTRUCTIONS / (32 * SCHEDULERS)
    store = elements * np.where(tiles.split > 1, PARTIAL_BYTES, tiles.result_bytes) / L2_BYTES_PER_CLOCK
    beside = np.where(tiles.tma & (tiles.split == 1) & ~tiles.streaming, 0.5, 1.0) / np.where(
        tiles.tma, tiles.pieces, 1
    )
    return compute + store * beside


def covered_share(tiles: Tiles) -> Floats:
    """Share of a tile's epilogue that overlaps the next tile's loop: one of two consumers stores while the other
    multiplies. If the consumers take turns, almost all of the epilogue overlaps. Estimates. Source:
    ``kernels.gemm.gluon``."""
    both = tiles.specialized & (tiles.consumers == 2)
    return np.where(both, np.where(tiles.takes_turns, 0.9, 0.5), 0.0)


def streamed_parts(tiles: Tiles, sms: int) -> tuple[Floats, Floats]:
    """Elements of all parts of the streamed tiles that have several parts, and elements of these tiles. Each program
    but the last ends inside a tile, so it adds a part to that tile."""
    streamed, programs = tiles.streamed(sms)
    shared = np.minimum(streamed, programs - 1)
    tile = tiles.block_m * tiles.block_n
    return (shared + programs - 1) * tile, shared * tile


def sum_ms(tiles: Tiles, hardware: Hardware, clock: float) -> Floats:
    """Time in ms of the second kernel of a split K. It reads every partial sum, from L2 if it fits there, and writes
    the result. The second kernel of streamed tiles does the same for their parts."""
    parts, shared = streamed_parts(tiles, hardware.sms)
    elements = np.where(tiles.streaming, shared, float(tiles.m * tiles.n))
    shares = np.where(tiles.streaming, parts * PARTIAL_BYTES, elements * PARTIAL_BYTES * tiles.split)
    in_l2 = np.minimum(1.0, L2_KEEPS * hardware.l2_bytes / np.maximum(1.0, shares))
    l2_rate = L2_BYTES_PER_CLOCK * hardware.sms * clock
    rate = hardware.bandwidth * MEMORY_SHARE
    spilled = 2 * shares * (1 - in_l2) / rate  # written by the first kernel, read by the second
    seconds = shares * in_l2 / l2_rate + spilled + elements * tiles.result_bytes / rate
    return np.asarray(np.where((tiles.split > 1) | tiles.streaming, seconds * 1e3 + SECOND_LAUNCH_MS, 0.0))


def estimate(tiles: Tiles, launch: Launch, hardware: Hardware, dtype: str) -> Cost | None:
    """Time and its parts for every config; ``None`` if the hardware has no peak for `dtype`."""
    clock = core_clock(hardware, dtype)
    if clock is None:
        return None
    per_clock = multiply_adds_per_clock(hardware.peak[dtype], hardware.sms)
    places = np.where(tiles.persistent, 1.0, launch.blocks_per_sm)
    resident = np.minimum(places * hardware.sms, tiles.count)
    reads = memory_reads(tiles, resident, hardware.l2_bytes)
    # The blocks of a wave go through K in step. The first to read a slice misses L2, and the others wait with it.
    cold = np.minimum(1, reads / (wave_operands(tiles, resident) * tiles.count / resident))

    hopper_or_later = hardware.backend == "cuda" and int(hardware.arch) >= 90
    tensor = tensor_clocks(tiles, launch, per_clock, hopper_or_later)
    shared = shared_clocks(tiles, launch)
    l2 = tiles.stage_bytes / L2_BYTES_PER_CLOCK
    epilogue, covered = epilogue_clocks(tiles), covered_share(tiles)
    runs_on = tiles.persistent & (tiles.flatten | tiles.specialized)
    streamed, programs = tiles.streamed(hardware.sms)
    # Streamed tiles come after the whole waves. One program per SM works on them until the end.
    whole = (tiles.count - streamed) / (places * hardware.sms)
    full = np.where(tiles.streaming, whole, np.floor(tiles.count / (places * hardware.sms)))
    rest = np.where(tiles.streaming, streamed, tiles.count - full * places * hardware.sms)
    last = (rest > 0).astype(float)
    share = np.where(tiles.streaming, streamed / programs, 1.0)  # of a tile's steps, in the last wave
    part_store = tiles.block_m * tiles.block_n * (PARTIAL_BYTES - tiles.result_bytes) / L2_BYTES_PER_CLOCK

    def launch_clocks(load: Floats) -> tuple[Floats, Floats, Floats]:
        """Clocks of the launch, its clocks outside main loops, and clocks of a k step by the ring. `load` is the load
        of device memory, in 0..1.

        The latency of memory doubles from no load to full load, because requests wait for one another. L2 counts as
        fully loaded in every matmul."""
        latency = L2_LATENCY + cold * (MEMORY_LATENCY * (1 + load) / 2 - L2_LATENCY)
        ring = ring_clocks(tiles, latency + l2, tensor)
        start = np.where(tiles.persistent, BLOCK_START_CLOCKS / 4, BLOCK_START_CLOCKS)
        outside = start + np.where(runs_on, 0.0, latency + l2) + (1 - covered) * epilogue
        # The first tile has no tile before it and the last has none after it that could overlap their work.
        ends = np.where(runs_on, latency + l2, 0.0) + covered * epilogue
        ends += np.where(tiles.persistent, PERSISTENT_START_CLOCKS, 0)

        def wave(blocks: Floats) -> tuple[Floats, Floats]:
            """Clocks of one wave of `blocks` tiles per SM: in the main loops, and exposed outside them."""
            blocks = np.maximum(1, blocks)
            step = soft_max(blocks * tensor, blocks * shared, blocks * l2, ring)
            return tiles.k_steps * step, outside / blocks

        inside_full, outside_full = wave(places)
        inside_last, outside_last = wave(np.where(tiles.streaming, 1.0, np.ceil(rest / hardware.sms)))
        # A program's share begins and ends inside tiles, so it touches one more tile than its length.
        pieces = np.where(tiles.streaming, (share + 1) * (outside_last + part_store), outside_last)
        exposed = full * outside_full + last * pieces + ends
        return full * inside_full + last * share * inside_last + exposed, exposed, ring

    writes = np.where(tiles.split > 1, 0.0, float(tiles.m * tiles.n * tiles.result_bytes))
    summed = np.where(tiles.streaming, streamed_parts(tiles, hardware.sms)[1] * tiles.result_bytes, 0.0)
    writes = np.maximum(0.0, writes - summed)
    memory_clocks = (reads + writes) / (hardware.bandwidth * MEMORY_SHARE) * clock
    launch_ms = LAUNCH_MS - np.where(tiles.overlap, OVERLAPPED_MS, 0.0)
    idle, _, _ = launch_clocks(np.zeros(tiles.count.shape))
    clocks, exposed, ring = launch_clocks(np.minimum(1, memory_clocks / idle))
    return Cost(
        ms=soft_max(clocks, memory_clocks) / clock * 1e3 + launch_ms + sum_ms(tiles, hardware, clock),
        tensor=places * tensor,
        shared=places * shared,
        l2=places * l2,
        latency=ring,
        waves=full + last * share,
        fill=np.where(tiles.streaming, 1.0, tiles.count / ((full + last) * places * hardware.sms)),
        overhead=exposed / clocks,
        memory=memory_clocks / clocks,
        terms={
            name: of_step * tiles.k_steps * tiles.count / hardware.sms / clock * 1e3
            for name, of_step in (("tensor cores", tensor), ("shared-memory port", shared), ("L2 port", l2))
        }
        | {"DRAM": memory_clocks / clock * 1e3},
    )
