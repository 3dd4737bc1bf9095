"""Which finalist has its sitting next, and whether any has.

Finalists are tried in order until one is proven. Of a run with variants some are other configs of the same code:

1. A variant that was wrong in a sitting is not tried again: what is wrong with it is wrong at its other configs too.
2. After a variant that passed its sitting and is not proven comes the owner's code at its best config, however far it
   lies behind: it does not have to beat the owner's code, tuned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.verdict.judgement import EVERY_CODE, FIRST_BASELINE
from agent.verdict.tried import judge_tried
from memory.terms import variant_of

MOST_SPOILT = 3
"""Sittings spoilt by our own machinery, after which no more are tried."""
WRONG = "correctness"


@dataclass(frozen=True)
class Order:
    """What decides of the finalists of a run."""

    finalists: Sequence[dict[str, Any]]
    close: int
    """How many of the first lie within noise of the best."""
    most: int
    """How many may come through their sitting."""
    energy: str | None = None
    against: Sequence[str] = ()
    rule: int = EVERY_CODE

    def after(self, proofs: Mapping[int, dict[str, Any]]) -> int | None:
        """The place of the next finalist, `proofs` being the sittings so far by their places, in order; None if no
        further one is tried."""
        sittings = list(proofs.values())
        waiting = [place for place in range(len(self.finalists)) if place not in proofs]
        if self.rule >= EVERY_CODE:
            wrong = {variant_of(self.finalists[p]) for p, proof in proofs.items() if proof["status"] == WRONG} - {""}
            waiting = [place for place in waiting if variant_of(self.finalists[place]) not in wrong]
            owners = self._owners_turn(proofs, waiting)
            if owners is not None and self._allowed(sittings):
                return owners
        if not waiting or (sittings and not self._another(sittings, waiting[0] < self.close)):
            return None
        return waiting[0]

    def _owners_turn(self, proofs: Mapping[int, dict[str, Any]], waiting: Sequence[int]) -> int | None:
        """The best config of the owner's code, if the last sitting was one of a variant that passed and is not proven,
        and the owner's code has had none."""
        if not proofs or not all(variant_of(self.finalists[place]) for place in proofs):
            return None
        tried = self._judged(list(proofs.values())[-1:])
        if not tried or tried[0][2].proven:
            return None
        return next((place for place in waiting if not variant_of(self.finalists[place])), None)

    def _allowed(self, sittings: list[dict[str, Any]]) -> bool:
        spoilt = sum(proof["status"] == "infrastructure" for proof in sittings)
        return spoilt < MOST_SPOILT and len(self._judged(sittings)) < self.most

    def _another(self, sittings: list[dict[str, Any]], close: bool) -> bool:
        """Whether the next finalist is tried; `close` if it lies within noise of the best. Not after one that is
        proven, nor after as many as may come through their sitting, nor if a rival could not be timed or is so far
        ahead that it beats every near config."""
        if sum(proof["status"] == "infrastructure" for proof in sittings) >= MOST_SPOILT:
            return False
        tried = self._judged(sittings)
        if not tried or sittings[-1]["status"] != "correct":
            return close or not tried
        if len(tried) >= self.most:
            return False
        judged = tried[-1][2]
        return self.rule != FIRST_BASELINE and close and judged.verdict in ("level", "slower") and not judged.hopeless

    def _judged(self, sittings: list[dict[str, Any]]) -> list[Any]:
        return judge_tried(sittings, self.energy, self.against, self.rule)
