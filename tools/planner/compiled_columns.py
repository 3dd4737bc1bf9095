"""The compiler's figures as columns for the surrogate, where no cost model says what the parameters of a config mean.

Registers, spills, shared memory and occupancy are known of what was compiled. A config that was not compiled takes the
figures of the nearest one that was: one step away in the parameters they mostly agree.
"""

from __future__ import annotations

import numpy as np

from kernels.hardware import Hardware
from tools.harness.results import CompileResult
from tools.planner.cost.physics import PHYSICS_WEIGHT
from tools.planner.cost.resources import Compiled, Floats

MOST_REGISTERS = 255
SPILLED = 256.0
"""Bytes per thread at which a spill counts half."""


def compiled_columns(raw: Floats, compiled: Compiled, hardware: Hardware) -> Floats:
    """Columns (n, 4), each within 0..PHYSICS_WEIGHT; (n, 0) if nothing was compiled. `raw`: the parameters (n, k)."""
    known = sorted(i for i, r in compiled.items() if r.status == "correct" and r.registers is not None)
    if not known:
        return np.zeros((len(raw), 0))
    figures = np.array([_figures(compiled[i], hardware) for i in known])
    distance = np.abs(raw[:, None, :] - raw[None, known, :]).sum(2)
    return np.asarray(figures[np.argmin(distance, axis=1)] * PHYSICS_WEIGHT)


def _figures(result: CompileResult, hardware: Hardware) -> list[float]:
    spilled = float(result.spill_bytes or 0)
    return [
        min(1.0, (result.registers or 0) / MOST_REGISTERS),
        spilled / (spilled + SPILLED),
        min(1.0, (result.shared_bytes or 0) / hardware.shared_per_block),
        float(result.occupancy or 0.0),
    ]
