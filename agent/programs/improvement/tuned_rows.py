"""Rows of the table of tuned launches, made from what was found out about each launch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from agent.loop.outcome import Outcome
from agent.programs.improvement.improve_plan import Job, function_of
from agent.verdict.unmeasured_variants import describe_unmeasured
from kernels.capture.reading.captured_launches import CapturedLaunch
from kernels.captured.captured_problem import rounded_up
from kernels.captured.spec import OPTIONS
from kernels.tuned.tuned_table import Decision, Json, Status, TunedEnvironment, TunedRow
from tools.harness.checking.float64.promoted_reference import Reference
from tools.harness.checking.owner_survey import Survey
from tools.harness.checking.verify import BLIND, WROTE_BESIDE

LEAST_KINDS = 3
"""Kinds of inputs on which a config must have been right; fewer prove nothing."""
SLACK = 3.0
"""A config may be twice as far from float64 as the owner's launch; then they differ by three times as much."""
UNSEEN = 16.0
"""Of a result that is rounded inside to a coarser dtype than its own: an error may be so much larger elsewhere than in
the programs whose float64 is known. On an H200 the same launch was 0.00065 off in 12 of its 512 programs and 0.0021 in
16."""
USELESS = 0.25
"""A bound above this tells no right config from a wrong one."""
TWO_PROCESSES = 0.005
"""Config and owner's launch are timed in two processes, and there the same code was read up to so much apart (0.6 %
once in fifteen launches on an H200, docs/BENCHMARKS.md). A gain whose interval reaches into this is none."""
KEPT = "not tuned: the table holds what the autotuner chose in the captured program"
NOTHING_TIMED = "nothing was timed: Triton's interpreter checks configs, and it has no times"
OWNER_WRONG = (
    "the owner's own launch disagrees with the reference on arguments made anew: those arguments or the reference are "
    "probably at fault, and no config was judged; if an older version made the capture, capture the program anew"
)
NOT_JUDGED = {
    BLIND: "no config was judged, because on arguments made anew its results do not tell right from wrong",
    WROTE_BESIDE: "no config was judged, because the program passes only a part of the memory that its launch writes",
}
"""What is written in place of OWNER_WRONG, by a part of the reason."""


@dataclass(frozen=True)
class Judged:
    """What becomes of a launch."""

    status: Status
    why: str
    config: dict[str, Any] | None
    """The config of the decision; None if the launch stays as it is."""
    tie: bool = False
    """Whether other configs were within noise of it, so that another run may decide for one of them."""


def bounds_of(survey: Survey) -> dict[str, float] | str:
    """The accepted difference from the owner's launch, by result; or why none tells right from wrong."""
    if not survey.roundings:
        return "its launch changes nothing on arguments made anew"
    bounds = {}
    for path, rounding in survey.roundings.items():
        repeat, error = survey.repeats[path], survey.errors.get(path, 0.0)
        if path in survey.integers:
            if repeat:
                return f"two launches on equal arguments write different whole numbers to {path}"
            bounds[path] = 0.0
            continue
        if SLACK * repeat > USELESS:
            return f"two launches on equal arguments differ by {repeat:.2g} of the largest value of {path}"
        error = error if trusted(survey, path) else 0.0
        found = SLACK * max(repeat, error)
        if error > rounding:  # inside it is rounded to a coarser dtype
            found = max(found, min(survey.coarsest, UNSEEN * error))
        bounds[path] = rounding if found <= rounding else rounded_up(found)
    return bounds


def trusted(survey: Survey, path: str) -> bool:
    """Whether the float64 reference of a result says something: the owner's launch is near it."""
    return path in survey.errors and SLACK * survey.errors[path] <= USELESS


def beyond_float64(survey: Survey, errors: dict[str, float], edited: bool = False) -> str | None:
    """Why a config's errors against float64 are too large; None if they are not. `edited`: whether its code is, which
    may be no further off than the owner's, or than rounding explains."""
    slack = 1 if edited else 2
    for path, error in errors.items():
        allowed = max(survey.roundings.get(path, 0.0), slack * survey.errors.get(path, 0.0))
        if trusted(survey, path) and error > allowed:
            return f"its {path} is {error:.2g} off float64, where the owner's launch is {survey.errors[path]:.2g} off"
    return None


