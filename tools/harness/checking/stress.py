"""Inputs and shapes that nobody chose: a finalist must be right on them too.

1. Each kind of input is a change of a nominal draw (:mod:`tools.harness.checking.stressed_inputs`).
2. A kind counts if PyTorch is right on it. If not, it is left out, and the result names it.
3. The launch must then be right as well (:mod:`tools.harness.checking.stressed_launch`). Infinity and the dtype's
   largest number count as equal.
4. Shapes around the problem's are tried on nominal values (:mod:`tools.harness.checking.held_out`). One that the
   kernel refuses by an exception is left out. A captured launch has one shape; there the shapes are those of other
   captured launches of the same function. At last they are tried on shifted values: nominal ones lie around zero,
   where a mean over the wrong number of elements is as good as the right one.
5. Every input matters: if no result changes with the values of one input, the result names that input. The launch must
   be right with other values of it all the same: it may not count on memory that only looks like an input.
6. Before all this, a launch that does nothing must be rejected.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch

from kernels.launches.bound import Bound
from kernels.launches.domain import FIRST, KINDS, SHIFTED
from kernels.launches.expected import bounds, expected
from kernels.launches.leaves import tensors_in
from kernels.launches.meta_tensors import MetaElementwise
from kernels.spec import KernelSpec
from tools.harness.checking.float64.promoted_reference import Question, Reference
from tools.harness.checking.held_out import held_out_shapes
from tools.harness.checking.stressed_inputs import CHANGES, MILDER, Change, changeable, other_values
from tools.harness.checking.stressed_launch import HIDDEN, Asking, Attempt, Cases, Finalist
from tools.harness.checking.verify import BLIND, judge_against
from tools.harness.compiling.error_line import reason
from tools.harness.process.machine_trouble import describe_trouble

MOST_S = 8.0
"""Seconds after which no further kind is begun, if the caller says no other number."""


@dataclass
class _Job:
    """One kind of inputs."""

    kind: str
    problems: list[Any]
    change: Change | None = None
    only: str | None = None
    milder: tuple[Change, ...] = ()
    """In place of `change` if that is left out."""
    elsewhere: Finalist | None = None
    """Of another captured launch."""

    def describe(self, problem: Any, other_shape: bool) -> str:
        if self.only is not None:
            return f"with other values of {self.kind}"
        where = f" ({problem.label()})" if other_shape else ""
        return f"on {self.kind} inputs{where}" if self.change is not None else f"on {self.kind}{where}"


def stress(
    spec: KernelSpec[Any, Any],
    problem: Any,
    config: Any,
    device: str,
    hardware: Any,
    done: Callable[[], None] = lambda: None,
    most_s: float = MOST_S,
    answer: Callable[[Question], Reference] = lambda question: Reference("nobody computes it here"),
) -> dict[str, Any]:
    """Run `config` on every kind of input and shape. `done` waits for a launch. After `most_s` seconds no further kind
    is begun; what `answer` takes does not count.

    The answer holds ``status``, ``reason``, ``tried``, ``left_out`` (kind to reason) and ``by_float64`` (kind to
    numbers). What the launch raises on `problem` itself is raised."""
    steps = stressing(spec, problem, config, device, hardware, done, most_s, {})
    try:
        question = next(steps)
        while True:
            question = steps.send(answer(question))
    except StopIteration as ended:
        found: dict[str, Any] = ended.value
        return found


def stressing(
    spec: KernelSpec[Any, Any],
    problem: Any,
    config: Any,
    device: str,
    hardware: Any,
    done: Callable[[], None],
    most_s: float,
    cases: Cases,
) -> Asking[dict[str, Any]]:
    """:func:`stress` in steps: it stops for each float64 reference that it needs. `cases` keeps them for other
    configs."""
    generator = torch.Generator(device)
    tried: list[str] = []
    left_out: dict[str, str] = dict.fromkeys(spec.domain, "outside the kernel's declared domain")
    until = time.monotonic() + most_s
    nothing = _nothing_passes(spec, problem, config, generator, device)
    if nothing:
        return {"status": "correctness", "reason": nothing, "tried": [], "left_out": {}}
    finalist = Finalist(spec, config, device, hardware, done, generator, cases)
    by_float64: dict[str, str] = {}
    other_shapes: list[_Job] = []
    at_last = (job for job in other_shapes if SHIFTED in tried)
    for job in chain(_jobs(finalist, problem, left_out), at_last):
        verdicts: dict[str, Attempt] = {}
        for given in job.problems:
            other_shape = given is not problem
            if time.monotonic() > until:
                which = f"{job.kind} at {given.label()}" if job.kind in tried or verdicts else job.kind
                left_out[which] = f"no time left after {most_s:.2g} s"
                break
            try:
                launched = job.elsewhere or finalist
                for change in (job.change, *job.milder):
                    found, waited = yield from _timed(launched.attempt(given, change, job.only, other_shape))
                    until += waited
                    if found.verdict != "left out":
                        break
            except Exception as e:
                if given is problem or describe_trouble(e):
                    raise
                raise RuntimeError(f"{job.describe(given, other_shape)}: {reason(e)}") from e
            if found.verdict == "wrong":
                why = f"{job.describe(given, other_shape)}: {found.why}"
                if other_shape and job.elsewhere is None:
                    why += f'; if the kernel does not take them, let constraint() refuse them, or add "{job.kind}" to '
                    why += "its domain"
                return {"status": "correctness", "reason": why, "tried": tried, "left_out": left_out, **found.figures}
            if found.by_float64:
                by_float64[job.kind if not other_shape else f"{job.kind} at {given.label()}"] = found.by_float64
            verdicts[given.label()] = found
            if job.change is None and found.verdict == "right":
                _also_shifted(other_shapes, job, given)
        refused = {label: v.why for label, v in verdicts.items() if v.verdict == "left out"}
        if len(refused) < len(verdicts) or job.kind in tried:
            if job.kind not in tried:
                tried.append(job.kind)
            left_out |= {f"{job.kind} at {label}": why for label, why in refused.items()}
        elif refused:
            left_out.setdefault(job.kind, next(iter(refused.values())))
    return {"status": "correct", "reason": "", "tried": tried, "left_out": left_out, "by_float64": by_float64}


def _timed(steps: Asking[Attempt]) -> Asking[tuple[Attempt, float]]:
    """The result of `steps`, and for how many seconds they waited for an answer."""
    waited = 0.0
    try:
        question = next(steps)
        while True:
            began = time.monotonic()
            reference = yield question
            waited += time.monotonic() - began
            question = steps.send(reference)
    except StopIteration as ended:
        found: Attempt = ended.value
        return found, waited


def launches_elsewhere(spec: KernelSpec[Any, Any], problem: Any, config: Any, hardware: Any) -> Iterator[Any]:
    """(spec, problem, config) of what a finalist is launched on beside `problem` on a GPU: shapes around it, and other
    captured launches of its function."""
    finalist = Finalist(spec, config, "cuda", hardware, lambda: None, torch.Generator(), {})
    for job in _jobs(finalist, problem, dict.fromkeys(spec.domain, "")):
        launched = job.elsewhere or finalist
        yield from ((launched.spec, there, launched.config) for there in job.problems if there is not problem)


def _jobs(finalist: Finalist, problem: Any, left_out: dict[str, str]) -> Iterator[_Job]:
    """What to try, the most telling first. Kinds in `left_out` are not tried; kinds that cannot be are added to it."""
    spec, config, hardware = finalist.spec, finalist.config, finalist.hardware
    values = [
        _Job(kind, [problem], CHANGES[kind], milder=MILDER.get(kind, ())) for kind in KINDS if kind not in left_out
    ]
    yield from values[:FIRST]
    with MetaElementwise():
        inputs = tensors_in(spec.inputs(problem, None, "meta"))
    for path, t in inputs.items():
        if changeable(t):
            yield _Job(f"input {path} alone", [problem], other_values, path)
        elif t.is_floating_point():
            left_out[f"input {path} alone"] = "8-bit numbers stay as they are drawn"
    shapes = []
    for held_out in held_out_shapes(spec, problem, config, hardware):
        if held_out.kind in left_out:
            continue
        if held_out.why_not:
            left_out[held_out.kind] = held_out.why_not
        else:
            left_out |= {f"{held_out.kind} in {dim}": why for dim, why in held_out.kept.items()}
            shapes.append(_Job(held_out.kind, held_out.problems))
    shapes += _other_launches(finalist, problem, left_out)
    yield from [*shapes[:1], *values[FIRST:], *shapes[1:]]


def _also_shifted(jobs: list[_Job], job: _Job, problem: Any) -> None:
    """Add `problem`, another shape of `job`, to those of `jobs` that are tried on shifted values."""
    if jobs and jobs[-1].elsewhere is job.elsewhere:
        jobs[-1].problems.append(problem)
    else:
        jobs.append(replace(job, kind=SHIFTED, problems=[problem], change=CHANGES[SHIFTED]))


def _other_launches(finalist: Finalist, problem: Any, left_out: dict[str, str]) -> Iterator[_Job]:
    """The finalist on other captured launches of its function."""
    launches, why_none = finalist.spec.other_launches(problem, finalist.config)
    if why_none:
        left_out["shapes of other launches"] = why_none
    for other in launches:
        why_not = other.why_not
        if not why_not and finalist.device == "cpu":
            why_not = other.spec.interpretable(other.config)
        if why_not:
            left_out[other.name] = why_not
        else:
            there = replace(finalist, spec=other.spec, config=other.config)
            yield _Job(other.name, [other.problem], elsewhere=there)


def _nothing_passes(
    spec: KernelSpec[Any, Any], problem: Any, config: Any, generator: torch.Generator, device: str
) -> str:
    """That a launch which writes nothing would be accepted; empty if it would not."""
    inputs = spec.inputs(problem, generator.manual_seed(secrets.randbelow(HIDDEN)), device)
    bound = Bound(spec.effects(problem), spec.arrange(problem, config, inputs), spec.output(problem, device))
    bound.poison(False, generator)
    accepted = bounds(spec, problem, bound.results)
    references = expected(spec, problem, inputs, list(bound.results))
    for name, result in bound.results.items():
        one, reference = {name: result}, {name: references[name]}
        if not judge_against(spec, problem, one, reference, accepted=accepted)[0]:
            which = "its output" if len(bound.results) == 1 else f"the result {name}"
            return f"{BLIND}: it accepts {which} if nothing is launched"
    return ""
