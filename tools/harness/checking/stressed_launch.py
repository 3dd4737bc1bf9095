"""Launches of a finalist on one kind of inputs, and what is right there.

A kind counts if the reference gives no NaN for it and the first baseline, what a user would write in the same
precision, is right by the same bound. The launch must then be right as well. A captured launch is compared with its
owner's; what differs from that is compared with float64 (:mod:`tools.harness.checking.float64.float64_appeal`)."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import torch

from kernels.launches.bound import Bound, copied, same_bits
from kernels.launches.expected import Results, bounds, expected, named
from kernels.launches.leaves import tensors_in
from kernels.spec import KernelSpec
from tools.harness.checking.float64.float64_appeal import (
    Apart,
    Case,
    ask,
    can_appeal,
    distances,
    judged,
    opened,
    unexplained,
)
from tools.harness.checking.float64.promoted_reference import Question, Reference
from tools.harness.checking.stressed_inputs import Change, changed
from tools.harness.checking.verify import judge_against, scale_error, stray_write
from tools.harness.compiling.error_line import reason
from tools.harness.process.machine_trouble import describe_trouble

T = TypeVar("T")
Asking = Generator[Question, Reference, T]
"""It stops for each float64 reference that it needs, and ends with T."""
Cases = dict[Hashable, Case]
"""What is known in float64, by launch and kind of inputs."""
HIDDEN = 1 << 62
"""Seeds are drawn below this."""
SLACK = 4.0
"""A spec derives its bound for nominal inputs. On others PyTorch must keep it, and the launch four times it: what is
unsafe misses it by far."""


@dataclass
class Attempt:
    """What became of one launch."""

    verdict: Literal["right", "wrong", "left out"]
    why: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)
    differs: bool = False
    """Whether it is wrong by what the reference gives."""
    by_float64: str = ""
    """By which numbers it is right, if it differs from the owner's launch."""
    seed: int = 0
    """Draws the inputs."""
    apart: dict[str, Apart] = field(default_factory=dict)
    """If it differs from the owner's launch, how far each result does."""