def not_judged(outcome: Outcome) -> str | None:
    """Why a run says nothing of its launch, as a sentence's end; None if it says something. A sitting that the end of
    the time cut short, or that our own machinery spoilt, is no verdict on a config."""
    if outcome.infrastructure:
        return outcome.why
    if outcome.best is None and not outcome.wrong and not outcome.evaluations:
        return f"nothing was measured: {outcome.stopped}"
    return None


def judge(
    outcome: Outcome, wrong: str | None, own: dict[str, Any], beside: Json | None = None, same_code: bool = False
) -> Judged:
    """The decision of a run. `wrong`: what the comparison with float64 says against its best config. `own`: the owner's
    config. `beside`: its times in one process with the owner's launch, or ``missing`` (``OwnerSurvey.side_by_side``);
    None or empty if they were not read. `same_code`: whether it compiles to the machine code of the owner's config."""
    best = outcome.best
    if owner_wrong := [w["reason"] for w in outcome.wrong if w["config"] == own]:
        return Judged("stock", owner_fault(owner_wrong[0]), None)
    if not outcome.proven or best is None:
        return Judged("stock", outcome.why, None)
    if same_code:
        return Judged("stock", f"{outcome.why}, but its machine code is that of the owner's config", None)
    if best.config == own:
        return Judged("stock", "the owner's config is the fastest", None)
    lowest = min((b.ci[0] for b in outcome.baselines if b.ci is not None), default=1.0)
    if lowest <= 1 + TWO_PROCESSES:
        why = f"{outcome.why}, which is within what two processes read of the same code ({TWO_PROCESSES:.1%})"
        return Judged("stock", why, None)
    if wrong is not None:
        return Judged("stock", f"the fastest config is not right: {wrong}", None)
    fault, told = fault_beside(beside or {}), saved_beside(beside or {})
    if fault is not None:
        return Judged("stock", f"{outcome.why}, but {fault}", None)
    why = f"{outcome.why}; in one process with the owner's launch {told}" if told else outcome.why
    tie = len(outcome.level) > 1 and best.config in outcome.level
    if len(outcome.survived) < LEAST_KINDS:
        kinds = ", ".join(outcome.survived) or "none"
        few = f"it was right on fewer than {LEAST_KINDS} kinds of inputs that the owner's launch survives ({kinds})"
        return Judged("unproven", few, best.config, tie)
    return Judged("proven", why, best.config, tie)


def with_unmeasured(judged: Judged, outcome: Outcome) -> Judged:
    """`judged` with a sentence about variants that were made and not measured: nothing is found out about them."""
    if not outcome.unmeasured:
        return judged
    return replace(judged, why=f"{judged.why}; {describe_unmeasured(outcome.unmeasured, outcome.stopped)}")


def owner_fault(reason: str) -> str:
    """Why nothing is judged if the owner's config is not accepted itself. A scale of 0, for instance, makes all results
    zeros, and then no config is wrong."""
    why = next((text for part, text in NOT_JUDGED.items() if part in reason), OWNER_WRONG)
    return f"{why} ({reason})"


def fault_beside(beside: Json) -> str | None:
    """What the times in one process with the owner's launch say against a config, as a sentence's end: its whole
    interval must show that it saves time with a cold L2, and may not show that it loses some with a warm one. Nothing
    is said where nothing was read, because nothing is timed there."""
    if "missing" in beside:
        return f"it could not be timed in one process with the owner's launch ({beside['missing']})"
    if not beside or (beside["cold"]["saved_ms"][1] > 0 and beside["warm"]["saved_ms"][2] >= 0):
        return None
    shown = "loses" if any(times["saved_ms"][2] < 0 for times in beside.values()) else "is level"
    return f"it {shown} in one process with the owner's launch: {saved_beside(beside)}"


