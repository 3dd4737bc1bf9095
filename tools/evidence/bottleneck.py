"""Names what limits a launch, from how long each unit is busy and what is lost beside them.

The time of a launch is modelled as

    launch + max(of the whole card; tail x imbalance x of one multiprocessor)

with a soft maximum over the units (a p-norm: two equal loads take 1.15 times one of them). The *share* of a unit is its
busy time, on a multiprocessor with the mean share of the blocks, over the launch's time; of a loss (tail wave,
imbalance, launch overhead) the time that goes if the loss goes. The *limit* is the largest share, the *next* one the
second. Times are estimates from rates; where a measured time is given, shares are of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from kernels.hardware import Hardware
from tools.evidence.counts.block_work import BlockWork
from tools.evidence.rates import ATOMICS_PER_CLOCK, LATENCY, SPREAD_ATOMICS_PER_CLOCK, Rates, matrix_rate
from tools.planner.cost.matmul_cost import SHARPNESS
from tools.planner.cost.physics import BLOCK_START_CLOCKS, LAUNCH_MS, MEMORY_SHARE

Name = Literal[
    "DRAM",
    "L2 port",
    "shared-memory port",
    "bank conflicts",
    "tensor cores",
    "special functions",
    "issue slots",
    "integer pipe",
    "fp32 pipe",
    "fp64 pipe",
    "conversions",
    "latency",
    "launch overhead",
    "tail wave",
    "imbalance",
    "spills",
    "serialised matrix instructions",
    "atomics",
]
CARD: tuple[Name, ...] = ("DRAM", "atomics")
"""Units of the whole card: a multiprocessor without work does not slow them."""
LOSSES: tuple[Name, ...] = ("launch overhead", "tail wave", "imbalance")
CAUSES: dict[Name, Name] = {
    "bank conflicts": "shared-memory port",
    "serialised matrix instructions": "latency",
}
"""A cause within another unit's time. It is named in the unit's place, by its share, if it makes most of it."""
OWN_READS = 1.15
"""Matrix instructions read their operands through the shared-memory port themselves: up to here the port is theirs, and
beyond it it is what they wait for."""
LOSS_WEIGHT = 1.5
"""Of a tail wave or an imbalance against a unit's share. The two add up to one: a unit that is busy for 55 % of the
time is no limit where the other 45 % go with the loss."""
MOST = 0.4
SERIAL = 0.35
"""Of a warp's time, spent waiting for matrix instructions: from here on they are said to run one after another."""
KEPT_BUSY = 0.8
"""Of a warp's time: tensor cores that multiply for so much of it are what bounds it."""
L1_BYTES = 256 * 1024
"""L1 and shared memory of a multiprocessor together. Source: NVIDIA H100 white paper (A100 192 KiB, Ada 128 KiB)."""


@dataclass(frozen=True)
class Occupancy:
    blocks: int
    """Resident on a multiprocessor."""
    share: float
    limited_by: str


@dataclass(frozen=True)
class Model:
    """The times of a launch's parts, ms."""

    units: dict[Name, float]
    """Busy time of each unit, of a multiprocessor with the mean share of the blocks, or of the card."""
    launch: float
    tail: float
    """How much longer the busiest multiprocessor works than the mean one, because blocks do not divide evenly."""
    imbalance: float
    """The same because blocks differ."""

    def ms(self) -> float:
        card = _soft_max([self.units.get(n, 0.0) for n in CARD])
        own = _soft_max([t for n, t in self.units.items() if n not in CARD and n not in CAUSES])
        return self.launch + _soft_max([card, self.tail * self.imbalance * own])

    def without(self, name: Name) -> Model:
        """The same launch without one of :data:`LOSSES`."""
        if name == "launch overhead":
            return replace(self, launch=0.0)
        if name == "tail wave":
            return replace(self, tail=1.0)
        return replace(self, imbalance=1.0)


@dataclass(frozen=True)
class Limit:
    name: Name
    share: float
    """0 to 1, see the module."""
    why: str


@dataclass(frozen=True)
class Verdict:
    ms: float
    """Estimated time of the launch."""
    limit: Limit
    next: Limit
    model: Model
    measured_ms: float | None = None
    shares: dict[Name, float] | None = None
    """Shares by a card's own figures, where it was asked."""
    unexplained: bool = False
    """Whether the card took far longer than what was counted explains."""

    def share(self, name: Name) -> float:
        if self.shares is not None:
            return self.shares.get(name, 0.0)
        return share_of(self.model, name, self.measured_ms)


def _soft_max(times: list[float]) -> float:
    top = max(times, default=0.0)
    return top * sum((t / top) ** SHARPNESS for t in times) ** (1 / SHARPNESS) if top else 0.0


def share_of(model: Model, name: Name, measured_ms: float | None = None) -> float:
    """Of the launch's time: a unit's busy time, or the time that goes if a loss goes."""
    whole = measured_ms or model.ms()
    own = model.ms() - model.without(name).ms() if name in LOSSES else model.units.get(name, 0.0)
    return min(1.0, own / whole)


def judge(model: Model, why: Callable[[Name], str], measured_ms: float | None = None) -> Verdict:
    """The limit of a launch and the next one behind it."""
    ranked = rank(model, {})[:2]
    limits = []
    for unit in ranked:
        causes = [c for c, of in CAUSES.items() if of == unit and model.units.get(c, 0.0) > MOST * model.units[unit]]
        name = causes[0] if causes else unit
        limits.append(Limit(name, share_of(model, unit, measured_ms), why(name)))
    return Verdict(model.ms(), limits[0], limits[1], model, measured_ms)


