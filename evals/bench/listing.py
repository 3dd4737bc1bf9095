"""``list``: the kernels, the operations and bytes of their default problems, and the least time of a launch on a named
GPU."""

from __future__ import annotations

from typing import Any

from kernels.check_spec import examine
from kernels.hardware import Hardware
from kernels.registry import get

Row = dict[str, Any]


def listing(names: list[str], hardware: Hardware) -> list[Row]:
    """A row per kernel: FLOP and bytes of the default problem, its floor in ms, the roof that sets the floor, and the
    number of configs in the space. Raises ValueError for a kernel that does not exist or is not valid."""
    from tools.harness.measuring.floor import floor_ms

    rows = []
    for name in names:
        spec = get(name)
        examine(spec, hardware=hardware)
        problem = spec.default_problem()
        floor, bound = floor_ms(spec, problem, hardware)
        space = spec.space(problem, hardware)
        rows.append(
            {
                "kernel": spec.name,
                "aliases": list(spec.aliases),
                "problem": problem.label(),
                "dims": "x".join(spec.problem_type.dims),
                "metric": spec.metric,
                "gflop": spec.flops(problem) / 1e9,
                "mbytes": spec.bytes(problem) / 1e6,
                "floor_ms": floor,
                "bound": bound,
                "hardware": hardware.name,
                "configs": len(space),
                "families": sorted({str(f) for c in space if (f := getattr(c, "family", None)) is not None}),
                "baselines": [b.name for b in spec.baselines(problem)],
            }
        )
    return rows
