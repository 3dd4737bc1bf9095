"""What first principles say of a kernel's configs: the one shape in which every cost model answers the planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.planner.cost.resources import Flags, Floats

PHYSICS_WEIGHT = 0.5
"""Weight of a cost-model column against a raw parameter: half, as these columns repeat what the parameters say."""
BLOCK_START_CLOCKS = 800
"""Launch of a block, index arithmetic, barriers, first descriptor fetch. An estimate."""
LAUNCH_MS = 0.003
"""An empty kernel between two events. An estimate."""
MEMORY_LATENCY = 1200
"""Clocks under load, about twice the unloaded 480-800. Source: arXiv:2402.13499, table of latencies."""
MEMORY_SHARE = 0.89
"""Of the datasheet's bandwidth that a copy reaches. Measured on an H200: 4.27 of 4.8 TB/s."""
L2_BYTES_PER_CLOCK = 64
"""Of one SM's port to L2. Source: NVIDIA A100 white paper and its L2 tuning notes; CDNA3 ISA guide (64 B/clk/CU)."""
SCHEDULERS = 4
"""Instructions an SM issues per clock, each for 32 lanes."""


@dataclass(frozen=True)
class Physics:
    """Arrays of one entry a config."""

    ms: Floats
    """Expected time. Good to tens of percent: what counts is the order."""
    columns: Floats
    """What the model knows and raw parameters hide: shape (n, columns), each within 0..PHYSICS_WEIGHT."""
    fits: Flags
    """Whether one block fits an SM at all."""
    explain: Callable[[int], str]
    """One line on config i."""
