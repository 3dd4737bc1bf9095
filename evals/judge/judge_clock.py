"""Times a candidate and its reference in turns on one GPU, each in its own process.

1. Warm-up of both.
2. Rounds in shuffled order: some calls of one, then of the other. One result of each of the candidate's blocks,
   chosen in secret after the block, is compared with the reference.
3. Calls back to back, by the candidate's events and by this process's own clock: if the clock says much more, work
   ran where the events do not look.
"""

from __future__ import annotations

import random
import secrets
import time

from evals.judge.rooms import CandidateRoom, Failed, ReferenceRoom
from evals.judge.verdict import Timing
from kernels.hardware import hardware_for
from tools.harness.measuring.floor import CLOCK_MARGIN
from tools.harness.measuring.rounds import with_sittings
from tools.harness.measuring.statistics import median_ci

ROUNDS = 16
BLOCK = 4
"""Calls of one before the other's turn."""
STEADY_MS = 200.0
"""Work in the calls back to back: long against a message between processes."""
MOST_CALLS = 5000
LATE = 1.3
SLACK_MS = 30.0
"""By the judge's clock the calls back to back may take so many times, and so much more, than by their events."""
LEAST_MS = 0.02
"""What two events alone may differ by."""
WARM_CALLS = 10
LEVEL = 1.05
"""Back to back a faster candidate may take so many times what the reference takes: that figure has no interval."""


def time_in_turns(reference: ReferenceRoom, candidate: CandidateRoom) -> Timing:
    """Raises Failed if a timed result is wrong, the clocks disagree, or the time cannot be true."""
    ours: list[float] = []
    theirs: list[float] = []
    ratios: list[float] = []
    order = random.Random(secrets.randbits(62))
    for n in range(ROUNDS + 1):
        turns = ["candidate", "reference"]
        order.shuffle(turns)
        block: dict[str, list[float]] = {}
        for turn in turns:
            seeds = [secrets.randbits(31) for _ in range(BLOCK)]
            if turn == "reference":
                block[turn] = reference.time(seeds)
            else:
                block[turn] = candidate.time(seeds)
                _verify(reference, candidate, seeds)
        if n == 0:  # both warm up
            continue
        (own, _), (other, _) = median_ci(block["candidate"]), median_ci(block["reference"])
        if own <= 0:
            raise Failed("implausible", "a timed call took no time at all")
        ours += block["candidate"]
        theirs += block["reference"]
        ratios.append(other / own)
    ms, ci_ms = median_ci(ours)
    reference_ms, _ = median_ci(theirs)
    _check_floor(reference, ms)
    steady = _check_clock(candidate, ms)
    reference_calls = _calls(reference_ms)
    reference.steady(WARM_CALLS)
    reference_steady = reference.steady(reference_calls)[0] / reference_calls
    speedup, ci = median_ci(ratios)
    ci = with_sittings(speedup, ci)
    faster = ci[0] > 1 and steady < LEVEL * reference_steady
    return Timing(
        ms=ms,
        ci_ms=ci_ms,
        reference_ms=reference_ms,
        speedup=speedup,
        ci=ci,
        back_to_back_ms=steady,
        reference_back_to_back_ms=reference_steady,
        rounds=ROUNDS,
        verdict="faster" if faster else "slower" if ci[1] < 1 else "no difference",
        how=f"{ROUNDS} rounds of {BLOCK} calls in shuffled order, the reference as it is, not compiled",
    )


def _calls(ms: float) -> int:
    return max(WARM_CALLS, min(MOST_CALLS, round(STEADY_MS / ms)))


def _verify(reference: ReferenceRoom, candidate: CandidateRoom, seeds: list[int]) -> None:
    """Compare the result of one timed call, chosen now. Raises Failed."""
    chosen = secrets.randbelow(len(seeds))
    handed = candidate.hand_over(chosen)
    found = reference.compare_timed(seeds[chosen], handed["results"])
    if found["reason"]:
        raise Failed("correctness", f"a timed call: {found['reason']}")


def _check_floor(reference: ReferenceRoom, ms: float) -> None:
    """Raises Failed if the card cannot write the result in `ms`. A result that fits the L2 may stay there."""
    hardware = hardware_for(reference.device_name)
    size = reference.result_bytes
    if hardware is None or size < 2 * hardware.l2_bytes:
        return
    floor = CLOCK_MARGIN * 1e3 * size / hardware.bandwidth
    if ms < floor:
        raise Failed("implausible", f"{ms:.6f} ms is less than {hardware.name} needs to write {size:,} bytes")


def _check_clock(candidate: CandidateRoom, ms: float) -> float:
    """Milliseconds of one call, back to back. Raises Failed if the clocks disagree."""
    calls = _calls(ms)
    candidate.steady(WARM_CALLS)
    began = time.perf_counter()
    events, host = candidate.steady(calls)
    wall = (time.perf_counter() - began) * 1e3
    if wall > LATE * events + SLACK_MS:
        raise Failed(
            "clock", f"{calls} calls took {wall:.0f} ms by the judge's clock, and its own events say {events:.0f} ms"
        )
    each = events / calls
    if each > LATE * max(ms, host) + LEAST_MS:
        raise Failed(
            "clock", f"a single call takes {ms:.4f} ms by its events, and one of many back to back {each:.4f} ms"
        )
    return each
