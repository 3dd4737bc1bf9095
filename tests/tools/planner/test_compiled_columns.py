"""The compiler's figures as columns, and what a config takes that was not compiled."""

from __future__ import annotations

import numpy as np

from kernels.hardware import hardware_named
from tools.harness.results import CompileResult
from tools.planner.compiled_columns import compiled_columns
from tools.planner.cost.physics import PHYSICS_WEIGHT

H200 = hardware_named("H200")
RAW = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def compiled(status="correct", **figures):
    return CompileResult(config={}, status=status, **figures)


def test_what_was_not_compiled_takes_the_figures_of_the_nearest():
    columns = compiled_columns(
        RAW,
        {
            0: compiled(registers=255, spill_bytes=256, shared_bytes=0, occupancy=0.25),
            3: compiled(registers=51, spill_bytes=0, shared_bytes=H200.shared_per_block, occupancy=1.0),
            2: compiled("compile"),
        },
        H200,
    )
    assert columns.shape == (4, 4)
    np.testing.assert_allclose(columns[0], PHYSICS_WEIGHT * np.array([1.0, 0.5, 0.0, 0.25]))
    np.testing.assert_allclose(columns[3], PHYSICS_WEIGHT * np.array([0.2, 0.0, 1.0, 1.0]))
    np.testing.assert_array_equal(columns[1], columns[0])  # as near to one as to the other: the first
    assert 0 <= columns.min() <= columns.max() <= PHYSICS_WEIGHT


def test_without_compiled_configs_there_are_no_columns():
    assert compiled_columns(RAW, {}, H200).shape == (4, 0)
    assert compiled_columns(RAW, {1: compiled("compile"), 2: compiled()}, H200).shape == (4, 0)
