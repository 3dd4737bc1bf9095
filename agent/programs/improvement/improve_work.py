"""Goes through the launches of a plan: survey, search, proof, and a row of the table for each.

    1. The owner's launch is surveyed: what it overwrites, how far it is from float64 and from itself.
    2. The launch is a kernel like any other: the same loop, tools and memory search its space and prove a config
       against the launch as captured and the autotuner's choice made anew.
    3. The proven config is compared with float64, and the table is written after every launch.

If nothing is timed, some configs are checked in Triton's interpreter, and every row says so.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.goal.objective import Limits, Objective
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.models.base import EMBEDDED
from agent.models.prices import priced
from agent.programs.improvement.edited.edited_launches import EditedLaunches, is_edited
from agent.programs.improvement.edited.held_out_launches import try_held_out
from agent.programs.improvement.improve_plan import LEAST_SEARCH_S, Job, Plan, seconds_for, seconds_to_search
from agent.programs.improvement.improve_request import Improved, Request
from agent.programs.improvement.interpreter_checks import CHECKED, InterpreterChecks
from agent.programs.improvement.parallel_searches import MOST_GAINED, Searches, most_at_once
from agent.programs.improvement.preparing.ahead import Ahead
from agent.programs.improvement.preparing.compilations import Begun, Compilations
from agent.programs.improvement.preparing.surveys import SEED, Prepared, Surveys
from agent.programs.improvement.table_gaps import TableGaps, seconds_kept
from agent.programs.improvement.time_left import TimeLeft
from agent.programs.improvement.tuned_rows import (
    KEPT,
    NOTHING_TIMED,
    Judged,
    beyond_float64,
    evidence_of,
    judge,
    kept_choice,
    not_judged,
    owner_fault,
    row_of,
    with_unmeasured,
)
from agent.programs.lineage import lineage_of
from kernels.captured.captured_problem import CapturedProblem
from kernels.hardware import Hardware
from kernels.tuned.tuned_table import fault_of
from memory.terms import count_of
from tools.harness.checking.float64.promoted_reference import Reference
from tools.harness.checking.owner_survey import OwnerSurvey, Survey
from tools.harness.process.prestart import Prestart

MOST_EVALS = 60
"""Configs measured of one launch at most."""
MOST_EDITED_EVALS = 160
"""The same with variants."""
MOST_FINALISTS = 2
"""Configs of a launch that are tried for a proof: of a launch that its owner's config fits, a dozen lie within noise of
it, and each sitting takes the time of another launch's search."""


def run_search(
    objective: Objective,
    request: Request,
    watch: Watch,
    started: Prestart | None,
    gpu_lock: Path | None,
    begun: Begun | None,
    ends_at: float,
    runs: list[str],
) -> Outcome:
    """One run of the loop with the request's memory and server, in processes that may have been started before. At
    `ends_at`, by ``time.monotonic()``, it has to be over. `runs`: those of this command, to which it is added."""
    from agent.goal.request import about_model
    from agent.loop.run import begin, new_run_id, open_actions

    notices = [f"note: {notice}" for notice in about_model(objective)]
    run_id, earlier = new_run_id(), tuple(runs)
    runs.append(run_id)
    open_ = partial(open_actions, started=started, gpu_lock=gpu_lock, begun=begun, ends_at=ends_at, alongside=earlier)
    return begin(objective, request.memory, request.base_url, watch, open_, notices, run_id=run_id).outcome


def searches_at_once(request: Request) -> int:
    """One where a language model decides, whose words a person follows, or edits code."""
    return most_at_once() if request.model == EMBEDDED and not request.edit else 1


