"""Time of a kernel over rows (softmax, norms): how many bytes a config keeps in flight, and what hides their latency.

Such a kernel is as fast as memory if enough of its bytes are always on their way (Little's law), if its programs' own
work fits beside that, and if the last round of programs is nearly full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from tools.planner.cost_model import core_clock
from tools.planner.physics import (
    BLOCK_START_CLOCKS,
    L2_BYTES_PER_CLOCK,
    LAUNCH_MS,
    MEMORY_LATENCY,
    MEMORY_SHARE,
    PHYSICS_WEIGHT,
    SCHEDULERS,
    Physics,
)
from tools.planner.resources import Compiled, Flags, Floats, resources_of

OPTIONAL_FIELDS = {"BLOCK_N": 0, "num_stages": 1, "PER_SM": 0}
"""Fields of a config over rows that have a meaning when absent, and that meaning."""
BASE_REGISTERS = 24
"""Addresses, masks and loop state. An estimate."""
PER_ELEMENT = 1.5
"""Registers an element of a tile takes: its fp32 value and, half the time, a temporary. An estimate."""
INSTRUCTIONS = 10
"""Per element: load, conversion, two sums, exponential or product, conversion, store. A count, not a measurement."""
BARRIER_CLOCKS = 40
"""A round of a reduction across the warps of a block. An estimate."""
VECTOR_BYTES = 16
"""Of one thread's widest access."""
L1_BYTES_PER_CLOCK = 128
"""Through which spilled values go and come. Source: CUDA C++ Programming Guide, shared memory and L1."""


@dataclass(frozen=True)
class Rows:
    """The fields of the configs as arrays, and the problem."""

    m: int
    n: int
    element_bytes: int
    height: Floats
    """Rows of a program's tile."""
    width: Floats
    """Columns of it: a whole row, to the next power of two, where it is not walked in blocks."""
    warps: Floats
    stages: Floats
    per_sm: Floats
    """Programs per SM that take one tile after another; 0: one program a tile."""

    @property
    def walks(self) -> Flags:
        return self.per_sm > 0

    @property
    def blocks(self) -> Floats:
        """Blocks of a row."""
        return np.ceil(self.n / self.width)

    @property
    def programs(self) -> Floats:
        """Tiles of rows, whoever works on them."""
        return np.ceil(self.m / self.height)

    @property
    def tile_bytes(self) -> Floats:
        return self.height * np.minimum(self.width, self.n) * self.element_bytes


def read_rows(problem: Problem, configs: Sequence[Config]) -> Rows | None:
    """The configs as tiles of rows, or ``None`` where problem or configs are of another kind."""
    sizes = [getattr(problem, d, None) for d in "MN"]
    if not configs or hasattr(problem, "K") or not all(isinstance(size, int) for size in sizes):
        return None
    names = ("ROWS", "num_warps", *OPTIONAL_FIELDS)
    found = [[getattr(c, name, OPTIONAL_FIELDS.get(name)) for name in names] for c in configs]
    if any(not isinstance(v, int) for row in found for v in row):
        return None
    height, warps, block, stages, per_sm = np.asarray(found, dtype=np.float64).T
    if np.any(height < 1) or np.any(warps < 1):
        return None
    m, n = (int(size) for size in sizes if size is not None)
    whole = float(max(16, 1 << (n - 1).bit_length()))
    width = np.where(block > 0, block, whole)
    return Rows(m, n, problem.torch_dtype.itemsize, height, width, warps, np.maximum(1, stages), per_sm)


def estimate_rows(rows: Rows, dtype: str, hardware: Hardware, compiled: Compiled) -> Physics | None:
    """Time and its parts for every config; ``None`` where the hardware has no peak for `dtype`."""
    clock = core_clock(hardware, dtype)
    if clock is None:
        return None
    threads = rows.warps * hardware.warp_size
    held = rows.height * rows.width / threads
    waiting = np.where(rows.walks, (rows.stages - 1) * rows.tile_bytes, 0.0)
    found = resources_of(hardware, threads, BASE_REGISTERS + PER_ELEMENT * held, waiting, compiled)
    most = np.where(rows.walks, np.minimum(rows.per_sm, found.blocks_per_sm), found.blocks_per_sm)
    resident = np.minimum(most, np.ceil(rows.programs / hardware.sms))

    # A program that keeps its rows in registers reads, then works, then writes; a pipeline reads ahead meanwhile.
    reading = np.where((rows.blocks > 1) | rows.walks, rows.stages, 1) * rows.tile_bytes
    bytes_per_clock = hardware.bandwidth * MEMORY_SHARE / hardware.sms / clock
    enough = bytes_per_clock * MEMORY_LATENCY
    in_flight = resident * reading / enough

    vector = np.minimum(VECTOR_BYTES, np.maximum(1, rows.width / threads) * rows.element_bytes)
    issue = held * rows.warps * (INSTRUCTIONS + VECTOR_BYTES / vector) / SCHEDULERS
    through_l1 = 2 * found.spill_bytes * threads / L1_BYTES_PER_CLOCK
    work = rows.blocks * (issue + through_l1) + np.log2(2 * rows.warps) * BARRIER_CLOCKS
    again = np.where(rows.blocks > 1, rows.tile_bytes * rows.blocks / L2_BYTES_PER_CLOCK, 0.0)
    ahead = np.where(rows.walks & (rows.stages > 1), rows.stages, 1.0)
    wait = rows.blocks * MEMORY_LATENCY / np.where(rows.blocks > 1, rows.stages, ahead)
    start = np.where(rows.walks, 0.0, BLOCK_START_CLOCKS)
    share = 2 * rows.tile_bytes * rows.blocks / bytes_per_clock

    # What one SM's programs share (issue slots, ports, bandwidth) adds up; what each waits for overlaps.
    per_sm = rows.programs / hardware.sms
    waits = per_sm / resident * (start + wait + work + again)
    shared = per_sm * np.maximum(work + again, share)
    rounds = np.ceil(rows.programs / (resident * hardware.sms))
    fill = rows.programs / (rounds * resident * hardware.sms)
    # Walks take turns in step, so that the last one counts whole; others start as their predecessors end.
    tail = np.where(rows.walks, 1 / fill, 1 + 0.5 / rounds)
    ms = (waits**4 + shared**4) ** 0.25 * tail / clock * 1e3 + LAUNCH_MS

    columns = [
        np.minimum(1, in_flight / 2),
        np.minimum(1, resident * threads / hardware.threads_per_sm),
        fill,
        np.minimum(1, work / np.maximum(1, share)),
        np.minimum(1, np.log2(np.maximum(1, held)) / 7),
        np.minimum(1, np.log2(1 + found.spill_bytes) / 12),
    ]

    def explain(i: int) -> str:
        count = f"{resident[i]:.0f} program" + ("" if resident[i] == 1 else "s")
        kept = f"{held[i]:.0f} elements and {found.registers[i]:.0f} registers a thread"
        spilt = f" and {found.spill_bytes[i]:.0f} B spilled" if found.spill_bytes[i] else ""
        kib = resident[i] * reading[i] / 1024
        flight = f"{count} per SM keep {kib:.0f} KiB in flight of {enough / 1024:.0f} needed"
        return f"{kept}{spilt}; {flight}; {rounds[i]:.0f} rounds filled to {fill[i]:.0%}"

    return Physics(ms, PHYSICS_WEIGHT * np.stack(columns, axis=1), found.fits, explain)
