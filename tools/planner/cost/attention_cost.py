"""Estimates the time of attention: for every block of keys two matmuls and the exponentials between them.

On Hopper the exponentials take about as long as the products (16 a clock against 1024 multiply-adds of head size 128).
The time therefore depends on how far the two overlap. Source: FlashAttention-3 (arXiv:2407.08608), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from tools.planner.cost.matmul_cost import MMA_SYNC_SHARE, SHARED_BYTES_PER_CLOCK, core_clock, multiply_adds_per_clock
from tools.planner.cost.physics import (
    BLOCK_START_CLOCKS,
    L2_BYTES_PER_CLOCK,
    LAUNCH_MS,
    PHYSICS_WEIGHT,
    SCHEDULERS,
    Physics,
)
from tools.planner.cost.resources import Compiled, Flags, Floats, resources_of

FIELDS = ("BLOCK_M", "BLOCK_N", "num_warps", "num_stages")
EXPONENTIALS_PER_CLOCK = 16
"""Exponentials of one SM. Source: CUDA C++ Programming Guide, throughput of native arithmetic instructions."""
SOFTMAX_INSTRUCTIONS = 8
"""Instructions per score: scale and difference in one, mask, maximum, sum, conversion, moves. A count, not a
measurement."""
STEP_CLOCKS = 300
"""Fixed clocks of a block of keys: the waits for two products, barriers, two reductions over rows."""
BASE_REGISTERS = 48
"""Registers per thread for running maxima and sums, barriers, addresses. An estimate."""
LOAD_LATENCY = 700
"""Clocks of a load from L2 under load: the keys and values of a head stay in L2. Source: arXiv:2402.13499, table of
latencies."""
IN_TURN, BESIDE, BY_HAND = 0.0, 0.2, 0.8
"""Share of the shorter of products and softmax that overlaps the longer one. IN_TURN: one group of warps does one after
the other. BESIDE: another group or block may do the other at the same time by chance. BY_HAND: the code starts the next
product before the softmax. Chosen on the H200 landscape of attention, like STEP_CLOCKS. In the source above BY_HAND is
1.5 to 2 times as fast."""
SPECIALIZED_REGISTERS, PRODUCER_WARPS = 168, 4
"""The same as for warp-specialised matmuls (``kernels.attention.gluon``)."""


@dataclass(frozen=True)
class Heads:
    """The fields of the configs as arrays, and the sizes of the problem."""

    heads: int
    """Sequences times query heads."""
    length: int
    size: int
    """Elements of a head."""
    causal: bool
    element_bytes: int
    block_m: Floats
    block_n: Floats
    warps: Floats
    stages: Floats
    specialized: Flags
    persistent: Flags

    @property
    def tiles(self) -> Floats:
        return self.heads * np.ceil(self.length / self.block_m)

    @property
    def steps(self) -> Floats:
        """Blocks of keys that a tile visits, on average."""
        every = np.ceil(self.length / self.block_n)
        return np.minimum(every, every / 2 + self.block_m / self.block_n / 2 + 0.5) if self.causal else every


def read_heads(problem: Problem, configs: Sequence[Config]) -> Heads | None:
    """The configs as blocks of queries and keys; ``None`` if problem or configs are not of attention."""
    sizes = [getattr(problem, d, None) for d in "BHSD"]
    if not configs or not all(isinstance(size, int) for size in sizes):
        return None
    found = [[getattr(c, name, None) for name in FIELDS] for c in configs]
    if any(not isinstance(v, int) or v < 1 for row in found for v in row):
        return None
    block_m, block_n, warps, stages = np.asarray(found, dtype=np.float64).T
    b, h, s, d = (int(size) for size in sizes if size is not None)
    return Heads(
        heads=b * h,
        length=s,
        size=d,
        causal=bool(getattr(problem, "causal", False)),
        element_bytes=problem.torch_dtype.itemsize,
        block_m=block_m,
        block_n=block_n,
        warps=warps,
        stages=stages,
        specialized=np.array([getattr(c, "family", "") == "warp_specialized" for c in configs]),
        persistent=np.array([bool(getattr(c, "PERSISTENT", False)) for c in configs]),
    )


def estimate_attention(a: Heads, dtype: str, hardware: Hardware, compiled: Compiled) -> Physics | None:
    """Time and its parts for every config; ``None`` if the hardware has no peak for `dtype`."""
    clock = core_clock(hardware, dtype)
    if clock is None:
        return None
    multiplying = a.warps * hardware.warp_size
    threads = multiplying + np.where(a.specialized, PRODUCER_WARPS * hardware.warp_size, 0)
    values = a.block_m * (a.size + 1.5 * a.block_n) / multiplying  # the result, the scores, half of them as weights
    need = np.where(a.specialized, SPECIALIZED_REGISTERS, values + BASE_REGISTERS)
    ring = np.where(a.specialized, a.stages, np.maximum(1, a.stages - 1)) * 2 * a.block_n
    shared = (a.block_m + ring) * a.size * a.element_bytes
    found = resources_of(hardware, threads, need, shared, compiled)
    blocks = np.where(a.persistent, 1.0, found.blocks_per_sm)

    scores = a.block_m * a.block_n
    grouped = (a.block_m / np.maximum(1, a.warps / 4) >= 64) & (a.warps % 4 == 0)
    hopper = hardware.backend == "cuda" and int(hardware.arch) // 10 == 9
    warp_level = hopper & ~grouped
    rate = multiply_adds_per_clock(hardware.peak[dtype], hardware.sms) * np.where(warp_level, MMA_SYNC_SHARE, 1)
    products = 2 * scores * a.size / rate
    groups = np.maximum(1, a.warps / 4)
    rescaling = a.block_m * a.size  # the result, at every new maximum
    instructions = (scores * SOFTMAX_INSTRUCTIONS + rescaling) / (32 * SCHEDULERS)
    softmax = scores / EXPONENTIALS_PER_CLOCK + instructions
    # Warp groups that split the keys hold a part of a row each. They exchange their weights through shared memory.
    along = np.maximum(1, groups / np.maximum(1, a.block_m / 64))
    exchange = np.where(along > 1, scores * a.element_bytes * (1 + along) / SHARED_BYTES_PER_CLOCK, 0.0)
    # Each group reads its rows of queries, and all keys and values.
    slices = np.maximum(groups, a.block_m / 64)
    reads = slices * ((64 + a.block_n / along) * a.size + a.block_n * a.size / along)
    shared_clocks = reads * a.element_bytes / SHARED_BYTES_PER_CLOCK
    # Another group of warps or another block can multiply while this one computes exponentials.
    overlap = np.where(a.specialized, BY_HAND, np.where(blocks * groups > 1, BESIDE, IN_TURN))
    slower = np.maximum(products, shared_clocks)
    engines = np.maximum(slower, softmax) + (1 - overlap) * np.minimum(slower, softmax) + exchange
    load = 2 * a.block_n * a.size * a.element_bytes / L2_BYTES_PER_CLOCK
    latency = LOAD_LATENCY + load
    # With one stage and specialised warps, the next keys are loaded once both groups have multiplied the current ones.
    single = latency + np.where(a.specialized, products, engines)
    ring_clocks = np.where(a.stages > 1, latency / np.maximum(1, a.stages - 1), single)
    spills = 2 * found.spill_bytes * threads / SHARED_BYTES_PER_CLOCK
    step = np.maximum.reduce([blocks * (engines + spills) + STEP_CLOCKS, blocks * load, ring_clocks])

    places = blocks * hardware.sms
    rounds = np.ceil(a.tiles / places)
    fill = a.tiles / (rounds * places)
    store = a.block_m * a.size * a.element_bytes / L2_BYTES_PER_CLOCK
    # In a persistent specialised kernel the loading warp already loads the next tile.
    runs_on = a.persistent & a.specialized
    outside = np.where(runs_on, BLOCK_START_CLOCKS / 4, BLOCK_START_CLOCKS + latency) + store
    # A block starts when another ends, so only the last round is partly empty. Causal tiles also differ in length.
    clocks = (a.tiles / places + 0.5) * (a.steps * step + outside)
    columns = [
        products / (products + softmax),
        overlap,
        np.minimum(1, ring_clocks / (blocks * engines)),
        np.minimum(1, np.log2(blocks) / 3),
        fill,
        np.minimum(1, np.log2(1 + found.spill_bytes) / 12),
    ]

    busy = {
        "tensor cores": products,
        "special functions": scores / EXPONENTIALS_PER_CLOCK,
        "issue slots": instructions,
        "shared-memory port": shared_clocks + exchange,
        "L2 port": load,
        "spills": spills,
    }
    steps_of_sm = a.tiles * a.steps / hardware.sms
    terms = {name: steps_of_sm * clocks_of_step / clock * 1e3 for name, clocks_of_step in busy.items()}

    def explain(i: int) -> str:
        count = "one CTA" if blocks[i] == 1 else f"{blocks[i]:.0f} CTAs"
        spilt = f" and {found.spill_bytes[i]:.0f} B spilled" if found.spill_bytes[i] else ""
        limits = {"products": products[i], "exponentials": softmax[i], "load latency": ring_clocks[i] / blocks[i]}
        tile = f"{a.warps[i]:.0f} warps: {a.block_m[i]:.0f} queries, {found.registers[i]:.0f} registers a thread{spilt}"
        room = f"{a.stages[i]:.0f} stages of {a.block_n[i]:.0f} keys leave {count} per SM"
        return f"{tile}; {room}; bound by {max(limits, key=lambda name: limits[name])}"

    ms = clocks / clock * 1e3 + LAUNCH_MS
    return Physics(ms, PHYSICS_WEIGHT * np.stack(columns, axis=1), found.fits, explain, terms)
