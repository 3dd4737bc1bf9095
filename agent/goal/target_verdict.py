"""Whether the final sitting reached the targets of the goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from agent.goal.objective import Setting, Target
from memory.terms import ENERGY_UNITS, UNITS, energy_in, speed_in

Interval = tuple[float, float]


class Timed(Protocol):
    """A baseline of the final sitting, as far as a target needs it."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def speedup(self) -> float | None: ...

    @property
    def ci(self) -> Interval | None: ...


class TargetResult(BaseModel):
    """One target and what was measured of it."""

    model_config = ConfigDict(extra="forbid")

    words: str
    """The goal's own."""
    wanted: float
    unit: str
    value: float | None
    """``None`` if the sitting could not say."""
    ci: Interval | None
    """95 % interval of ``value``."""
    met: bool
    """Whether the whole interval reaches what was wanted."""

    def describe(self) -> str:
        """``800 tflops: not reached, 760.1 [755.0, 765.2] TFLOP/s``."""
        verdict = "reached" if self.met else "not reached"
        if self.value is None or self.ci is None:
            return f"{self.words}: {verdict}, it was not measured"
        return f"{self.words}: {verdict}, {self.value:.4g} [{self.ci[0]:.4g}, {self.ci[1]:.4g}] {self.unit}".rstrip()


def judge_targets(
    targets: Sequence[Target],
    setting: Setting,
    proof: dict[str, Any] | None,
    baselines: Sequence[Timed],
) -> list[TargetResult]:
    """`proof` is the final sitting's; without one no target is met."""
    return [judge_target(target, setting, proof, baselines) for target in targets]


def judge_target(
    target: Target, setting: Setting, proof: dict[str, Any] | None, baselines: Sequence[Timed]
) -> TargetResult:
    value, ci, unit = measured(target, setting, proof, baselines)
    less = target.metric in ("latency", "joules")
    met = ci is not None and (ci[1] <= target.value if less else ci[0] >= target.value)
    return TargetResult(words=target.words, wanted=target.value, unit=unit, value=value, ci=ci, met=met)


def measured(
    target: Target, setting: Setting, proof: dict[str, Any] | None, baselines: Sequence[Timed]
) -> tuple[float | None, Interval | None, str]:
    """Value, interval and unit of what the target is about."""
    if target.kind == "baseline":
        row = next((row for row in baselines if row.name == target.baseline), None)
        return (row.speedup, row.ci, f"x over {row.title}") if row is not None else (None, None, "")
    if target.kind == "roofline":
        floor = setting.floor_ms
        if floor is None:
            return None, None, ""
        return *converted(lambda ms: floor / ms, proof, "ms"), "of the roofline"
    metric = target.metric
    if metric in ENERGY_UNITS:
        read = converted(lambda joules: energy_in(metric, joules, setting.flops, setting.bytes), proof, "joules")
        return *read, ENERGY_UNITS[str(metric)]
    timed = converted(lambda ms: speed_in(metric, ms, setting.flops, setting.bytes), proof, "ms")
    return *timed, UNITS[str(metric)]


def converted(
    convert: Callable[[float], float], proof: dict[str, Any] | None, field: str
) -> tuple[float | None, Interval | None]:
    """A reading of `proof` and its interval, each through `convert`, which rises or falls throughout."""
    value, ci = (proof or {}).get(field), (proof or {}).get(f"ci_{field}")
    if not value or not ci:
        return (convert(value) if value else None), None
    low, high = sorted(convert(end) for end in ci)
    return convert(value), (low, high)