def saved_beside(beside: Json) -> str:
    """What a config saves in one process with the owner's launch, for people; empty if that was not read."""
    parts = []
    for state, times in beside.items():
        if state == "missing":
            continue
        value, low, high = (1e3 * ms for ms in times["saved_ms"])
        parts.append(f"{value:.2f} us [{low:.2f}, {high:.2f}] with a {state} L2")
    return f"it saves {' and '.join(parts)}" if parts else ""


def row_of(job: Job, environment: TunedEnvironment, judged: Judged, source: Json | None = None) -> TunedRow:
    """The row. A stock row of an autotuned kernel holds the autotuner's choice, so that nobody benchmarks for it.
    `source`: the variant of the decision, if it is none of the owner's code."""
    config = judged.config
    if config is None and job.launch.config is not None:
        config = job.kernel.owner_config().model_dump()
    return TunedRow(
        function=function_of(job.launch),
        environment=environment,
        key=job.key,
        status=judged.status,
        decision=None if config is None else decision_of(config, source),
        tie=judged.tie,
    )


def name_of_row(launch: CapturedLaunch, key: Json, environment: TunedEnvironment) -> str:
    """The name that the launch's row has, whatever it decides."""
    return TunedRow(function_of(launch), environment, key, "stock", None).name


def kept_choice(launch: CapturedLaunch, key: Json, environment: TunedEnvironment) -> TunedRow | None:
    """A stock row with what the launch's autotuner chose in the captured program; None if it chose under another
    Triton, or what no table can hold."""
    if launch.config is None or launch.device.get("triton") != environment.triton or "unkept" in launch.config:
        return None
    chosen = launch.config
    options = {n: chosen[n] for n in OPTIONS if chosen.get(n) is not None}
    if chosen.get("num_ctas", 1) != 1:
        options["num_ctas"] = chosen["num_ctas"]
    return TunedRow(
        function=function_of(launch),
        environment=environment,
        key=key,
        status="stock",
        decision=Decision(dict(chosen["kwargs"]), options),
    )


def decision_of(config: dict[str, Any], source: Json | None = None) -> Decision:
    """A config of the kernel's as a decision."""
    return Decision(
        constexprs={n: v for n, v in config.items() if n not in (*OPTIONS, "edit")},
        options={n: v for n, v in config.items() if n in OPTIONS and v is not None},
        source=source,
    )


def evidence_of(
    job: Job, survey: Survey, exact: Reference, judged: Judged, outcome: Outcome | None, **more: Any
) -> Json:
    """What stands beside the row: why it was decided so, times with intervals, inputs, errors."""
    launch = job.launch
    found: Json = {
        "why": judged.why,
        "launch": launch.digest,
        "launches": launch.count,
        "captured_ms": launch.ms,
        "owner": job.kernel.owner_config().model_dump(),
        "reference": f"float64, {exact.programs} of {exact.of} programs" if exact.reason is None else exact.reason,
        "owner_error": {p: float(f"{e:.3g}") for p, e in survey.errors.items()},
        "floor_of_differences": {p: float(f"{e:.3g}") for p, e in survey.repeats.items()},
        "overwritten": list(survey.overwritten),
        **({"surveyed": survey.programs} if survey.programs else {}),
        **({"same_key": [x.digest for x in job.shares]} if job.shares else {}),
        **more,
    }
    if outcome is not None:
        best = outcome.best
        found |= {
            "run": outcome.run,
            "evaluations": outcome.evaluations,
            "seconds": outcome.seconds,
            "inputs": outcome.survived,
            "left_out": outcome.left_out,
            **({"by_float64": outcome.by_float64} if outcome.by_float64 else {}),
            "bits": outcome.bits,
            "how": outcome.how,
            "device": outcome.device,
            "best": None if best is None else {"config": best.config, "ms": best.ms, "ci_ms": best.ci_ms},
            "baselines": [
                {"name": b.name, "title": b.title, "ms": b.ms, "speedup": b.speedup, "ci": b.ci, "missing": b.missing}
                for b in outcome.baselines
            ],
        }
    return found
