"""Estimates the time of a kernel over rows (softmax, norms) from the bytes in flight and the latency that they hide.

Such a kernel runs at the rate of memory under three conditions: enough bytes are always in flight (Little's law), the
programs' own work takes no longer than their memory traffic, and the last round of programs is nearly full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from tools.planner.cost.matmul_cost import L2_LATENCY, core_clock
from tools.planner.cost.physics import (
    BLOCK_START_CLOCKS,
    L2_BYTES_PER_CLOCK,
    LAUNCH_MS,
    MEMORY_LATENCY,
    MEMORY_SHARE,
    PHYSICS_WEIGHT,
    SCHEDULERS,
    Physics,
)
from tools.planner.cost.resources import Compiled, Flags, Floats, resources_of

OPTIONAL_FIELDS = {"BLOCK_N": 0, "num_stages": 1, "PER_SM": 0, "STREAM": 0}
"""Optional fields of a config over rows, and the value that an absent field means."""
BASE_REGISTERS = 24
"""Registers per thread for addresses, masks and loop state. An estimate."""
PER_ELEMENT = 1.5
"""Registers per element of a tile: its fp32 value and, half the time, a temporary. An estimate."""
INSTRUCTIONS = 10
"""Instructions per element: load, conversion, two sums, exponential or product, conversion, store. A count, not a
measurement."""
BARRIER_CLOCKS = 40
"""Clocks of one round of a reduction across the warps of a block. An estimate."""
VECTOR_BYTES = 16
"""Bytes of one thread's widest access."""
SHARPNESS = 8.0
"""Exponent of the soft maximum of latency and bandwidth: if enough bytes are in flight, the time is that of memory.
Chosen on rms_norm."""
UNROLLED = 2
"""Blocks of a row whose loads are issued together: the assembler unrolls short loops. An estimate."""
L2_SHARE = 0.5
"""Share of L2 that holds distinct lines: each half caches what its own SMs read. Source: NVIDIA A100 white paper."""
LOST_UNTOLD = 0.15
"""Share of a row that has left L2 by its second reading, if no cache hint says that the row is read again: the results
that are written evict it. Chosen on rms_norm, on which the cache hint saves 1 to 13 %."""
HELD = 0.968
"""Share of memory's rate that a program reaches if it holds a row in registers from its load to its store. A program
that reads the row twice reaches the full rate. Chosen on rms_norm."""
L1_BYTES_PER_CLOCK = 128
"""Rate at which spilled values are written and read. Source: CUDA C++ Programming Guide, shared memory and L1."""


@dataclass(frozen=True)
class Rows:
    """The fields of the configs as arrays, and the sizes of the problem."""

    m: int
    n: int
    element_bytes: int
    height: Floats
    """Rows of a program's tile."""
    width: Floats
    """Columns of a program's tile: BLOCK_N, or the whole row up to the next power of two if there is no BLOCK_N."""
    warps: Floats
    stages: Floats
    per_sm: Floats
    """Programs per SM that take one tile after another; 0 means one program per tile."""
    twice: Flags
    """Whether a row is read twice, in blocks."""
    cache_hints: Flags
    """Whether the loads tell the caches which rows are read again."""

    @property
    def walks(self) -> Flags:
        """Whether a program takes one tile after another."""
        return self.per_sm > 0

    @property
    def blocks(self) -> Floats:
        """Blocks of a row."""
        return np.ceil(self.n / self.width)

    @property
    def programs(self) -> Floats:
        """Number of tiles of rows."""
        return np.ceil(self.m / self.height)

    @property
    def tile_bytes(self) -> Floats:
        return self.height * np.minimum(self.width, self.n) * self.element_bytes


def read_rows(problem: Problem, configs: Sequence[Config]) -> Rows | None:
    """The configs as tiles of rows; ``None`` if problem or configs are not of a kernel over rows."""
    sizes = [getattr(problem, d, None) for d in "MN"]
    if not configs or hasattr(problem, "K") or not all(isinstance(size, int) for size in sizes):
        return None
    names = ("ROWS", "num_warps", *OPTIONAL_FIELDS)
    found = [[getattr(c, name, OPTIONAL_FIELDS.get(name)) for name in names] for c in configs]
    if any(not isinstance(v, int) for row in found for v in row):
        return None
    height, warps, block, stages, per_sm, stream = np.asarray(found, dtype=np.float64).T
    if np.any(height < 1) or np.any(warps < 1):
        return None
    m, n = (int(size) for size in sizes if size is not None)
    whole = float(max(16, 1 << (n - 1).bit_length()))
    width = np.where(block > 0, block, whole)
    size, stages = problem.torch_dtype.itemsize, np.maximum(1, stages)
    return Rows(m, n, size, height, width, warps, stages, per_sm, block > 0, stream > 0)