class Work:
    """Goes through the jobs of a plan."""

    def __init__(
        self,
        request: Request,
        device: str,
        survey: OwnerSurvey,
        ahead: Ahead,
        made: Improved,
        watch: Watch,
        hardware: Hardware | None,
        gpu_lock: Path | None,
        time_left: TimeLeft,
    ) -> None:
        """`hardware`: the facts of the GPU, unless the interpreter checks. `gpu_lock`: the file by which the survey and
        the runs use it in turns. `time_left`: of the command."""
        self._hardware, self._gpu_lock, self._time = hardware, gpu_lock, time_left
        self._kept_s = 0.0
        """Seconds that searches leave for what comes after all of them."""
        self._request, self._device, self._made = request, device, made
        self._survey, self._ahead, self._watch = survey, ahead, watch
        self._checks = InterpreterChecks(survey, time_left)
        self._compilations = Compilations(hardware)
        self._at_once = searches_at_once(request) if made.timed else 1
        self._in_sight = self._at_once + ahead.at_once
        """Launches that are prepared or searched."""
        self._surveys = Surveys(survey, ahead, hardware, time_left, self._in_sight if made.timed else 1)
        self._edited = EditedLaunches(request.memory, hardware)
        self._runs: list[str] = []
        """Ids of this command's runs."""
        self._writing = threading.RLock()
        """Held to change the table and what was made."""

    def all(self, found: Plan) -> None:
        self._keep_choices(found)
        self._write()  # a file that cannot be written is known before anything is spent
        self._ahead.start_processes(min(len(found.jobs), self._at_once))
        try:
            if self._made.timed:
                self._time_all(found)
                r, made, time_left = self._request, self._made, self._time
                gaps = TableGaps(r, made, self._surveys, self._objective, self._processes, self._watch, time_left)
                gaps.all(found, self._write, self._leave)
            else:
                self._check_all(found)
        finally:
            self._checks.close()
            self._surveys.close()
            self._compilations.close()
            self._edited.close()

    def _check_all(self, found: Plan) -> None:
        for i, job in enumerate(found.jobs):
            if not self._time.left():
                self._leave(self._time.was_up, *found.jobs[i:])
                break
            self._announce(job)
            self._ahead.expect(j.launch.digest for j in found.jobs[i : i + 1 + self._ahead.at_once])
            prepared = self._surveys.of(job)
            if isinstance(prepared, str):
                self._leave(prepared, job)
            else:
                self._check(job, *prepared)

    def _time_all(self, found: Plan) -> None:
        """Search the launches, what promises most first, unless it is not prepared yet and another is."""
        waiting = list(found.jobs)
        self._kept_s = seconds_kept(found.jobs, found.held_out, self._request.max_seconds)
        with Searches(self._at_once, self._hardware, self._watch) as searches:
            while waiting:
                left = self._time.left() - self._kept_s
                if left <= (LEAST_SEARCH_S + self._time.proof_s if len(waiting) < len(found.jobs) else 0):
                    self._leave(self._time.was_up, *waiting)
                    break
                in_sight = waiting[: self._in_sight - len(searches)]
                prepared = {job.launch.digest: self._prepared(job) for job in in_sight}
                ready = next((j for j in in_sight if prepared[j.launch.digest].done()), None)
                if ready is None or not searches.has_room_for(ready):
                    searches.wait(list(prepared.values()) if ready is None else (), left)
                    continue
                waiting.remove(ready)
                self._search(ready, prepared[ready.launch.digest].result(), waiting, left, searches)
            while len(searches):
                searches.wait((), math.inf)

    def _search(
        self, job: Job, prepared: Prepared | str, later: Sequence[Job], seconds: float, searches: Searches
    ) -> None:
        """Begin the search of a launch. `seconds` are left for it and for those of `later`."""
        if isinstance(prepared, str):
            self._leave(prepared, job)
            return
        self._announce(job)
        of_all, left = seconds * min(self._at_once, MOST_GAINED), [job, *later]
        part = min(seconds, of_all / len(left) if self._request.even else seconds_for(job, left, of_all))
        to_search, started = seconds_to_search(part, self._time.proof_s), self._processes(len(later))
        searches.start(job, partial(self._search_and_prove, job, *prepared, to_search, started))

    def _prepared(self, job: Job) -> Future[Prepared | str]:
        """What has to be known of the launch; begun if it was not."""
        self._ahead.expect([job.launch.digest])
        return self._surveys.expect(job, self._compilations.begin(job))

    def _announce(self, job: Job) -> None:
        configs = len(job.kernel.launch_space.configs)
        some = "" if self._made.timed or configs <= CHECKED else f", of which {CHECKED} are checked"
        self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: {count_of(configs, 'config')}{some}")

    def _keep_choices(self, found: Plan) -> None:
        """Rows of all autotuned launches as they are; what is tuned replaces its own."""
        for launch, key in found.autotuned:
            row = kept_choice(launch, key, self._made.environment)
            if row is not None and fault_of(row, None) is None:
                self._made.table.add(row, {"why": KEPT, "launch": launch.digest, "launches": launch.count})

    def _search_and_prove(
        self,
        job: Job,
        problem: CapturedProblem,
        survey: Survey,
        exact: Reference,
        seconds: float,
        started: Prestart | None,
        watch: Watch,
    ) -> None:
        """Search a launch, prove what was found, and write its row."""
        r = self._request
        edits = r.edit and self._may_be_edited(job)
        objective = self._objective(job, problem, seconds, MOST_EDITED_EVALS if edits else MOST_EVALS, edits)
        try:
            begun = None if edits else self._compilations.begun(job)
            ends_at = self._time.ends_at - self._kept_s - self._time.reading_s
            outcome = run_search(priced(objective), r, watch, started, self._gpu_lock, begun, ends_at, self._runs)
        except UsageError as e:
            self._leave(str(e).rstrip("."), job)
            return
        if reason := self._surveys.change(job) or not_judged(outcome):
            self._leave(reason, job)
            return
        if outcome.best is not None:
            self._time.note_sitting(outcome.proof_seconds)
        if outcome.proven and not self._time.left():
            self._leave(f"{self._time.was_up} before its proof was complete", job)
            return
        judged_from = time.monotonic()
        wrong: str | None = None
        errors: dict[str, float] = {}
        held_out: dict[str, str] = {}
        beside: dict[str, Any] = {}
        same = False
        if outcome.proven and outcome.best is not None:
            best = outcome.best.config
            kernel, values, edited = self._edited.reference(job, best), problem.model_dump(), is_edited(best)
            if exact.reason is None:
                found = self._survey.errors(kernel, values, best, exact, SEED)
                wrong = found if isinstance(found, str) else beyond_float64(survey, found, edited)
                errors = {} if isinstance(found, str) else found
            if wrong is None and edited:
                held_out, wrong = try_held_out(
                    job, best, self._made.capture, self._edited, self._ahead, self._survey, SEED
                )
            same = not edited and self._compilations.same_code(job, best)
            if wrong is None and not same:
                timed = self._survey.side_by_side(kernel, values, best, SEED)
                beside = {"missing": timed} if isinstance(timed, str) else timed
        judged = judge(outcome, wrong, job.kernel.owner_config().model_dump(), beside, same)
        judged = with_unmeasured(judged, outcome)
        more: dict[str, Any] = {"error": errors, "measured_ms": survey.ms, "bounds": problem.bound_of()}
        more |= {"held_out": held_out} if held_out else {}
        more |= {"bitwise": True} if r.bitwise else {}
        more |= {"side_by_side": beside} if beside else {}
        self._add(job, judged, outcome, evidence_of(job, survey, exact, judged, outcome, **more))
        if beside:
            self._time.note_reading(time.monotonic() - judged_from)

    def _objective(self, job: Job, problem: CapturedProblem, seconds: float, evals: int, edits: bool) -> Objective:
        r = self._request
        return Objective(
            goal=f"improve {r.file.name}: {job.launch.name} {problem.label()}",
            kernel=job.reference,
            options=problem.model_dump(),
            metric="latency",
            device=self._device,
            model=r.model,
            cold=r.cold,
            bitwise=r.bitwise,
            edit=edits,
            limits=Limits(max_evals=evals, max_seconds=seconds, max_finalists=MOST_FINALISTS),
            seed=r.seed,
        )

    def _may_be_edited(self, job: Job) -> bool:
        """Whether the launch's code can be edited; what cannot is tuned by configs alone, and says why."""
        refusal = self._edited.refusal(job)
        if refusal is not None:
            self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: its code is not edited: {refusal}")
        return refusal is None

    def _processes(self, later: int = 1) -> Prestart | None:
        """Those that wait for a run; others are started for those of the `later` ones that come next."""
        started = self._ahead.take_processes()
        self._ahead.start_processes(min(later, self._at_once))
        return started

    def _check(self, job: Job, problem: CapturedProblem, survey: Survey, exact: Reference) -> None:
        """Check some configs in the interpreter: against the owner's launch, and against float64."""
        checked, missed = self._checks.check(job, problem, survey, exact)
        if not checked:
            self._leave(self._time.was_up, job)
            return
        own = job.kernel.owner_config().model_dump()
        disagrees = [c["reason"] for c in checked if c["config"] == own and c["status"] == "correctness"]
        why = owner_fault(disagrees[0]) if disagrees else NOTHING_TIMED
        sampled = next((c["programs"] for c in checked if "programs" in c), None)
        why += f"; what is compared is a sample ({sampled})" if sampled else ""
        why += f"; {self._time.was_up} before {count_of(missed, 'further config')} could be checked" if missed else ""
        judged = Judged("stock", why, None)
        evidence = evidence_of(job, survey, exact, judged, None, checked=checked, bounds=problem.bound_of())
        self._add(job, judged, None, evidence)

    def _add(self, job: Job, judged: Judged, outcome: Outcome | None, evidence: dict[str, Any]) -> None:
        source = self._edited.source(job, judged.config)
        if source is not None:
            evidence["lineage"] = lineage_of(self._request.memory, source["hash"])
        with self._writing:
            self._made.table.add(row_of(job, self._made.environment, judged, source), evidence)
            self._made.rows.append((job, judged, outcome))
        self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: {judged.status}: {judged.why}")
        self._write()

    def _leave(self, reason: str, *jobs: Job) -> None:
        """Note that nothing is found out about these launches."""
        with self._writing:
            self._made.leave(reason, *jobs)
        for job in jobs:
            self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: left out: {reason}")
        self._write()

    def _write(self) -> None:
        try:
            with self._writing:
                self._made.table.untuned = [u.entry() for u in self._made.untuned]
                self._made.earlier.write(self._made.table, self._request.out)
        except OSError as e:
            raise UsageError(f"{self._request.out} cannot be written ({e.strerror}): name another file by -o.") from e
