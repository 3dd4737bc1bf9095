"""Finds the cost model of a kernel. A problem and its configs are recognised by their fields, not by a name: any kernel
with the fields of a matmul, of a reduction over rows or of attention gets that cost model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from tools.planner.cost.attention_cost import estimate_attention, read_heads
from tools.planner.cost.launch_geometry import Tiles, read_launch, read_tiles
from tools.planner.cost.matmul_cost import estimate
from tools.planner.cost.physics import Physics
from tools.planner.cost.resources import Compiled
from tools.planner.cost.rows_cost import estimate_rows, read_rows
from tools.planner.features import launch_columns
from tools.planner.reasons import explain_launch

Model = Callable[[str, Hardware, Compiled], Physics | None]
"""Estimates from dtype, hardware and the compiler's figures; ``None`` if the hardware has no peak for the dtype."""


def model_of(problem: Problem, configs: Sequence[Config]) -> Model | None:
    """The cost model of `configs`, bound to them; ``None`` if no cost model covers their kernel."""
    if (tiles := read_tiles(problem, configs)) is not None:
        return partial(_matmul, tiles)
    if (rows := read_rows(problem, configs)) is not None:
        return partial(estimate_rows, rows)
    if (heads := read_heads(problem, configs)) is not None:
        return partial(estimate_attention, heads)
    return None


def physics_of(problem: Problem, hardware: Hardware, configs: Sequence[Config]) -> Physics | None:
    """The cost model's estimates before compilation; ``None`` if no cost model covers the kernel."""
    model = model_of(problem, configs)
    return None if model is None else model(problem.dtype, hardware, {})


def _matmul(tiles: Tiles, dtype: str, hardware: Hardware, compiled: Compiled) -> Physics | None:
    launch = read_launch(tiles, hardware, compiled)
    cost = estimate(tiles, launch, hardware, dtype)
    if cost is None:
        return None
    return Physics(
        cost.ms, launch_columns(cost, launch), launch.fits, partial(explain_launch, tiles, launch, cost), cost.terms
    )
