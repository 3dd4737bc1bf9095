"""When to advise a stop: no measurement is expected to gain what it costs, and there is reason to believe it."""

from __future__ import annotations

from dataclasses import dataclass

from tools.planner.evidence import Evidence

WORTH_A_MEASUREMENT = 0.0005
"""Expected relative gain below which a measurement is not worth its time: 0.05 %, a sixth of the 0.3 % within which
repeated readings of one config agree."""
MEASURED_BEFORE_STOP = 12
"""Correct measurements before the surrogate's opinion of what is left is trusted."""
TAUGHT_BEFORE_STOP = 6
"""The same after near problems have corrected the prediction."""
BLIND_BEFORE_STOP = 60
"""The same where nothing but the measurements teaches."""
BARREN_SHARE = 2 / 3
"""Where nothing but the measurements teaches, the share of them that must have come after the best so far: a search
that has lately found something better does not know its space. With a half and 40 measurements, 2 of 6 searches of a
space with four good configs among 1,400 stopped 32 % short of the best, all of which went on to find it."""

HONEST = 1.5
"""Up to this many standard deviations, measurements lie where they were expected: a dozen of them scatter that much."""


@dataclass(frozen=True)
class Advice:
    stop: bool
    why: str


def advise(evidence: Evidence, surprise: float, gain: float, blind: bool, taught: bool) -> Advice:
    """`gain`: expected relative gain of the best next measurement. `surprise`: how far measurements lay from what was
    expected, in standard deviations; what was underestimated so far is taken to be so in `gain`."""
    times = list(evidence.times().values())
    if not times:
        return Advice(False, "nothing is measured yet")
    gain *= surprise if surprise > HONEST else 1.0
    reason = f"the best next measurement is expected to gain {gain:.2%}; one pays from {WORTH_A_MEASUREMENT:.2%} on"
    if gain >= WORTH_A_MEASUREMENT:
        return Advice(False, reason)
    least = TAUGHT_BEFORE_STOP if taught else BLIND_BEFORE_STOP if blind else MEASURED_BEFORE_STOP
    if len(times) < least:
        return Advice(False, f"{reason}, but {len(times)} measurements are too few to rely on it (from {least} on)")
    if blind:
        barren = len(times) - 1 - times.index(min(times))
        reason += f"; the last {barren} of {len(times)} found nothing better"
        if barren < BARREN_SHARE * len(times):
            return Advice(False, f"{reason}, too few where no cost model knows the kernel")
    return Advice(True, reason)
