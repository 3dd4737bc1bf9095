"""Improves the launches of a capture: survey, search, proof, one row of the table for each.

    1. The plan says which launches come first (``improve_plan.py``).
    2. The owner's launch is surveyed: what it overwrites, how far it is from float64 and from itself.
    3. The launch is a kernel like any other: the same loop, tools and memory search its space and prove a config
       against the launch as captured and the autotuner's choice made anew.
    4. The proven config is compared with float64, and the table is written after every launch.

On ``interpreter`` nothing is timed: configs are checked, and every row says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from agent.goal.objective import Limits, Objective
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.models.base import EMBEDDED
from agent.models.prices import priced
from agent.programs.improve_plan import Job, Plan, Untuned, plan, seconds_for
from agent.programs.tuned_rows import (
    NOTHING_TIMED,
    Judged,
    beyond_float64,
    bounds_of,
    evidence_of,
    judge,
    row_of,
)
from kernels.capture.capture_file import NotACapture
from kernels.capture.reading.captured_launches import Capture, read_capture
from kernels.captured.captured_problem import CapturedProblem, written_bounds
from kernels.hardware import hardware_for, hardware_named
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import TunedEnvironment, TunedTable
from tools.harness.checking.interpreter import Interpreter
from tools.harness.checking.owner_survey import CPU, OwnerSurvey, Survey
from tools.harness.checking.promoted_reference import PromotingInterpreter, Reference
from tools.harness.process.child import ChildUnborn

INTERPRETER = "interpreter"
"""The device that times nothing."""
MOST_EVALS = 60
"""Configs measured of one launch at most."""
CHECKED = 3
"""Configs of a launch that the interpreter checks: the owner's and its nearest neighbours."""
SEED = 20_261_128
"""Of the arguments that are compared with float64."""
NO_GPU = (
    "There is no GPU here, and improve times launches: run it on the GPU that the program was captured on, or "
    "check configs without times by --device interpreter."
)

RunSearch = Callable[[Objective, Path | None, Watch], Outcome]


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    file: Path
    out: Path
    kernel: str | None = None
    device: str = "auto"
    max_seconds: float = 600.0
    share: float = 0.95
    model: str = EMBEDDED
    base_url: str | None = None
    memory: Path | None = None
    cold: bool = False
    seed: int = 0


@dataclass
class Improved:
    """What came of it."""

    capture: Capture
    environment: TunedEnvironment
    table: TunedTable
    rows: list[tuple[Job, Judged, Outcome | None]] = field(default_factory=list)
    untuned: list[Untuned] = field(default_factory=list)
    seconds: float = 0.0
    timed: bool = True

    @property
    def proven(self) -> bool:
        return any(judged.status == "proven" for _, judged, _ in self.rows)


def improve(request: Request, watch: Watch, search: RunSearch | None = None) -> Improved:
    """Improve what `request` names and write the table. `search` runs one objective (:func:`agent.loop.run.begin`).

    Raises UsageError for a capture or device that cannot be used, and AgentError if the device fails."""
    began = time.monotonic()
    capture = _read(request.file)
    device = _device(request.device)
    survey = OwnerSurvey(CPU if device == INTERPRETER else device)
    exact = PromotingInterpreter()
    try:
        info = survey.device_info()
        if "missing" in info:
            raise UsageError(f"{info['missing']}: name another --device, or check configs by --device interpreter.")
        timed = device != INTERPRETER
        hardware = hardware_for(info["name"]) if timed else None
        if timed and hardware is None:
            raise UsageError(f"Nothing is known of {info['name']}: add its data sheet to kernels/hardware.py.")
        found = plan(capture, request.share, request.kernel, info["name"] if timed else None, hardware)
        environment = TunedEnvironment(info["name"], info["triton"], info["assembler"])
        made = Improved(capture, environment, TunedTable(), untuned=list(found.untuned), timed=timed)
        work = _Work(request, device, survey, exact, made, watch, search or run_search)
        work.all(found, began)
    except ChildUnborn as e:
        raise UsageError(f"The launches cannot be made anew here: {e}.") from e
    finally:
        survey.close()
        exact.close()
    made.seconds = time.monotonic() - began
    return made


def run_search(objective: Objective, memory: Path | None, watch: Watch) -> Outcome:
    """One run of the loop."""
    from agent.goal.request import about_model
    from agent.loop.run import begin

    return begin(objective, memory, None, watch, notices=[f"note: {n}" for n in about_model(objective)]).outcome


