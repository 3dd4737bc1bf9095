"""The time no launch can beat: operations over peak rate, bytes over bandwidth (roofline; Williams et al., 2009)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernels.hardware import Hardware
from kernels.spec import KernelSpec
from memory.terms import Regime

CLOCK_MARGIN = 0.88
"""Datasheet peaks hold at the rated boost clock; cards run up to 9 % above it (H200: 1,980 over 1,830 MHz)."""
MEASURED_MARGIN = 0.75
"""Where the bandwidth is a copy's: it reaches 0.89 of what the memory can do (H200), and a kernel that mostly reads
comes closer."""
UNKNOWN_BYTES = 1
"""What a captured launch says of its bytes if nobody knows how many it needs
(:class:`kernels.captured.captured_problem.CapturedProblem`)."""


def has_floor(spec: KernelSpec[Any, Any], problem: Any, hardware: Hardware) -> bool:
    """Whether anything is known that limits a launch."""
    return bool(hardware.peak) and (spec.flops(problem) > 0 or spec.bytes(problem) > UNKNOWN_BYTES)


def floor_ms(spec: KernelSpec[Any, Any], problem: Any, hardware: Hardware, cached: bool = False) -> tuple[float, str]:
    """(ms, which term): the larger of operations over peak and bytes over bandwidth.

    `cached`: the data may stay in the L2 between launches, so device memory sets no limit. Without a peak for the dtype
    the bytes alone count."""
    peak = hardware.peak.get(problem.dtype)
    compute = 0.0 if peak is None else 1e3 * spec.flops(problem) / peak
    memory = 0.0 if cached else 1e3 * spec.bytes(problem) / hardware.bandwidth
    return (compute, "compute") if compute >= memory else (memory, "memory")


def implausible(spec: KernelSpec[Any, Any], problem: Any, hardware: Hardware, ms: float, regime: Regime) -> str | None:
    """Why `ms` per launch cannot be true on `hardware`, or ``None``."""
    cached = regime == "sustained" and spec.bytes(problem) < 2 * hardware.l2_bytes
    # What the library's product reached is no limit of the card: another kernel may be twice as fast.
    limits = replace(hardware, peak={}) if hardware.origin("peak") == "measured" else hardware
    floor, term = floor_ms(spec, problem, limits, cached)
    by_copy = term == "memory" and hardware.origin("bandwidth") == "measured"
    if ms >= (MEASURED_MARGIN if by_copy else CLOCK_MARGIN) * floor and ms > 0:
        return None
    published = "" if not hardware.origins else f" ({hardware.describe_origin('bandwidth' if by_copy else 'peak')})"
    return f"{ms:.6f} ms is below the physical floor of {floor:.6f} ms ({term}) on {hardware.name}{published}"
