"""The result that every cost model returns to the planner, and constants that several cost models share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tools.planner.cost.resources import Flags, Floats

PHYSICS_WEIGHT = 0.5
"""Weight of a cost-model column relative to a raw parameter: half, because the columns follow from the parameters."""
BLOCK_START_CLOCKS = 800
"""Clocks to launch a block: index arithmetic, barriers, first descriptor fetch. An estimate."""
LAUNCH_MS = 0.003
"""Time of an empty kernel between two events. An estimate."""
MEMORY_LATENCY = 1200
"""Clocks under load, about twice the unloaded 480-800. Source: arXiv:2402.13499, table of latencies."""
MEMORY_SHARE = 0.89
"""Share of the datasheet's bandwidth that a copy reaches. Measured on an H200: 4.27 of 4.8 TB/s."""
L2_BYTES_PER_CLOCK = 64
"""Rate of one SM's port to L2. Source: NVIDIA A100 white paper and its L2 tuning notes; CDNA3 ISA guide (64
B/clk/CU)."""
SCHEDULERS = 4
"""Instructions an SM issues per clock, each for 32 lanes."""


@dataclass(frozen=True)
class Physics:
    """A cost model's estimates, as arrays with one entry per config."""

    ms: Floats
    """Expected time, good to tens of percent: only the order of configs matters."""
    columns: Floats
    """Quantities that the model computes from the raw parameters: shape (n, columns), each within 0..PHYSICS_WEIGHT."""
    fits: Flags
    """Whether one block fits an SM at all."""
    explain: Callable[[int], str]
    """Describes config i in one line."""
    terms: Mapping[str, Floats] = field(default_factory=dict)
    """ms for which each unit is busy in the whole launch, by the names of :mod:`tools.evidence.bottleneck`: what the
    model rests on, checked by ``tests.bench.bench_terms``."""
