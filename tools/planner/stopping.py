"""Advises a stop when no measurement is expected to gain what it costs, there are enough measurements to rely on this
expectation, and the configs left untried hold at most 1 % with a probability of 95 %.

The expected gain of one measurement is small also if many configs could each be a little better, or one much better
with small odds. The probability sees this, because it looks at all of them together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tools.planner.evidence import Evidence
from tools.planner.regret_estimate import CONFIDENCE, Regret

WORTH_A_MEASUREMENT = 0.0005
"""Expected relative gain below which a measurement is not worth its time: 0.05 %, a sixth of the 0.3 % within which
repeated readings of one config agree."""
MEASURED_BEFORE_STOP = 12
"""Correct measurements needed before the surrogate's expected gain is trusted."""
TAUGHT_BEFORE_STOP = 6
"""The same after near problems have corrected the prediction."""
BLIND_BEFORE_STOP = 50
"""The same if there is neither a cost model nor a near problem."""
BARREN_SHARE = 1 / 3
"""Share of the measurements that must have come after the best so far, if there is neither a cost model nor a near
problem: a search that has just found a better config does not know its space yet. Both were chosen on open and made-up
spaces (docs/PLANNER.md): with 12 measurements and no share, half of 12 stops on rows that fall off in cliffs were
untrue, with these one; with 60 and two thirds a fifth fewer searches stopped."""

TOLERANCE = 0.01
"""What untried configs may gain, with a probability of CONFIDENCE, when the search stops. No smaller regret is claimed:
two sittings of one config differ by up to this."""
HONEST = 1.5
"""Up to this many standard deviations, the uncertainty counts as right: a dozen measurements scatter that much."""


@dataclass(frozen=True)
class Advice:
    stop: bool
    why: str


def advise(evidence: Evidence, surprise: float, gain: float, blind: bool, taught: bool) -> Advice:
    """`gain` is the expected relative gain of the best next measurement. `surprise` is how far measurements lay from
    their predictions, in standard deviations. If it is above ``HONEST``, the uncertainty was too small, so `gain` is
    multiplied by it."""
    times = list(evidence.times().values())
    if not times:
        return Advice(False, "nothing is measured yet")
    gain *= surprise if surprise > HONEST else 1.0
    reason = f"the best next measurement is expected to gain {gain:.2%}; it is worth its cost from "
    reason += f"{WORTH_A_MEASUREMENT:.2%} on"
    if gain >= WORTH_A_MEASUREMENT:
        return Advice(False, reason)
    least = TAUGHT_BEFORE_STOP if taught else BLIND_BEFORE_STOP if blind else MEASURED_BEFORE_STOP
    if len(times) < least:
        return Advice(False, f"{reason}, but {len(times)} measurements are too few to rely on this (at least {least})")
    if blind:
        since_best = len(times) - 1 - times.index(min(times))
        reason += f"; the last {since_best} of {len(times)} found nothing better"
        if since_best < BARREN_SHARE * len(times):
            return Advice(False, f"{reason}, which are too few because no cost model covers the kernel")
    return Advice(True, reason)


def confirm(advice: Advice, regret: Regret) -> Advice:
    """The `advice` to stop, with what the best config is known to be worth; no stop if untried configs may hold more
    than TOLERANCE."""
    chance = f"with {CONFIDENCE:.0%} probability"
    if regret.untried > TOLERANCE:
        why = f"{advice.why}, but {chance} all untried configs together may gain up to {regret.untried:.1%}"
        return Advice(False, f"{why}; a stop allows {TOLERANCE:.0%}")
    bound = max(regret.bound, TOLERANCE)
    return replace(advice, why=f"{advice.why}; {chance} the best one measured is within {bound:.1%} of the best config")
