"""Checks configs of a launch in Triton's interpreter, against the owner's launch and against float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agent.programs.improvement.improve_plan import Job
from agent.programs.improvement.preparing.surveys import SEED
from agent.programs.improvement.time_left import TimeLeft
from agent.programs.improvement.tuned_rows import beyond_float64
from kernels.captured.captured_problem import CapturedProblem
from kernels.hardware import hardware_named
from kernels.spec import Config
from tools.harness.checking.float64.promoted_reference import Reference
from tools.harness.checking.interpreter import Interpreter
from tools.harness.checking.owner_survey import OwnerSurvey, Survey

CHECKED = 3
"""Configs of a launch that are checked: the owner's and its nearest neighbours."""
HARDWARE = "H200"
"""The interpreter has no GPU; nothing here depends on one."""


class InterpreterChecks:
    """Those of one command, which end with its time."""

    def __init__(self, survey: OwnerSurvey, time_left: TimeLeft) -> None:
        self._survey, self._time = survey, time_left
        self._interpreter = Interpreter()
        # A launch may take minutes, so another thread waits for its answer.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="check")

    def check(
        self, job: Job, problem: CapturedProblem, survey: Survey, exact: Reference
    ) -> tuple[list[dict[str, Any]], int]:
        """``config``, ``status``, ``reason`` and ``error`` of each config that was checked in time, the owner's first,
        with ``programs`` if only some of them were compared, and how many were not checked."""
        configs = job.kernel.promising(problem, hardware_named(HARDWARE))[:CHECKED]
        done: list[dict[str, Any]] = []
        for place, config in enumerate(configs):
            checked = self._thread.submit(self._check, job, problem, survey, exact, config)
            try:
                done.append(checked.result(self._time.left()))
            except TimeoutError:
                return done, len(configs) - place
        return done, 0

    def close(self) -> None:
        """End what is being checked."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._interpreter.close()

    def _check(
        self, job: Job, problem: CapturedProblem, survey: Survey, exact: Reference, config: Config
    ) -> dict[str, Any]:
        (row,) = self._interpreter.check(job.kernel, problem, [config], HARDWARE)
        status, reason, errors = row.status, row.reason, None
        if status == "correct" and exact.reason is None:
            found = self._survey.errors(job.reference, problem.model_dump(), row.config, exact, SEED)
            wrong = found if isinstance(found, str) else beyond_float64(survey, found)
            errors = None if isinstance(found, str) else found
            status, reason = ("correctness", wrong) if wrong else (status, reason)
        some = {"programs": row.programs} if row.programs else {}
        return {"config": row.config, "status": status, "reason": reason, "error": errors, **some}