def estimate_rows(rows: Rows, dtype: str, hardware: Hardware, compiled: Compiled) -> Physics | None:
    """Time and its parts for every config; ``None`` if the hardware has no peak for `dtype`."""
    clock = core_clock(hardware, dtype)
    if clock is None:
        return None
    threads = rows.warps * hardware.warp_size
    elements = rows.height * rows.width / threads
    waiting = np.where(rows.walks, (rows.stages - 1) * rows.tile_bytes, 0.0)
    found = resources_of(hardware, threads, BASE_REGISTERS + PER_ELEMENT * elements, waiting, compiled)
    most = np.where(rows.walks, np.minimum(rows.per_sm, found.blocks_per_sm), found.blocks_per_sm)
    resident = np.minimum(most, np.ceil(rows.programs / hardware.sms))

    # Triton prefetches only in a loop over tiles that asks for it (tl.range). One of its `stages` buffers is in use, as
    # in a matmul's ring. The kernel's own ``num_stages`` affects only loops with products (triton.language.range).
    ahead = np.where(rows.walks, np.maximum(1, rows.stages - 1), 1.0)
    reading = ahead * rows.tile_bytes
    bytes_per_clock = hardware.bandwidth * MEMORY_SHARE / hardware.sms / clock
    enough = bytes_per_clock * MEMORY_LATENCY
    in_flight = resident * reading / enough

    vector = np.minimum(VECTOR_BYTES, np.maximum(1, rows.width / threads) * rows.element_bytes)
    issue = elements * rows.warps * (INSTRUCTIONS + VECTOR_BYTES / vector) / SCHEDULERS
    through_l1 = 2 * found.spill_bytes * threads / L1_BYTES_PER_CLOCK
    row_bytes = rows.tile_bytes * rows.blocks
    readings = np.where(rows.twice, 2, 1)  # from memory, and again from L2
    port = (readings + 1) * row_bytes / L2_BYTES_PER_CLOCK
    work = rows.blocks * (issue + through_l1) + np.log2(2 * rows.warps) * BARRIER_CLOCKS + port
    waits = np.ceil(rows.blocks / UNROLLED)
    wait = waits * (MEMORY_LATENCY / ahead + (readings - 1) * L2_LATENCY)
    start = np.where(rows.walks, 0.0, BLOCK_START_CLOCKS)
    # The rows of all running programs, and their results, must stay in L2 between the two readings.
    lost = np.clip(2 * resident * hardware.sms * row_bytes / (L2_SHARE * hardware.l2_bytes) - 1, 0, readings - 1)
    lost = np.maximum(lost, np.where(rows.twice & ~rows.cache_hints, LOST_UNTOLD, 0.0))
    share = (2 + lost) * row_bytes / bytes_per_clock / np.where(rows.twice, 1.0, HELD)

    def clocks(together: Floats) -> Floats:
        """Clocks of one tile, with `together` programs on an SM. Programs that walk over tiles start together and stay
        in step, so their work adds up. Other programs start when their predecessors end, so one computes while another
        waits for memory."""
        tile = start + wait + np.where(rows.walks, together, 1.0) * work
        return np.asarray(((tile / together) ** SHARPNESS + np.maximum(work, share) ** SHARPNESS) ** (1 / SHARPNESS))

    # Walking programs that do not fit wait until the first ones end, and then have the SM to themselves.
    rest = np.maximum(0.0, rows.per_sm - np.floor(rows.per_sm / resident) * resident)
    late_share = np.where(rows.walks, rest / np.maximum(1, rows.per_sm), 0.0)
    mean = (1 - late_share) * clocks(resident) + late_share * clocks(np.maximum(1, rest))
    per_sm = rows.programs / hardware.sms
    places = np.where(rows.walks, rows.per_sm, resident) * hardware.sms
    rounds = np.ceil(rows.programs / places)
    fill = rows.programs / (rounds * places)
    # The last round of walking programs counts as whole.
    tail = np.where(rows.walks, 1 / fill, 1 + 0.5 / rounds)
    ms = per_sm * mean * tail / clock * 1e3 + LAUNCH_MS

    columns = [
        np.minimum(1, in_flight / 2),
        np.minimum(1, resident * threads / hardware.threads_per_sm),
        fill,
        np.minimum(1, work / np.maximum(1, share)),
        np.minimum(1, np.log2(np.maximum(1, elements)) / 7),
        np.minimum(1, np.log2(1 + found.spill_bytes) / 12),
    ]

    busy = {
        "issue slots": rows.blocks * issue,
        "L2 port": port,
        "spills": rows.blocks * through_l1,
        "DRAM": share,
    }
    terms = {name: per_sm * clocks_of_tile / clock * 1e3 for name, clocks_of_tile in busy.items()}

    def explain(i: int) -> str:
        count = f"{resident[i]:.0f} program" + ("" if resident[i] == 1 else "s")
        kept = f"{elements[i]:.0f} elements and {found.registers[i]:.0f} registers a thread"
        spilt = f" and {found.spill_bytes[i]:.0f} B spilled" if found.spill_bytes[i] else ""
        kib = resident[i] * reading[i] / 1024
        flight = f"{count} per SM keep {kib:.0f} KiB in flight of {enough / 1024:.0f} needed"
        return f"{kept}{spilt}; {flight}; {rounds[i]:.0f} rounds filled to {fill[i]:.0%}"

    return Physics(ms, PHYSICS_WEIGHT * np.stack(columns, axis=1), found.fits, explain, terms)
