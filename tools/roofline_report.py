"""Where a measured config stands against the hardware: which roof bounds it, achieved share of compute and of memory
bandwidth, by the GPU's facts and by measured ceilings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, create_model

from memory.shared_models import Closed
from tools.calling.arguments import as_text
from tools.declaration import Declaration
from tools.explain_kernel import limit_of

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.session.session import Session
    from tools.session.task import Task

DECLARATION = Declaration("reading the roofline", activity="look", returns="roofline")


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    described = as_text("a measured config as in run_benchmark, as JSON text; empty: the best measured one")
    config: Any = Annotated[spec.config_type | None, described]
    return create_model("RooflineReport", __base__=Closed, config=(config, None))


def run(session: Session, args: Any, call_id: str) -> dict[str, Any]:
    """Roofline of the given config, or of the best measured one."""
    if args.config is None:
        m = session.best()
        if m is None:
            return {"error": "nothing has been measured correctly yet: call run_benchmark first"}
    else:
        found = session.measured.get(args.config)
        if found is None or found.ms is None:
            return {
                "error": "this config has not been measured correctly in this run: call run_benchmark with it first"
            }
        m = found
    assert m.ms is not None
    from tools.harness.measuring.floor import has_floor

    task = session.task
    if not task.hardware.peak:
        return {"error": "roofline", "why": "neither this kernel's operations nor this GPU's rates are known"}
    if not has_floor(task.spec, task.problem, task.hardware):
        return {"error": "roofline", "why": "neither this kernel's operations nor the bytes that it needs are known"}
    limit = limit_of(session, session.config(m.config))  # first: the ceilings wait for the worker of the baselines
    return {"config": m.config, **roofline(task, m.ms, session.ceilings()), **limit}


def roofline(task: Task, ms: float, ceilings: dict[str, float]) -> dict[str, Any]:
    """Roofline figures of a launch of `ms` milliseconds (Williams et al., 2009).

    FLOP/byte for intensities, TFLOP/s and TB/s for rates, fractions of 1 for shares. The memory roof is bandwidth times
    intensity; the roof is the lower of the two."""
    from tools.harness.measuring.floor import floor_ms

    spec, problem, hardware = task.spec, task.problem, task.hardware
    flops, moved = spec.flops(problem), spec.bytes(problem)
    floor, bound = floor_ms(spec, problem, hardware)
    peak = hardware.peak.get(problem.dtype)
    achieved, bandwidth = flops / ms * 1e3, moved / ms * 1e3
    report: dict[str, Any] = {
        "ms": round(ms, 5),
        "flops": flops,
        "bytes": moved,
        "intensity_flop_per_byte": round(flops / moved, 1),
        "achieved_tflops": round(achieved / 1e12, 1),
        "achieved_tb_per_s": round(bandwidth / 1e12, 3),
        "memory_roof_tflops": round(hardware.bandwidth * flops / moved / 1e12, 1),
        "floor_ms": round(floor, 5),
        "bound": bound,
        "share_of_floor": round(floor / ms, 3),
        "share_of_peak_bandwidth": round(bandwidth / hardware.bandwidth, 3),
        "hardware": hardware.name,
        "facts": hardware.describe_origin("bandwidth", *(["peak"] if peak is not None else [])),
    }
    if peak is not None:
        report["peak_tflops"] = round(peak / 1e12, 1)
        report["ridge_flop_per_byte"] = round(peak / hardware.bandwidth, 1)
        report["share_of_peak_compute"] = round(achieved / peak, 3)
    if ceilings:
        report["measured"] = {
            "matmul_tflops": round(ceilings["matmul_flops_per_s"] / 1e12, 1),
            "copy_tb_per_s": round(ceilings["copy_bytes_per_s"] / 1e12, 3),
            "share_of_matmul": round(achieved / ceilings["matmul_flops_per_s"], 3),
            "share_of_copy": round(bandwidth / ceilings["copy_bytes_per_s"], 3),
        }
    return report
