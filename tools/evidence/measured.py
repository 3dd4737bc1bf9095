"""What a card said of a launch, and the limit that follows from it together with the counts of the code.

Counted bytes and operations over the measured time are achieved rates. If the counts explain the measured time, the
model decides as it does offline. If the launch takes longer than any unit is busy, the samples of the program counter
decide: warps wait for what limits them. Counters that a profiler read replace the counted share of their unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tools.evidence.bottleneck import CAUSES, LOSSES, MOST, Limit, Model, Name, Verdict, rank
from tools.planner.cost.physics import LAUNCH_MS

UNEXPLAINED = 1.6
"""A launch that takes so many times the model's estimate is limited by something that was not counted. Estimates of
planted kernels lay between 0.5 and 1.55 times the measured time where the code told all, on an H200."""
FEW_ACTIVE = 0.15
"""Of the samples that multiprocessors with resident warps would give: below it most of them were idle."""
SAMPLED_EVERY = 1024
"""Clocks between two samples of a multiprocessor: Proton asks CUPTI for 2 to the power of 10."""
LEAST_SAMPLES = 200
"""Fewer say nothing."""


@dataclass(frozen=True)
class Measured:
    """Of one launch."""

    ms: float
    """Kernel time, without the launch itself."""
    stalls: Mapping[str, int] = field(default_factory=dict)
    """Samples of the program counter by stall reason. Proton drops those of warps that were ready while another was
    selected."""
    launches: int = 1
    """That were sampled."""
    counters: Mapping[Name, float] = field(default_factory=dict)
    """Shares that a profiler read, by unit."""


UNSURE = 0.5
"""A counted share below it does not rule out a unit of which the counts say that they do not know all."""


THROUGH: tuple[Name, ...] = ("L2 port", "DRAM")
"""What spilled registers go through where L1 does not hold them."""
FAMILIES: dict[str, tuple[Name, ...]] = {
    "long_scoreboard": ("spills", "L2 port", "DRAM", "atomics", "latency"),
    "lg_throttle": ("spills", "atomics", "L2 port", "DRAM"),
    "drain": ("atomics", "DRAM", "L2 port"),
    "membar": ("atomics", "latency"),
    "short_scoreboard": ("shared-memory port", "special functions", "atomics"),
    "mio_throttle": ("shared-memory port", "special functions", "atomics"),
    "math_pipe_throttle": ("tensor cores", "integer pipe", "fp32 pipe", "fp64 pipe", "conversions", "issue slots"),
    "selected": ("issue slots", "fp32 pipe", "integer pipe"),
    "wait": ("latency", "issue slots"),
    "imc_miss": ("latency",),
    "no_instruction": ("latency",),
    "branch_resolving": ("latency",),
    "tex_throttle": ("L2 port", "shared-memory port"),
    "dispatch_stall": ("issue slots",),
}
"""What a warp with this stall reason may wait for. Source: Nsight Compute's profiling guide, warp scheduler states.
Barriers are left out: who waits there waits for another warp, whose reason is sampled too."""


def active_share(measured: Measured, sms: int, clock: float) -> float | None:
    """Samples over those that always active multiprocessors would give at `clock` Hz; ``None`` if there are too few to
    say."""
    samples = sum(measured.stalls.values())
    if samples < LEAST_SAMPLES or measured.ms <= 0:
        return None
    return samples / (measured.launches * measured.ms * 1e-3 * clock * sms / SAMPLED_EVERY)


def judge_measured(
    model: Model,
    measured: Measured,
    blocks: int,
    sms: int,
    clock: float,
    why: Callable[[Name], str],
    unknown: frozenset[Name] = frozenset(),
) -> Verdict:
    """The limit of a launch of `blocks` blocks and the next one, by what the card said. Shares are of the kernel time
    and the launch together. `unknown`: units of which the counts may miss the most, because data decides."""
    whole = measured.ms + LAUNCH_MS
    read = dict(measured.counters)
    if model.units.get("spills", 0.0) > max(model.units.get(n, 0.0) for n in THROUGH):
        read = {n: share for n, share in read.items() if n not in THROUGH}  # they carry what was spilled
    units = dict(model.units) | {name: share * measured.ms for name, share in read.items()}
    seen = replace(model, units=units)
    estimated = seen.ms() - seen.launch
    loss = 1.0 if estimated <= 0 else measured.ms / estimated
    shares: dict[Name, float] = {n: t / whole for n, t in units.items()}
    for name in LOSSES:
        shares[name] = (seen.ms() - seen.without(name).ms()) * loss / whole
    shares["launch overhead"] = LAUNCH_MS / whole
    ranked = rank(seen, {"launch overhead": shares["launch overhead"]})
    if loss > UNEXPLAINED:
        ranked = _unexplained(ranked, shares, measured, active_share(measured, sms, clock), blocks / sms, unknown)
    limits = []
    for unit in ranked[:2]:
        causes = [c for c, of in CAUSES.items() if of == unit and units.get(c, 0.0) > MOST * units[unit]]
        name = causes[0] if causes else unit
        limits.append(Limit(name, min(1.0, shares[unit]), why(name)))
    return Verdict(
        seen.ms(),
        limits[0],
        limits[1],
        seen,
        measured.ms,
        {n: min(1.0, s) for n, s in shares.items()},
        loss > UNEXPLAINED,
    )


def _unexplained(
    ranked: list[Name],
    shares: dict[Name, float],
    measured: Measured,
    active: float | None,
    blocks_per_sm: float,
    unknown: frozenset[Name],
) -> list[Name]:
    """The order if the counts explain too little: what most warps wait for comes first. Without samples the order
    stays."""
    rest = max(0.0, 1.0 - max(shares[n] for n in ranked))
    if active is not None and active < FEW_ACTIVE and shares["launch overhead"] < 0.5:
        first: Name = "imbalance" if blocks_per_sm >= 1 else "tail wave"
        shares[first] = max(shares[first], 1.0 - active)
        return [first, *(n for n in ranked if n != first)]
    weighed = {reason: n for reason, n in measured.stalls.items() if reason in FAMILIES}
    if sum(weighed.values()) < LEAST_SAMPLES:
        return ranked
    most = max(weighed, key=lambda reason: weighed[reason])
    family = [n for n in FAMILIES[most] if n in shares]
    counted = sorted(family, key=lambda n: -shares[n])
    if not counted:
        return ranked
    first = counted[0]
    if shares[first] < UNSURE:
        first = next((n for n in family if n in unknown), first)
    if "latency" in family and shares[first] < 0.2:
        first = "latency"  # nothing that was counted is busy: the waiting itself
    shares[first] = max(shares[first], min(1.0, shares[first] + rest * weighed[most] / sum(weighed.values())))
    return [first, *(n for n in ranked if n != first)]
