"""What a table does between its rows: neighbours share what is proven in both, and held-out launches show how that
turns out.

A launch between two rows is served only by a config that is proven in both (``kernels/tuned/applying``). Two neighbours
that were tuned each by itself may have proven two configs. So the config of one is tried at the other, and stands
beside the row's own decision if it is proven there too. Held-out launches lie between others and have no rows: each is
timed with what the table answers, in turns with the launch as captured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import Any

from agent.goal.objective import Objective
from agent.loop.progress import Watch
from agent.programs.improvement.improve_plan import Job, Plan
from agent.programs.improvement.improve_request import Improved, Request
from agent.programs.improvement.preparing.surveys import Surveys
from agent.programs.improvement.tuned_rows import LEAST_KINDS, TWO_PROCESSES, decision_of
from agent.verdict.tried import judge_tried
from kernels.captured.captured_problem import CapturedProblem
from kernels.captured.spec import OPTIONS
from kernels.tuned.applying.between_rows import RowIndex, lies_between, split_sizes
from kernels.tuned.tuned_table import Decision, Json, TunedRow, TunedTable, canonical
from tools.harness.process.prestart import Prestart

BRIDGE_S, HELD_OUT_S = 5.0, 6.0
"""Seconds that are kept for one neighbour's config, and for one held-out launch."""
MOST_KEPT = 0.25
"""Of all the time that are kept for both."""


MakeObjective = Callable[[Job, CapturedProblem, float, int, bool], Objective]
"""(launch, its problem, seconds, evaluations, whether code is edited) → what a run of it is asked for."""


class TableGaps:
    """Works on the gaps of a table whose rows are made. `processes`: gives those that were started for a run."""

    def __init__(
        self,
        request: Request,
        made: Improved,
        surveys: Surveys,
        objective: MakeObjective,
        processes: Callable[[], Prestart | None],
        watch: Watch,
    ) -> None:
        self._request, self._made, self._surveys = request, made, surveys
        self._objective, self._processes, self._watch = objective, processes, watch

    def all(self, plan: Plan, began: float, write: Callable[[], None], leave: Callable[[Job, str], None]) -> None:
        """Prove configs in neighbouring rows, then time the table's answers for what was held out. `began`: when the
        work on the capture did. `write` writes the table, `leave` notes that nothing was found out about a launch."""
        table = self._made.table
        proven = [job for job, judged, _ in self._made.rows if judged.status == "proven"]
        for pair in pairs_without_a_shared_config(table, proven):
            if self._is_over(began):
                break
            self._bridge(*pair)
            write()
        for job in plan.held_out:
            if self._is_over(began):
                leave(job, "it was held out, and the time was up before the table's answer was timed")
                continue
            between, decision = answer_for(table, job)
            config = None if decision is None else config_at(job, decision)
            table.held_out.append(held_out_entry(job, between, config, self._prove_at(job, config)))
            write()

    def _is_over(self, began: float) -> bool:
        return time.monotonic() - began > self._request.max_seconds

    def _bridge(self, low: Job, low_row: TunedRow, high: Job, high_row: TunedRow) -> None:
        """Try the lower row's config at the upper launch; if it is not proven there, the upper row's at the lower."""
        for job, row, other in ((high, high_row, low_row), (low, low_row, high_row)):
            config = None if other.edited or other.decision is None else config_at(job, other.decision)
            proof = self._prove_at(job, config)
            if config is None or proof is None or not is_proven(proof) or self._surveys.wrong_at(job, config):
                continue
            table = self._made.table
            now = next(r for r in table.rows if r.name == row.name)
            table.add(with_neighbour(now, config), table.evidence[row.name])
            self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: its neighbour's config is proven, too")
            return

    def _prove_at(self, job: Job, config: Json | None) -> Json | None:
        """The sitting of one config of a launch; None without a config, or if the launch cannot be made anew."""
        prepared = self._surveys.of(job) if config is not None else ""
        if config is None or isinstance(prepared, str):
            return None
        objective = self._objective(job, prepared[0], self._request.max_seconds, 1, False)
        return sit(objective, config, self._request, self._watch, self._processes())


def sit(objective: Objective, config: Json, request: Request, watch: Watch, started: Prestart | None) -> Json:
    """The final sitting of one config, without a search."""
    from agent.loop.run import new_run_id, open_actions

    with closing(open_actions(objective, request.memory, new_run_id(), watch, started=started)) as actions:
        proof = actions.prove("neighbour", config)
        actions.finish("unproven", {"proof": proof})
        return proof