@dataclass
class Finalist:
    """A config and how it is launched."""

    spec: Any
    config: Any
    device: str
    hardware: Any
    done: Callable[[], None]
    generator: torch.Generator
    cases: Cases

    def attempt(self, problem: Any, change: Change | None, only: str | None, other_shape: bool) -> Asking[Attempt]:
        """Launch on one kind of inputs. On another shape, what raises without harm is the kernel's refusal of it."""
        found = self._compared(problem, change, only, other_shape)
        if found.differs and can_appeal(self.spec):
            return (yield from self._heard(problem, change, only, found))
        return found

    def _compared(self, problem: Any, change: Change | None, only: str | None, other_shape: bool) -> Attempt:
        spec = self.spec
        try:
            seed = secrets.randbelow(HIDDEN)
            drawn, inputs = self._inputs(problem, change, only, seed)
            bound, before = self._bound(problem, self.config, inputs)
            references = expected(spec, problem, inputs, list(bound.results))
            why_not = _unfit(spec, problem, inputs, bound.results, references)
            if not why_not and only is not None and same_bits(tensors_in(drawn)[only], tensors_in(inputs)[only]):
                why_not = "it is a mask, which stays as it is drawn"
            matters = bool(why_not) or only is None or self._depends(problem, drawn, bound.results, references)
        except Exception as e:
            if not other_shape or describe_trouble(e):
                raise
            return Attempt("left out", f"its inputs or its reference fail: {reason(e)}")
        if why_not:
            return Attempt("left out", why_not)
        bound.poison(bool(secrets.randbits(1)), self.generator)
        try:
            spec.launch(problem, self.config, bound.inputs, bound.out, self.hardware)
        except Exception as e:
            self.done()  # raises if the GPU is beyond use
            if not other_shape or describe_trouble(e):
                raise
            return Attempt("left out", f"the launch refuses it: {reason(e)}")
        self.done()
        stray = stray_write(spec, bound.untouched(before))
        if stray:
            return Attempt("wrong", stray)
        loose = self._loose(problem, bound.results)
        why, error, accepted = judge_against(spec, problem, bound.results, references, saturating=True, accepted=loose)
        found = {"error": error if error < float("inf") else None, "bound": accepted}
        if not why and not matters:
            return Attempt("left out", "no result depends on it by more than the tolerance")
        apart = distances(bound.results, references, loose) if why and can_appeal(spec) else {}
        return Attempt("wrong" if why else "right", why, found, bool(why), seed=seed, apart=apart)

    def _heard(self, problem: Any, change: Change | None, only: str | None, found: Attempt) -> Asking[Attempt]:
        """What float64 says of a launch that differs from its owner's. A case that is known is of other inputs: if it
        does not explain what was found on these, they are a case of their own."""
        key = self.spec.captured.digest, problem.model_dump_json(), change, only
        known = self.cases.get(key)
        if known is not None:
            heard, differs = self._judged(known, problem, change, only, found)
            if not differs:
                return heard
        case = yield from self._opened(problem, change, only, found.seed)
        if known is None or case.reference.reason is None:
            self.cases[key] = case
        heard, differs = self._judged(case, problem, change, only, found)
        if differs:  # this time it does not
            return replace(
                found, why=f"{differs}; launched once more on the same inputs: {heard.by_float64 or heard.why}"
            )
        return heard

    def _opened(self, problem: Any, change: Change | None, only: str | None, seed: int) -> Asking[Case]:
        """The case of the inputs that `seed` draws."""
        spec = self.spec
        with tempfile.TemporaryDirectory() as folder:
            inputs = self._inputs(problem, change, only, seed)[1]
            reference = yield ask(spec, problem, inputs, seed, folder)
        owner = spec.default_config(problem, self.hardware)
        return opened(spec, problem, seed, reference, self._results(owner, problem, inputs)[0])

    def _judged(
        self, case: Case, problem: Any, change: Change | None, only: str | None, found: Attempt
    ) -> tuple[Attempt, str]:
        """The attempt as `case` has it, and what is right there and nevertheless differs in `found`."""
        if case.reference.reason is not None:
            return replace(found, why=f"{found.why} (float64 of it is not known: {case.reference.reason})"), ""
        spec, owner = self.spec, self.spec.default_config(problem, self.hardware)
        inputs = self._inputs(problem, change, only, case.seed)[1]
        ours, stray = self._results(self.config, problem, inputs)
        if stray:
            return Attempt("wrong", stray), ""
        owners, loose = self._results(owner, problem, inputs)[0], self._loose(problem, ours)
        verdict = judged(case, spec, problem, ours, owners, loose)
        if verdict.kind == "wrong":
            return replace(found, why=verdict.why), ""
        heard = Attempt("right", figures=found.figures, by_float64=verdict.why)
        if verdict.kind == "left out":
            heard = Attempt("left out", verdict.why)
        return heard, unexplained(verdict, found.apart, loose)

    def _results(self, config: Any, problem: Any, inputs: Any) -> tuple[Results, str]:
        """What `config` makes of a copy of `inputs`, and what it wrote beside that."""
        bound, before = self._bound(problem, config, inputs)
        bound.poison(bool(secrets.randbits(1)), self.generator)
        self.spec.launch(problem, config, bound.inputs, bound.out, self.hardware)
        self.done()
        return bound.results, stray_write(self.spec, bound.untouched(before))

    def _bound(self, problem: Any, config: Any, inputs: Any) -> tuple[Bound, Any]:
        """Memory of a launch of its own, and the inputs as they were."""
        arranged = self.spec.arrange(problem, config, inputs)
        bound = Bound(self.spec.effects(problem), arranged, self.spec.output(problem, self.device))
        return bound, copied(arranged)

    def _loose(self, problem: Any, results: Results) -> dict[str, float]:
        return {name: SLACK * b for name, b in bounds(self.spec, problem, results).items()}

    def _inputs(self, problem: Any, change: Change | None, only: str | None, seed: int) -> tuple[Any, Any]:
        drawn = self.spec.inputs(problem, self.generator.manual_seed(seed), self.device)
        return drawn, drawn if change is None else changed(copied(drawn), change, self.generator, only)

    def _depends(self, problem: Any, drawn: Any, results: Results, changed: Results) -> bool:
        """Whether a change of one input was more than rounding in some result."""
        before = expected(self.spec, problem, drawn, list(results))
        allowed = self._loose(problem, results)
        return any(
            t.numel() and scale_error(t.nan_to_num(), before[n].nan_to_num()) > allowed[n] for n, t in changed.items()
        )


def _unfit(spec: KernelSpec[Any, Any], problem: Any, inputs: Any, results: Results, references: Results) -> str:
    """Why these inputs say nothing about a launch; empty if they do."""
    unwritten = spec.effects(problem).unwritten
    if any(bool(torch.isnan(r).any()) for n, r in references.items() if n not in unwritten):
        return "the reference gives NaN"
    first = spec.baselines(problem)[0]
    if first.missing(problem) is not None or not first.equivalent:
        return "no PyTorch equivalent runs here"
    given = copied(inputs)
    found = named(list(results), first.prepare(problem, given)())
    why, _, _ = judge_against(spec, problem, found, references, saturating=True)
    return f"PyTorch's own result is not right ({why})" if why else ""