class _Work:
    """Goes through the jobs of a plan."""

    def __init__(
        self,
        request: Request,
        device: str,
        survey: OwnerSurvey,
        exact: PromotingInterpreter,
        made: Improved,
        watch: Watch,
        search: RunSearch,
    ) -> None:
        self._request, self._device, self._made = request, device, made
        self._survey, self._exact, self._watch, self._search = survey, exact, watch, search
        self._interpreter = Interpreter()

    def all(self, found: Plan, began: float) -> None:
        self._write()  # a file that cannot be written is known before anything is spent
        waiting = list(found.jobs)
        try:
            for job in found.jobs:
                left = self._request.max_seconds - (time.monotonic() - began)
                if left <= 0:
                    self._leave(job, f"the time was up (--max-seconds {self._request.max_seconds:g})")
                else:
                    self._one(job, seconds_for(job, waiting, left))
                waiting.remove(job)
                self._write()
        finally:
            self._interpreter.close()

    def _one(self, job: Job, seconds: float) -> None:
        configs = len(job.kernel.launch_space.configs)
        self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: {configs} configs")
        exact = self._exact.reference(self._request.file.as_posix(), job.launch.digest, SEED)
        survey = self._survey.survey(job.reference, exact, SEED)
        bounds = bounds_of(survey) if survey.reason is None else survey.reason
        if isinstance(bounds, str):
            self._leave(job, bounds)
            return
        problem = job.kernel.problem_of(
            overwritten=" ".join(survey.overwritten),
            unchanged=" ".join(survey.unchanged),
            bounds=written_bounds(bounds),
            moved=self._moved(job, survey),
        )
        if self._made.timed:
            self._time(job, problem, survey, exact, seconds)
        else:
            self._check(job, problem, survey, exact)

    def _moved(self, job: Job, survey: Survey) -> int:
        """Fewest bytes that the launch moves; 1 if it was faster than all its bytes allow, because it reads a part."""
        hardware = hardware_for(self._made.environment.gpu)
        if survey.ms is None or hardware is None:
            return job.launch.bytes or 1
        return job.launch.bytes if survey.ms > job.launch.bytes / hardware.bandwidth * 1e3 else 1

    def _time(self, job: Job, problem: CapturedProblem, survey: Survey, exact: Reference, seconds: float) -> None:
        r = self._request
        objective = Objective(
            goal=f"improve {r.file.name}: {job.launch.name} {problem.label()}",
            kernel=job.reference,
            options=problem.model_dump(),
            metric="latency",
            device=self._device,
            model=r.model,
            cold=r.cold,
            limits=Limits(max_evals=MOST_EVALS, max_seconds=seconds),
            seed=r.seed,
        )
        try:
            outcome = self._search(priced(objective), r.memory, self._watch)
        except UsageError as e:
            self._leave(job, str(e).rstrip("."))
            return
        wrong: str | None = None
        errors: dict[str, float] = {}
        if outcome.proven and outcome.best is not None and exact.reason is None:
            found = self._survey.errors(job.reference, problem.model_dump(), outcome.best.config, exact, SEED)
            wrong = found if isinstance(found, str) else beyond_float64(survey, found)
            errors = {} if isinstance(found, str) else found
        judged = judge(outcome, wrong)
        more = {"error": errors, "measured_ms": survey.ms, "bounds": problem.bound_of()}
        self._add(job, judged, outcome, evidence_of(job, survey, exact, judged, outcome, **more))

    def _check(self, job: Job, problem: CapturedProblem, survey: Survey, exact: Reference) -> None:
        """Check some configs in the interpreter: against the owner's launch, and against float64."""
        hardware = hardware_named("H200")  # the interpreter has none; nothing here depends on it
        configs = job.kernel.promising(problem, hardware)[:CHECKED]
        rows = self._interpreter.check(job.kernel, problem, configs, hardware.name)
        checked: list[dict[str, Any]] = []
        for row in rows:
            status, reason, errors = row.status, row.reason, None
            if status == "correct" and exact.reason is None:
                found = self._survey.errors(job.reference, problem.model_dump(), row.config, exact, SEED)
                wrong = found if isinstance(found, str) else beyond_float64(survey, found)
                errors = None if isinstance(found, str) else found
                status, reason = ("correctness", wrong) if wrong else (status, reason)
            checked.append({"config": row.config, "status": status, "reason": reason, "error": errors})
        judged = Judged("stock", NOTHING_TIMED, None)
        evidence = evidence_of(job, survey, exact, judged, None, checked=checked, bounds=problem.bound_of())
        self._add(job, judged, None, evidence)

    def _add(self, job: Job, judged: Judged, outcome: Outcome | None, evidence: dict[str, Any]) -> None:
        self._made.table.add(row_of(job, self._made.environment, judged), evidence)
        self._made.rows.append((job, judged, outcome))
        self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: {judged.status}: {judged.why}")

    def _leave(self, job: Job, reason: str) -> None:
        self._made.untuned.append(Untuned(f"{job.launch.name} ({job.launch.digest[:8]})", reason))
        self._watch.notify(f"{job.launch.name} {job.launch.digest[:8]}: left out: {reason}")

    def _write(self) -> None:
        self._made.table.untuned = [{"kernel": u.kernel, "reason": u.reason} for u in self._made.untuned]
        try:
            write_table(self._made.table, self._request.out)
        except OSError as e:
            raise UsageError(f"{self._request.out} cannot be written ({e.strerror}): name another file by -o.") from e


def _read(path: Path) -> Capture:
    try:
        return read_capture(str(path))
    except NotACapture as e:
        raise UsageError(str(e)) from e


def _device(asked: str) -> str:
    """``cuda:N`` or ``interpreter``. Raises UsageError."""
    from tools.harness.measuring.telemetry import gpus_present

    kind, _, number = asked.partition(":")
    if kind == "auto" and not number:
        if not gpus_present():
            raise UsageError(NO_GPU)
        return "cuda:0"
    if asked == INTERPRETER:
        return asked
    if kind == "cuda" and (number.isdecimal() or not number):
        if not gpus_present():
            raise UsageError(NO_GPU)
        return f"cuda:{number or 0}"
    raise UsageError(f"improve cannot time launches on {asked!r}: use auto, cuda:N or interpreter.")
