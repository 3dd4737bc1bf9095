"""``bench``, ``fusion`` and ``sweep``: time kernels on a GPU through the same harness that an agent's run uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evals.bench.suite import Case
from kernels.spec import Config, KernelSpec, Problem

if TYPE_CHECKING:
    from memory.terms import Regime
    from tools.harness.devices.live import LiveDevice
    from tools.harness.results import Measurement

Row = dict[str, Any]
Progress = Callable[[str], None]

REPORT_EVERY = 8
"""Configs between two lines of progress."""
FINALISTS = 4
"""Configs that are timed against one another before one is proven, because a screening cannot order nearly equal
configs."""


def screen(
    live: LiveDevice, configs: list[Config], progress: Progress, workers: int | None = None
) -> list[Measurement]:
    """Compile and time each config once. The results include failures."""
    from tools.harness.compiling.compile_pool import LocalCompilePool
    from tools.harness.results import Measurement

    pool = LocalCompilePool(live.hardware, workers, live.cache)
    found: list[Measurement] = []
    try:
        for i, (config, compiled) in enumerate(pool.compile_iter(live.spec, live.problem, configs), 1):
            if compiled.status == "correct":
                found.append(live.screen(config))
            else:
                found.append(Measurement(config=compiled.config, status=compiled.status, reason=compiled.reason))
            report_progress(live, i, len(configs), progress)
    finally:
        pool.close()
    return found


def report_progress(live: LiveDevice, number: int, of: int, progress: Progress) -> None:
    """Report the progress of a screening, every few configs."""
    if number % REPORT_EVERY == 0 or number == of:
        progress(f"{live.spec.name} {live.problem.label()}: {number}/{of} configs")


def sort_by_time(found: list[Measurement]) -> list[Measurement]:
    """The correct measurements, fastest first."""
    return sorted((m for m in found if m.status == "correct" and m.ms is not None), key=lambda m: m.ms or 0.0)


def sample_space(spec: KernelSpec[Any, Any], problem: Problem, hardware: Any, count: int) -> list[Config]:
    """The default config and `count` configs that are spread evenly over the space."""
    space = spec.space(problem, hardware)
    step = max(1.0, len(space) / count) if count else len(space) + 1.0
    chosen = [space[int(i * step)] for i in range(min(count, len(space)))]
    return list(dict.fromkeys([spec.default_config(problem, hardware), *chosen]))


def bench(case: Case, device: str, configs: int, seconds: float, progress: Progress) -> list[Row]:
    """A row per regime: the fastest of `configs` configs, proven against the baselines in interleaved rounds of
    `seconds` in all. Raises ValueError or DeviceError with one sentence."""
    from tools.harness.devices.live import LiveDevice

    spec, problem = case.load()
    live = LiveDevice.open(device, spec, problem)
    try:
        found = screen(live, sample_space(spec, problem, live.hardware, configs), progress)
        best = sort_by_time(found)[:FINALISTS]
        if not best:
            why = found[0].reason if found else "the space is empty"
            return [describe_case(live, "burst") | {"status": "failed", "reason": why}]
        ceilings = live.ceilings()
        rows = []
        for regime in case.regimes:
            progress(f"{spec.name} {problem.label()}: proving, {regime}")
            rows.append(_prove(live, [spec.config_type.model_validate(m.config) for m in best], regime, seconds))
            rows[-1] |= {"tried": len(found), "copy_tb_per_s": ceilings["copy_bytes_per_s"] / 1e12}
        return rows
    finally:
        live.close()


def _prove(live: LiveDevice, finalists: list[Config], regime: Any, seconds: float) -> Row:
    again = sort_by_time(live.contend(finalists, regime))
    row = describe_case(live, regime)
    if not again:
        return row | {"status": "failed", "reason": "no finalist could be timed again"}
    config = live.spec.config_type.model_validate(again[0].config)
    proof = live.prove(config, regime, seconds)
    row |= {"status": proof.status, "reason": proof.reason, "config": proof.config, "how": proof.how}
    if proof.ms is None:
        return row
    comparisons = [c.model_dump(mode="json") for c in proof.comparisons]
    return row | rates(live, proof.ms) | {"ci_ms": proof.ci_ms, "baselines": comparisons}


def sweep(case: Case, device: str, limit: int | None, progress: Progress) -> list[Row]:
    """Time the configs of the space (or `limit` of them) in the burst regime. A row per config, fastest first, failures
    last."""
    from tools.harness.devices.live import LiveDevice

    spec, problem = case.load()
    live = LiveDevice.open(device, spec, problem)
    try:
        space = spec.space(problem, live.hardware)
        configs = space if limit is None else sample_space(spec, problem, live.hardware, limit)
        found = screen(live, configs, progress)
        good = sort_by_time(found)
        failed = [m for m in found if m.status != "correct" or m.ms is None]
        common = describe_case(live, "burst")
        return [
            common
            | {"status": m.status, "reason": m.reason, "config": m.config}
            | ({} if m.ms is None else rates(live, m.ms) | {"ci_ms": m.ci_ms})
            for m in [*good, *failed]
        ]
    finally:
        live.close()


def describe_case(live: LiveDevice, regime: Regime) -> Row:
    """The first fields of a row: kernel, problem, regime and device."""
    fields = live.problem.model_dump(mode="json")
    about = {"kernel": live.spec.name, "problem": live.problem.label(), "fields": fields}
    return about | {"regime": regime, "device": live.info.name}


def rates(live: LiveDevice, ms: float) -> Row:
    """A time of `ms` per launch in the kernel's unit, and its share of the physical floor."""
    from tools.harness.measuring.floor import floor_ms
    from tools.session.task import Task

    task = Task(live.spec, live.problem, live.hardware, live.spec.metric)
    floor, bound = floor_ms(live.spec, live.problem, live.hardware)
    return {
        "ms": ms,
        "value": task.value(ms),
        "unit": task.unit,
        "floor_ms": floor,
        "bound": bound,
        "share_of_floor": floor / ms,
        "tb_per_s": live.spec.bytes(live.problem) / ms / 1e9,
    }
