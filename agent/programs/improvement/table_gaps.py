"""What a table does between its rows: neighbours share what is proven in both, and held-out launches show how that
turns out.

A launch between two rows is served only by a config that is proven in both (``kernels/tuned/applying``). Two neighbours
that were tuned each by itself may have proven two configs. So the config of one is tried at the other, and stands
beside the row's own decision if it is proven there too. A launch between two such neighbours tries what both have in
one go, because opening a launch takes as long as a proof. Held-out launches lie between others and have no rows: each
is timed with what the table answers, in turns with the launch as captured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

from agent.goal.objective import Objective
from agent.loop.progress import Watch
from agent.programs.improvement.improve_plan import Job, Plan, function_of
from agent.programs.improvement.improve_request import Improved, Request
from agent.programs.improvement.preparing.surveys import Surveys
from agent.programs.improvement.time_left import TimeLeft
from agent.programs.improvement.tuned_rows import LEAST_KINDS, TWO_PROCESSES, decision_of
from agent.verdict.tried import judge_tried
from kernels.captured.captured_problem import CapturedProblem
from kernels.captured.spec import OPTIONS
from kernels.tuned.applying.between_rows import RowIndex, lies_between, split_sizes
from kernels.tuned.tuned_table import Decision, Json, TunedFunction, TunedRow, TunedTable, canonical, in_fixed_order
from tools.harness.process.prestart import Prestart

BRIDGE_S, HELD_OUT_S = 5.0, 6.0
"""Seconds for a launch that tries its neighbours' configs, and for one that was held out. The rounds of each sitting
take half of them at most."""
PAIR_S = 2.5
"""Seconds that are kept for each pair of neighbours. Of 19 pairs on an H200 13 had no config in common, which 8
launches can close (docs/BENCHMARKS.md)."""
MOST_KEPT = 0.25
"""Of all the time that are kept for both."""
AHEAD = 2
"""Launches whose processes are started while one is looked at, which takes less time than their imports. As many as
searches run at once, at most."""

Tried = set[tuple[str, str]]
"""(name of a row, digest of a decision) that were tried."""

MakeObjective = Callable[[Job, CapturedProblem, float, int, bool], Objective]
"""(launch, its problem, seconds, evaluations, whether code is edited) → what a run of it is asked for."""


class TableGaps:
    """Works on the gaps of a table whose rows are made. `processes`: gives those that were started for a run,
    and starts those of so many later ones."""

    def __init__(
        self,
        request: Request,
        made: Improved,
        surveys: Surveys,
        objective: MakeObjective,
        processes: Callable[[int], Prestart | None],
        watch: Watch,
        time_left: TimeLeft,
    ) -> None:
        self._request, self._made, self._surveys, self._time = request, made, surveys, time_left
        self._objective, self._processes, self._watch = objective, processes, watch

    def all(self, plan: Plan, write: Callable[[], None], leave: Callable[[str, Job], None]) -> None:
        """Prove configs in neighbouring rows, then time the table's answers for what was held out. `write` writes the
        table, `leave` notes that nothing was found out about a launch, and writes too."""
        table = self._made.table
        proven = [job for job, judged, _ in self._made.rows if judged.status == "proven"]
        self._share(proven, len(plan.held_out), write)
        for later, job in zip(reversed(range(len(plan.held_out))), plan.held_out, strict=True):
            if self._time.left() < HELD_OUT_S:
                leave(f"it was held out, and {self._time.was_up} before the table's answer was timed", job)
                continue
            between, decision = answer_for(table, job)
            config = None if decision is None else config_at(job, decision)
            table.held_out.append(held_out_entry(job, between, config, self._prove_at(job, config, later)))
            write()

    def _share(self, jobs: Sequence[Job], later: int, write: Callable[[], None]) -> None:
        """Try configs of neighbours, launch by launch, until all pairs have one in common or nothing is left to try.
        `later`: launches that need processes after these."""
        tried: Tried = set()
        table, left = self._made.table, self._time.left
        while (found := most_wanted(table, jobs, tried)) is not None and left() >= BRIDGE_S:
            self._try(*found, jobs, tried, later)
            write()

    def _try(
        self, job: Job, row: TunedRow, decisions: Sequence[Decision], jobs: Sequence[Job], tried: Tried, later: int
    ) -> None:
        """Try decisions of neighbours at `job`, as long as they are wanted there."""
        table, prepared = self._made.table, self._surveys.of(job)
        configs = {d.digest: config_at(job, d) for d in decisions}
        if isinstance(prepared, str) or not any(configs.values()):
            tried.update((row.name, digest) for digest in configs)
            return
        later += len(pairs_without_a_shared_config(table, jobs)) // 2  # launches that close the other gaps, two each
        objective = self._objective(job, prepared[0], BRIDGE_S, len(configs), False)
        with self._sitting(objective, later) as prove:
            while (found := most_wanted(table, jobs, tried, job)) is not None:
                digest = found[2][0].digest
                tried.add((row.name, digest))
                config = configs.get(digest)
                if config is None or not is_proven(prove(config)) or self._surveys.fault_at(job, config):
                    continue
                now = next(r for r in table.rows if r.name == row.name)
                table.add(with_neighbour(now, config), table.evidence[row.name])
                self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: its neighbour's config is proven, too")

    def _prove_at(self, job: Job, config: Json | None, later: int) -> Json | None:
        """The sitting of one config of a launch; None without a config, or if the launch cannot be made anew. `later`:
        launches that follow."""
        prepared = self._surveys.of(job) if config is not None else ""
        if config is None or isinstance(prepared, str):
            return None
        objective = self._objective(job, prepared[0], HELD_OUT_S, 1, False)
        with self._sitting(objective, later) as prove:
            return prove(config)

    @contextmanager
    def _sitting(self, objective: Objective, later: int) -> Iterator[Callable[[Json], Json]]:
        """Proves configs of one launch without a search, one after the other. `later`: launches that follow."""
        from agent.loop.run import new_run_id, open_actions

        memory, started = self._request.memory, self._processes(min(AHEAD, later))
        ends_at = self._time.ends_at - self._time.reading_s
        opened = open_actions(objective, memory, new_run_id(), self._watch, started=started, ends_at=ends_at)
        with closing(opened) as actions:
            proofs: list[Json] = []

            def prove(config: Json) -> Json:
                proofs.append(actions.prove(f"neighbour {len(proofs) + 1}", config))
                return proofs[-1]

            yield prove
            actions.finish("unproven", {"proofs": proofs})


def families(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs whose keys differ in sizes alone, each family in the order of its sizes."""
    found: dict[tuple[TunedFunction, str], list[tuple[tuple[int, ...], Job]]] = {}
    for job in jobs:
        frame, sizes = split_sizes(job.key)
        found.setdefault((function_of(job.launch), canonical(frame)), []).append((sizes, job))
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
    keys = [(function_of(job.launch), job.key) for job in chosen]
    plan.jobs = [job for job in plan.jobs if job not in chosen]
    plan.autotuned = [(x, key) for x, key in plan.autotuned if (function_of(x), key) not in keys]
    plan.held_out = list(chosen)


