"""Tries a variant on other launches of its function in the same capture: sizes and numbers that it was not made on.

A config of the owner's code changes no result by design. Edited code may be right on one launch alone, because it was
measured on that. So the variant is launched on up to MOST others with their own arguments, and compared with their
float64 references: it may be as far off as the owner's launch there, or what rounding explains.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from agent.programs.improvement.edited.edited_launches import EditedLaunches
from agent.programs.improvement.improve_plan import Job
from agent.programs.improvement.preparing.ahead import Ahead
from agent.programs.improvement.tuned_rows import beyond_float64
from kernels.capture.reading.captured_launches import Capture
from kernels.captured.captured_kernels import captured_kernel, reference_of
from kernels.captured.spec import OPTIONS
from kernels.hardware import hardware_named
from kernels.triton.stub_driver import DEFAULT
from tools.harness.checking.owner_survey import OwnerSurvey

MOST = 2
"""Further launches, the costliest first."""


def try_held_out(
    job: Job,
    config: dict[str, Any],
    capture: Capture,
    edited: EditedLaunches,
    ahead: Ahead,
    survey: OwnerSurvey,
    seed: int,
) -> tuple[dict[str, str], str | None]:
    """What came of each further launch, by the start of its digest, and why the variant is wrong; None if it is right
    on all that could be tried. `config` chooses the variant; each launch keeps its own constants."""
    from kernels.editing.editable import FIELD, MARK, editable

    identity = job.launch.function["identity"]
    others = [x for x in capture.launches if x.function["identity"] == identity and x.digest != job.launch.digest]
    found: dict[str, str] = {}
    for other in others[:MOST]:
        name = other.digest[:8]
        reference = reference_of(capture.path, other.digest)
        try:
            kernel = captured_kernel(reference)
            made: Any = editable(kernel, edited.folder, reference)
            own = kernel.owner_config().model_dump()
            chosen = made.config_type(**{**own, **{n: config[n] for n in OPTIONS if n in own and n in config}})
            chosen = made.config_type(**chosen.model_dump(), **{FIELD: config[FIELD]})
        except ValidationError:
            found[name] = "not tried: it has no such launch options"
            continue
        except ValueError as e:
            found[name] = f"not tried: {e}"
            continue
        damped = survey.damping(reference, seed)
        if isinstance(damped, str):
            found[name] = f"not tried: {damped}"
            continue
        exact = ahead.reference(other.digest, damped)
        owners = survey.survey(reference, exact, seed, damped) if exact.reason is None else None
        if owners is None or owners.reason is not None:
            found[name] = f"not tried: {exact.reason if owners is None else owners.reason}"
            continue
        problem = kernel.problem_of(unchanged=" ".join(owners.unchanged), damped=damped)
        wrong = made.constraint(problem, chosen, hardware_named(DEFAULT)) or edited.compile(made, problem, chosen)
        if wrong is None:
            errors = survey.errors(
                f"{MARK}{edited.folder}|{reference}", problem.model_dump(), chosen.model_dump(mode="json"), exact, seed
            )
            wrong = errors if isinstance(errors, str) else beyond_float64(owners, errors, edited=True)
        if wrong is not None:
            found[name] = f"wrong: {wrong}"
            return found, f"on another launch of the function ({name}) {wrong}"
        found[name] = "right"
    return found, None
