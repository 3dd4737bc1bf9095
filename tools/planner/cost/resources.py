"""Computes what one block of each config needs of an SM and how many blocks fit on it. Compiled configs take the
compiler's figures, others take estimates. Arrays have one entry per config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.hardware import Hardware
from tools.harness.results import CompileResult

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

Compiled = Mapping[int, CompileResult]
"""The compiler's figures by the config's index."""

RESERVED_SHARED = {"cuda": 1024, "hip": 0}
"""Bytes that the driver reserves per block. Source: CUDA C++ Programming Guide, compute capabilities 8.x and 9.0."""


@dataclass(frozen=True)
class Resources:
    registers: Floats
    """Per thread, capped at what the architecture can encode."""
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


def resources_of(hardware: Hardware, threads: Floats, need: Floats, shared: Floats, compiled: Compiled) -> Resources:
    """Resources of blocks of `threads` threads that need `need` registers per thread and `shared` bytes. Registers
    beyond the limit spill."""
    limit = register_limit(hardware, threads)
    registers, spills = np.minimum(need, limit), np.maximum(0, need - limit) * 4
    threads, shared, known = threads.copy(), shared.copy(), np.zeros(threads.shape, bool)
    figures = [(i, r) for i, r in compiled.items() if r.status == "correct"]
    for i, result in figures:
        known[i] = True
        registers[i] = _or(result.registers, registers[i])
        spills[i] = _or(result.spill_bytes, spills[i])
        shared[i] = _or(result.shared_bytes, shared[i])
        threads[i] = _or(result.num_warps, threads[i] / hardware.warp_size) * hardware.warp_size
    blocks = resident_blocks(hardware, threads, registers, shared)
    for i, result in figures:
        blocks[i] = _or(result.blocks_per_sm, blocks[i])
    fits = (shared <= hardware.shared_per_block) & (blocks >= 1)
    return Resources(registers, spills, shared, np.maximum(1, blocks), fits, known)


def register_limit(hardware: Hardware, threads: Floats) -> Floats:
    """The most registers that a thread can have."""
    encodable = 512 if hardware.backend == "hip" else 255
    return np.asarray(np.minimum(encodable, np.floor(hardware.registers_per_sm / threads / 8) * 8))


def resident_blocks(hardware: Hardware, threads: Floats, registers: Floats, shared: Floats) -> Floats:
    """Blocks that fit on one SM together. It is ``kernels.hardware.occupancy`` for arrays, with registers in steps of
    8."""
    by_shared = np.floor(hardware.shared_per_sm / np.maximum(1, shared + RESERVED_SHARED[hardware.backend]))
    by_registers = np.floor(hardware.registers_per_sm / (np.ceil(registers / 8) * 8 * threads))
    by_threads = np.floor(hardware.threads_per_sm / threads)
    by_slots = np.full(threads.shape, float(hardware.blocks_per_sm))
    return np.asarray(np.minimum.reduce([by_shared, by_registers, by_threads, by_slots]))


def _or(value: Any, otherwise: Any) -> float:
    return float(otherwise if value is None else value)