def seconds_kept(jobs: Sequence[Job], held_out: Sequence[Job], seconds: float) -> float:
    """The part of `seconds` that the search of `jobs` leaves for their neighbours and for `held_out`."""
    pairs = sum(len(family) - 1 for family in families(jobs))
    return min(MOST_KEPT * seconds, PAIR_S * pairs + HELD_OUT_S * len(held_out))


def pairs_without_a_shared_config(table: TunedTable, jobs: Sequence[Job]) -> list[tuple[Job, TunedRow, Job, TunedRow]]:
    """Neighbours that are both proven, and have no proven config in common."""
    rows = {(row.function, canonical(row.key)): row for row in table.rows}
    found = []
    for family in families(jobs):
        tuned = [(job, rows.get((function_of(job.launch), canonical(job.key)))) for job in family]
        proven = [(job, row) for job, row in tuned if row is not None]
        for (low, low_row), (high, high_row) in pairwise(proven):
            both = (low_row.status, high_row.status) == ("proven", "proven")
            if both and not set(digests(low_row)) & set(digests(high_row)):
                found.append((low, low_row, high, high_row))
    return found


def most_wanted(
    table: TunedTable, jobs: Sequence[Job], tried: Tried, only: Job | None = None
) -> tuple[Job, TunedRow, list[Decision]] | None:
    """The launch at which configs of neighbours may close most gaps, its row, and these: what closes two gaps first,
    then what most rows have, then in the fixed order. `only`: at this launch, if it is given. None if there is nothing
    left to try."""
    closes: dict[str, Counter[str]] = {}
    known: dict[str, Decision] = {}
    places: dict[str, tuple[Job, TunedRow]] = {}
    gaps: Counter[str] = Counter()
    for low, low_row, high, high_row in pairs_without_a_shared_config(table, jobs):
        for job, row, other in ((high, high_row, low_row), (low, low_row, high_row)):
            new = {d.digest: d for d in (other.decision, *other.also) if d is not None and d.source is None}
            new = {digest: d for digest, d in new.items() if (row.name, digest) not in tried}
            if new and only in (None, job):
                places[row.name] = job, row
                gaps[row.name] += 1
                closes.setdefault(row.name, Counter()).update(new.keys())
                known |= new
    if not places:
        return None
    chosen = min(places, key=lambda name: (-gaps[name], -places[name][0].gain_ms))
    common = Counter(digest for row in table.rows for digest in digests(row))
    order = in_fixed_order([known[digest] for digest in closes[chosen]])
    order.sort(key=lambda d: (-closes[chosen][d.digest], -common[d.digest]))
    return *places[chosen], order


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
    own = function_of(job.launch)
    rows = [r for r in table.rows if r.function.identity == own.identity]
    index = RowIndex([r for r in rows if r.function.is_named(own.module, own.qualname)])
    found = index.between(job.key)
    if found is None:
        return None, None
    low, high, decision = found
    return f"{low.name}-{high.name}", decision


def held_out_entry(job: Job, between: str | None, config: Json | None, proof: Json | None) -> Json:
    """What a held-out launch showed, as the table's file keeps it."""
    entry: Json = {"launch": job.launch.digest, "kernel": job.launch.name, "between": between, "config": config}
    entry |= {"function": job.function} if job.function else {}
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