def rank(model: Model, known: Mapping[Name, float]) -> list[Name]:
    """Units and losses from what limits most, by the model's times and the `known` shares in their place."""
    names: list[Name] = [n for n in (*model.units, *LOSSES) if n not in CAUSES]
    weights: dict[Name, float] = {"tail wave": LOSS_WEIGHT, "imbalance": LOSS_WEIGHT}
    size = {n: known.get(n, share_of(model, n)) * weights.get(n, 1.0) for n in names}
    port, cores = size.get("shared-memory port", 0.0), size.get("tensor cores", 0.0)
    if cores < port <= OWN_READS * cores:
        size["tensor cores"], size["shared-memory port"] = port, cores
    return sorted(names, key=lambda n: -size[n])


def model_of(
    work: BlockWork,
    chain: tuple[float, Counter[str]] | None,
    blocks: int,
    occupancy: Occupancy,
    hardware: Hardware,
    rates: Rates,
    shared_bytes: int,
    threads: int,
    stack_bytes: int,
) -> Model:
    """The times of a launch of `blocks` blocks of `threads` threads, `shared_bytes` and `stack_bytes` (a thread) each.

    `chain`: clocks of one warp alone, and what it waits for (:mod:`tools.evidence.counts.warp_chain`)."""
    per_sm = blocks / hardware.sms
    to_ms = 1e3 / rates.clock
    units: dict[Name, float] = {}

    def add(name: Name, clocks_of_a_block: float) -> None:
        if clocks_of_a_block > 0:
            units[name] = clocks_of_a_block * per_sm * to_ms

    lanes = rates.lanes
    add("issue slots", work.issued / rates.issue)
    add("special functions", work.special_lanes / rates.special)
    add("fp32 pipe", work.by_unit["fp32"] * lanes / rates.fp32)
    add("integer pipe", work.by_unit["integer"] * lanes / rates.integer)
    add("conversions", work.by_unit["conversions"] * lanes / rates.convert)
    add("fp64 pipe", work.by_unit["fp64"] * lanes / rates.fp64)
    add("tensor cores", sum(n / matrix_rate(hardware, kind, dtype) for (kind, dtype), n in work.matrix.items()))
    add("shared-memory port", work.shared_passes + work.operand_bytes / rates.shared_bytes)
    add("bank conflicts", work.shared_passes - work.fewest_passes)
    add("L2 port", work.l2_bytes / rates.l2_bytes)
    resident = max(1, min(occupancy.blocks, -(-blocks // hardware.sms)))
    if work.local_bytes:
        kept = L1_BYTES - resident * shared_bytes
        through = rates.l1_bytes if resident * threads * stack_bytes <= kept else rates.l2_bytes
        add("spills", work.local_bytes / through)
    units["DRAM"] = moved(work, blocks) / (hardware.bandwidth * MEMORY_SHARE) * 1e3
    if work.atomics:
        total = work.atomics * blocks
        spread = total / (SPREAD_ATOMICS_PER_CLOCK * hardware.sms)
        units["atomics"] = max(spread, total * work.hottest / ATOMICS_PER_CLOCK) * to_ms
    clocks, waits = chain or (0.0, Counter[str]())
    alone = (clocks + BLOCK_START_CLOCKS) / resident
    multiplying = units.get("tensor cores", 0.0) / (per_sm * to_ms)
    if multiplying > KEPT_BUSY * alone:  # to wait for tensor cores that are never idle is no loss
        alone -= waits["matrix"] / resident
    elif waits["matrix"] > SERIAL * max(1.0, clocks):
        add("serialised matrix instructions", waits["matrix"] / resident)
    if work.bulk_bytes and shared_bytes:
        # Bytes in flight over latency: the ring of stages is what the block keeps in shared memory.
        alone = max(alone, work.bulk_bytes * LATENCY["memory"] / (resident * shared_bytes))
    add("latency", alone)
    return Model(
        units,
        LAUNCH_MS,
        tail_of(blocks, hardware.sms, occupancy.blocks),
        imbalance_of(work, blocks, hardware.sms, resident),
    )


def tail_of(blocks: int, sms: int, resident: int) -> float:
    """Blocks of the busiest multiprocessor over those of the mean one. Blocks start where others end, so that beyond
    the first round a multiprocessor is at most one block behind."""
    return -(-blocks // sms) * sms / max(1, blocks)


def imbalance_of(work: BlockWork, blocks: int, sms: int, resident: int) -> float:
    """How much longer the last multiprocessor works than the mean, because blocks differ. If every block is resident
    at once the largest decides; if blocks come in rounds it ends later than the mean by what it exceeds it."""
    if len(work.costs) < 2:
        return 1.0
    mean = sum(work.costs) / len(work.costs)
    rounds = max(1.0, blocks / sms / resident)
    return 1.0 + (max(work.costs) / mean - 1.0) / rounds


def moved(work: BlockWork, blocks: int) -> float:
    """Fewest bytes through device memory: of each tensor what is loaded and stored, at most all of it. That what is
    read again comes from L2 is assumed."""
    total = 0.0
    for sizes in (work.loaded, work.stored):
        for name, size in sizes.items():
            # Of an address that is not known: at most all tensors, as far as the known ones leave them.
            most = tensor.bytes if (tensor := work.tensors.get(name)) else sum(t.bytes for t in work.tensors.values())
            total += min(size * blocks, most)
    return total