def families(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs whose keys differ in sizes alone, each family in the order of its sizes."""
    found: dict[str, list[tuple[tuple[int, ...], Job]]] = {}
    for job in jobs:
        frame, sizes = split_sizes(job.key)
        found.setdefault(f"{job.launch.function['identity']} {canonical(frame)}", []).append((sizes, job))
    return [[job for _, job in sorted(own, key=lambda x: x[0])] for own in found.values()]


def hold_out(jobs: Sequence[Job], count: int) -> list[Job]:
    """Up to `count` jobs of each family, evenly spread, that lie between their neighbours, no two of them side by
    side."""
    chosen: list[Job] = []
    for family in families(jobs):
        most = min(count, len(family))
        places = [round((i + 1) * (len(family) - 1) / (most + 1)) for i in range(most)]
        last = -1
        for place in places:
            if place <= last + 1 or place >= len(family) - 1:
                continue
            low, at, high = (split_sizes(family[i].key)[1] for i in (place - 1, place, place + 1))
            if lies_between(low, at, high):
                chosen.append(family[place])
                last = place
    return chosen


def take_out(plan: Plan, chosen: Sequence[Job]) -> None:
    """Move jobs of a plan to those that get no row."""
    keys = [(job.launch.function["identity"], job.key) for job in chosen]
    plan.jobs = [job for job in plan.jobs if job not in chosen]
    plan.autotuned = [(x, key) for x, key in plan.autotuned if (x.function["identity"], key) not in keys]
    plan.held_out = list(chosen)


def seconds_kept(jobs: Sequence[Job], held_out: Sequence[Job], seconds: float) -> float:
    """The part of `seconds` that the search of `jobs` leaves for their neighbours and for `held_out`."""
    pairs = sum(len(family) - 1 for family in families(jobs))
    return min(MOST_KEPT * seconds, BRIDGE_S * pairs + HELD_OUT_S * len(held_out))


def pairs_without_a_shared_config(table: TunedTable, jobs: Sequence[Job]) -> list[tuple[Job, TunedRow, Job, TunedRow]]:
    """Neighbours that are both proven, and have no proven config in common."""
    rows = {(row.function.identity, canonical(row.key)): row for row in table.rows}
    found = []
    for family in families(jobs):
        tuned = [(job, rows.get((job.launch.function["identity"], canonical(job.key)))) for job in family]
        proven = [(job, row) for job, row in tuned if row is not None]
        for (low, low_row), (high, high_row) in pairwise(proven):
            both = (low_row.status, high_row.status) == ("proven", "proven")
            if both and not set(digests(low_row)) & set(digests(high_row)):
                found.append((low, low_row, high, high_row))
    return found


def digests(row: TunedRow) -> list[str]:
    return [d.digest for d in (row.decision, *row.also) if d is not None]


def with_neighbour(row: TunedRow, config: Json) -> TunedRow:
    """The row, which now holds the proven config of a neighbour too."""
    return replace(row, also=(*row.also, decision_of(config)))


def config_at(job: Job, decision: Decision) -> Json | None:
    """A decision as a config of another launch; None if it is none of its space."""
    own = job.kernel.owner_config().model_dump()
    unset = {n: None for n in OPTIONS if n in own}
    try:
        found = job.kernel.config_type(**{**own, **unset, **decision.constexprs, **decision.options})
    except ValueError:
        return None
    return found.model_dump(mode="json")


def is_proven(proof: Json) -> bool:
    """Whether a sitting proves its config over every baseline, on as many kinds of inputs as a row needs."""
    tried = judge_tried([proof], None)
    if not tried or tried[-1][2].verdict != "proven" or len(proof["survived"]) < LEAST_KINDS:
        return False
    return min((b.ci[0] for b in tried[-1][1] if b.ci is not None), default=1.0) > 1 + TWO_PROCESSES


def answer_for(table: TunedTable, job: Job) -> tuple[str | None, Decision | None]:
    """The rows between which a launch lies, and what serves it there."""
    index = RowIndex([r for r in table.rows if r.function.identity == job.launch.function["identity"]])
    found = index.between(job.key)
    if found is None:
        return None, None
    low, high, decision = found
    return f"{low.name}-{high.name}", decision


def held_out_entry(job: Job, between: str | None, config: Json | None, proof: Json | None) -> Json:
    """What a held-out launch showed, as the table's file keeps it."""
    entry: Json = {"launch": job.launch.digest, "kernel": job.launch.name, "between": between, "config": config}
    if proof is None:
        return entry
    owner = next((c for c in proof["comparisons"] if c["name"] == "owner"), None)
    entry |= {"status": proof["status"], "reason": proof["reason"], "ms": proof["ms"]}
    return entry | ({"speedup": owner["speedup"], "ci": owner["ci"]} if owner else {})


def describe_held_out(entries: Sequence[Json]) -> str:
    """One line for people: the worst of the held-out launches."""
    from statistics import geometric_mean

    wrong = [e for e in entries if e.get("status", "correct") != "correct"]
    timed = [e for e in entries if e.get("speedup")]
    line = f"held out   {len(entries)} between rows, {len(timed)} served by a config that is proven on both sides"
    if wrong:
        line += f"; {wrong[0]['kernel']} {wrong[0]['launch'][:8]} is not right: {wrong[0]['reason']}"
    if timed:
        worst: Any = min(timed, key=lambda e: e["speedup"])
        mean = geometric_mean(e["speedup"] for e in timed)
        low, high = worst["ci"]
        line += f"; worst {worst['speedup']:.3f}x [{low:.3f}, {high:.3f}] of the launch as captured, mean {mean:.3f}x"
    return line
