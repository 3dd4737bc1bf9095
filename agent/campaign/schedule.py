"""Which problem the next run is for: the one with the most time still to be saved in a forward pass.

    expected gain = count * (time now - roofline floor) * yield

``count * (time now - floor)`` is the problem's share of the model's time times its head-room. The yield is the share of
the head-room that a run can be expected to close: FIRST_YIELD for the first one, half of it for the next and so on, or
half of what the last run closed where that is more. A run that its own planner ended leaves nothing to be expected.
Before the first run the time is not known; the floor stands in for it, so that the problems with the most work come
first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.campaign.plan import Job
from agent.loop.outcome import Outcome

FIRST_YIELD = 0.3
LATER = 0.5
TYPICAL_SHARE = 0.6
"""Of the roofline, at which PyTorch is taken to run before it was timed."""


@dataclass
class Standing:
    """What is known of one job."""

    job: Job
    guessed_floor_ms: float
    """The roofline's least time before the device is known."""
    outcomes: list[Outcome] = field(default_factory=list)
    failed: str = ""
    """Why it cannot be tuned; one sentence."""

    @property
    def proof(self) -> Outcome | None:
        """The run with the best proof; without one, the latest that ended in a sitting with the baselines."""
        judged = [(o, o.judge_again()) for o in self.outcomes]
        proven = [(j.against.value, o) for o, j in judged if j.proven and j.against]
        if proven:
            return max(proven, key=lambda entry: entry[0])[1]
        return next((o for o in reversed(self.outcomes) if o.best is not None), None)

    @property
    def floor_ms(self) -> float:
        """The roofline's least time on the device, as far as it is known."""
        best = self.proof.best if self.proof is not None else None
        return self.guessed_floor_ms if best is None else (best.share_of_roofline or 0.0) * best.ms

    @property
    def settled(self) -> bool:
        """The last run ended before its evaluations were spent: its planner holds nothing more to be worth them."""
        if not self.outcomes:
            return False
        last = self.outcomes[-1]
        return last.evaluations < int(last.objective["limits"]["max_evals"])

    def gain_ms(self) -> float:
        """Milliseconds of a forward pass that the next run can be expected to save; 0 where none is worth making."""
        count = self.job.layer.count
        if self.failed or self.settled:
            return 0.0
        times = [o.best.ms for o in self.outcomes if o.best is not None]
        if not self.outcomes:
            return count * self.floor_ms * (1 / TYPICAL_SHARE - 1) * FIRST_YIELD
        if not times:
            return 0.0
        before = times[-2] if len(times) > 1 else _pytorch(self.proof)
        room = max(before - self.floor_ms, 1e-9)
        closed = max((before - times[-1]) / room, FIRST_YIELD * LATER ** (len(self.outcomes) - 1))
        return count * max(0.0, times[-1] - self.floor_ms) * closed * LATER


def next_job(standings: Sequence[Standing]) -> Standing | None:
    """The one with the most to gain, problems without a run before all others; ``None`` where there is nothing."""
    fresh = [s for s in standings if not s.outcomes and not s.failed]
    best = max(fresh or standings, key=lambda s: s.gain_ms(), default=None)
    return best if best is not None and (fresh or best.gain_ms() > 0) else None


def _pytorch(outcome: Outcome | None) -> float:
    """PyTorch's best time in the sitting; the config's own where it is missing."""
    if outcome is None or outcome.best is None:
        return 0.0
    return min((b.ms for b in outcome.baselines if b.equivalent and b.ms is not None), default=outcome.best.ms)
