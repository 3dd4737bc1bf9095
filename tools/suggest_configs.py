"""Propose the configs most worth measuring next, from a cost model of this GPU and all measurements: predicted time,
uncertainty, why, and whether going on is worth it. Free. First comes what is expected to gain most, given those before
it. `effects`: the share of ms that a field alone loses near the best; `a x b`: how far the effect of one depends on the
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from memory.shared_models import Closed
from tools.calling.arguments import MAX_CONFIGS
from tools.declaration import Declaration

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.planner.parameter_effects import Effect
    from tools.planner.propose import Plan, Proposal
    from tools.session.session import Session

DECLARATION = Declaration("choosing what to try", activity="think", returns="proposals")

DOUBTFUL = 0.7
"""Odds of working below which a proposal says so."""
TOP_EFFECTS = 4
"""Effects of parameters, and of pairs of them, that are reported: so many measured and so many predicted ones."""


class SuggestConfigs(Closed):
    """How many proposals to make."""

    count: int = Field(default=8, ge=1, le=MAX_CONFIGS, description="proposals wanted, best first")
    ignore_measurements: bool = Field(default=False, description="propose as if nothing were measured yet")


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    return SuggestConfigs


def run(session: Session, args: SuggestConfigs, call_id: str) -> dict[str, Any]:
    """Proposals, best first; winners of near problems come before the planner's own choice. If the compile pool takes
    one config at a time, each reading may change the next proposal: ``ask_again_after`` is how many to try first."""
    from tools.planner.evidence import Evidence
    from tools.planner.propose import Planner

    evidence = Evidence(session.compiled, session.checked, session.measured, session.declined)
    if session.planner is None:
        session.planner = Planner(session.task, session.space, session.near_problems)
    patient = not session.pool.parallel
    plan = session.planner.propose(
        Evidence() if args.ignore_measurements else evidence, args.count, session.seeds, patient
    )
    if args.ignore_measurements:
        known = evidence.settled()
        plan = replace(plan, proposals=[p for p in plan.proposals if p.config not in known], try_first=args.count)
    session.budget.proposed |= {p.config.key() for p in plan.proposals}
    return answer(plan)


def answer(plan: Plan) -> dict[str, Any]:
    """A plan as a small JSON object: ms and relative uncertainty to four and two digits."""
    found: dict[str, Any] = {"proposals": [row(p) for p in plan.proposals], "stop": plan.stop, "why": plan.why}
    if plan.try_first < len(plan.proposals):
        found["ask_again_after"] = plan.try_first
    if plan.effects:
        found["effects"] = {
            "measured": top([e for e in plan.effects if e.measured]),
            "predicted": top([e for e in plan.effects if not e.measured]),
        }
    return found


def top(effects: Sequence[Effect]) -> dict[str, float]:
    """The largest of `effects`, which come largest first."""
    return {effect.name: float(f"{effect.change:.2g}") for effect in effects[:TOP_EFFECTS]}


def row(p: Proposal) -> dict[str, Any]:
    doubt = {} if p.odds >= DOUBTFUL else {"may_fail": f"it works with odds of {p.odds:.0%}: compile it first"}
    return {
        "config": p.config.model_dump(mode="json"),
        "predicted_ms": None if p.predicted_ms is None else float(f"{p.predicted_ms:.4g}"),
        "uncertainty": None if p.uncertainty is None else float(f"{p.uncertainty:.2g}"),
        "reason": p.reason,
        **doubt,
    }
