"""What has to be known of a launch before configs of it are compared: its problem, the survey of the owner's launch,
and its float64 reference. Remembered, because a launch may be looked at again after its search."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress

from agent.programs.improvement.improve_plan import Job
from agent.programs.improvement.preparing.ahead import Ahead
from agent.programs.improvement.time_left import TimeLeft
from agent.programs.improvement.tuned_rows import beyond_float64, bounds_of, fault_beside
from kernels.capture.reading.rebuilt_arguments import described_tensors
from kernels.captured.captured_problem import CapturedProblem, written_bounds
from kernels.hardware import Hardware
from tools.harness.checking.float64.promoted_reference import Reference
from tools.harness.checking.owner_survey import OwnerSurvey, Survey
from tools.harness.results import CompileResult

SEED = 20_261_128
"""Of the arguments that are compared with float64."""
Prepared = tuple[CapturedProblem, Survey, Reference]


class Surveys:
    """Those of one capture."""

    def __init__(
        self, survey: OwnerSurvey, ahead: Ahead, hardware: Hardware | None, time_left: TimeLeft, at_once: int = 1
    ) -> None:
        """`hardware`: the facts of the GPU, unless the interpreter checks. `time_left`: nothing is waited for beyond
        it. `at_once`: launches that may wait for their references and compilations at the same time; they are launched
        one after the other."""
        self._survey, self._ahead, self._hardware, self._time = survey, ahead, hardware, time_left
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="survey")
        self._comparing = ThreadPoolExecutor(1, thread_name_prefix="comparison")
        self._launching = threading.Lock()
        self._found: dict[str, Future[Prepared | str]] = {}
        """By the launch's digest."""
        self._changes: dict[str, Future[str | None]] = {}
        """The same."""

    def of(self, job: Job) -> Prepared | str:
        """What is known of the launch, or why it cannot be tuned."""
        try:
            found = self.expect(job).result(self._time.left())
        except TimeoutError:
            return self._time.was_up
        return self.change(job) or found

    def change(self, job: Job) -> str | None:
        """Why the launch's function is not the one that was captured, or cannot be compared with it in time; None if
        it is the same. Waits for the comparison, which imports the program's packages: a search that began before it
        was over may be for nothing."""
        try:
            return self._comparison(job).result(self._time.left())
        except TimeoutError:
            return f"{self._time.was_up} before its function was compared with the one that is installed"

    def expect(self, job: Job, compiled: Sequence[Future[CompileResult]] = ()) -> Future[Prepared | str]:
        """Find it out in the background; the launches of runs go on meanwhile, in turns with the survey's. `compiled`:
        the first, of the owner's config, has to be there before it is launched, and all before the launch counts as
        prepared, so that nothing is compiled while others wait for the GPU. The comparison with the function that is
        installed is not waited for (:meth:`change`)."""
        digest = job.launch.digest
        if digest not in self._found:
            self._comparison(job)
            self._found[digest] = self._threads.submit(self._surveyed, job, compiled)
        return self._found[digest]

    def close(self) -> None:
        """Begin no further survey. One that runs ends when its process does."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._comparing.shutdown(wait=False, cancel_futures=True)

    def fault_at(self, job: Job, config: dict[str, object]) -> str | None:
        """What speaks against a proven config of the owner's code: float64, if there is a reference, or its times in
        one process with the owner's launch. None if nothing does."""
        found = self.of(job)
        if isinstance(found, str):
            return found
        if not self._time.left():
            return self._time.was_up
        problem, survey, exact = found
        if exact.reason is None:
            errors = self._survey.errors(job.reference, problem.model_dump(), config, exact, SEED)
            wrong = errors if isinstance(errors, str) else beyond_float64(survey, errors)
            if wrong is not None:
                return wrong
        timed = self._survey.side_by_side(job.reference, problem.model_dump(), config, SEED)
        return fault_beside({"missing": timed} if isinstance(timed, str) else timed)

    def _comparison(self, job: Job) -> Future[str | None]:
        digest = job.launch.digest
        if digest not in self._changes:
            self._changes[digest] = self._comparing.submit(self._survey.changed, job.reference)
        return self._changes[digest]

    def _surveyed(self, job: Job, compiled: Sequence[Future[CompileResult]]) -> Prepared | str:
        found = self._found_out(job, compiled)
        comparison = self._comparison(job)
        if isinstance(found, str) or comparison.done():
            return comparison.result() or found
        return found

    def _found_out(self, job: Job, compiled: Sequence[Future[CompileResult]]) -> Prepared | str:
        exact = self._ahead.reference(job.launch.digest)
        wait_until_done(compiled[:1])
        found = self._launched(job, exact)
        if isinstance(found, str):
            return found
        damped, exact, survey = found
        bounds = bounds_of(survey) if survey.reason is None else survey.reason
        if isinstance(bounds, str):
            return bounds
        wait_until_done(compiled)
        problem = job.kernel.problem_of(
            overwritten=" ".join(_poisoned(job, survey)),
            unchanged=" ".join(survey.unchanged),
            damped=damped,
            bounds=written_bounds(bounds),
            moved=self._moved(job, survey),
        )
        return problem, survey, exact

    def _launched(self, job: Job, exact: Reference) -> tuple[int, Reference, Survey] | str:
        """How often the arguments are damped, the reference on them, and the survey of the owner's launch. `exact`: the
        reference on arguments that are not. Without another in between the arguments are drawn once."""
        with self._launching:
            damped = self._survey.damping(job.reference, SEED)
            if isinstance(damped, str):
                return damped
            if not damped or exact.reason is not None:  # what has none on larger numbers has none on smaller ones
                return damped, exact, self._survey.survey(job.reference, exact, SEED, damped)
        exact = self._ahead.reference(job.launch.digest, damped)
        with self._launching:
            return damped, exact, self._survey.survey(job.reference, exact, SEED, damped)

    def _moved(self, job: Job, survey: Survey) -> int:
        """Fewest bytes that the launch moves; 1 if it was faster than all its bytes allow, because it reads a part."""
        hardware = self._hardware
        if survey.ms is None or hardware is None or hardware.bandwidth <= 0:
            return job.launch.bytes or 1
        return job.launch.bytes if survey.ms > job.launch.bytes / hardware.bandwidth * 1e3 else 1


def _poisoned(job: Job, survey: Survey) -> tuple[str, ...]:
    """What is poisoned before a launch: all that the owner's launch overwrites, but for one tensor of a launch that has
    no other. A kernel needs an input, by which it is known where it runs."""
    paths = [path for path, _ in described_tensors(job.launch)]
    return survey.overwritten[1:] if set(survey.overwritten) == set(paths) else survey.overwritten


def wait_until_done(futures: Sequence[Future[CompileResult]]) -> None:
    """Wait until each has ended in whatever way. ``concurrent.futures.wait`` waits for ever for one that is cancelled
    when its pool is shut down."""
    for future in futures:
        with suppress(CancelledError):
            future.exception()
