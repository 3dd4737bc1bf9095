"""Explains a config by its code and by the card: compiled and counted first, then run under profilers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.evidence.bottleneck import Name
from tools.evidence.explain_config import ConfigExplained, explain_config, explain_kept
from tools.evidence.live.nsight import Counted, NoNcu, count, match
from tools.evidence.live.profiled_card import Card
from tools.harness.process.identity import describe

if TYPE_CHECKING:
    from kernels.hardware import Hardware
    from kernels.spec import Config, KernelSpec, Problem
    from tools.harness.compiling.compile_pool import LocalCompilePool

COUNTERS: dict[Name, tuple[str, ...]] = {
    "DRAM": ("dram__throughput.avg.pct_of_peak_sustained_elapsed",),
    "L2 port": (
        "lts__lts2xbar_cycles_active.avg.pct_of_peak_sustained_elapsed",
        "lts__t_tag_requests.avg.pct_of_peak_sustained_elapsed",
    ),
    "shared-memory port": ("l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed",),
    "tensor cores": (
        "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed",
        "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_elapsed",
    ),
    "special functions": ("sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_elapsed",),
    "integer pipe": ("sm__inst_executed_pipe_alu.avg.pct_of_peak_sustained_elapsed",),
    "fp32 pipe": ("sm__inst_executed_pipe_fma.avg.pct_of_peak_sustained_elapsed",),
    "issue slots": ("smsp__issue_active.avg.pct_of_peak_sustained_elapsed",),
}
"""ncu's counters of a unit; of several the largest counts. Source: Nsight Compute's profiling guide, metrics."""


def explain_live(
    spec: KernelSpec[Any, Any],
    problem: Problem,
    config: Config,
    hardware: Hardware,
    pool: LocalCompilePool,
    card: Card,
    folder: Path | None = None,
    ncu: bool = False,
) -> ConfigExplained:
    """Compile and count `config`, run it on `card`, and name its limit by both. With `ncu` Nsight Compute is asked too.
    Raises CannotExplain; what the card does not show is among its notes."""
    found = explain_config(spec, problem, config, hardware, pool, folder=folder)
    seen = card.see(spec, problem, config)
    shares: dict[str, dict[Name, float]] = {}
    if ncu:
        job = {**describe(spec, problem), "config": config.model_dump(mode="json")}
        try:
            rows = count([job], card.index, card.lock, card.environment)
        except NoNcu as e:
            seen = replace(seen, notes=(*seen.notes, str(e)))
        else:
            (mine,) = match(rows, [[e.launch.name for e in found.launches]])
            shares = {row.kernel.split("(")[0]: unit_shares(row) for row in mine}
            seen = replace(seen, counters={name: dict(units) for name, units in shares.items()})
    return explain_kept(found.folder, card=seen, counters=shares)


def unit_shares(row: Counted) -> dict[Name, float]:
    """Shares by unit from ncu's counters."""
    found: dict[Name, float] = {}
    for unit, names in COUNTERS.items():
        read = [share for name in names if (share := row.share(name)) is not None]
        if read:
            found[unit] = max(read)
    passes = row.metrics.get("l1tex__data_pipe_lsu_wavefronts_mem_shared.sum")
    conflicts = row.metrics.get("l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum")
    if passes and conflicts is not None and "shared-memory port" in found:
        found["bank conflicts"] = found["shared-memory port"] * min(1.0, conflicts / passes)
    return found
