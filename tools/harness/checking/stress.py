"""Inputs and shapes that nobody chose: a finalist must be right on them too.

1. Each kind of input is made of a nominal draw by a change of its floating tensors. Integers (indices, offsets,
   lengths, tables) stay as they were drawn, and so do masks: infinite numbers, and tensors of two numbers. A tensor
   that is nowhere negative stays so.
2. A kind counts if the reference gives no NaN for it and the first baseline, what a user would write in the same
   precision, is right by the same bound. If not, the kind is left out, and the result names it.
3. The launch must then be right as well. Infinity and the dtype's largest number count as equal.
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
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal

import torch

from kernels.launches.bound import Bound, copied, same_bits, storage_bytes
from kernels.launches.domain import FIRST, KINDS, SHIFTED
from kernels.launches.expected import Results, bounds, expected, named
from kernels.launches.leaves import tensors_in
from kernels.spec import KernelSpec
from tools.harness.checking.held_out import held_out_shapes
from tools.harness.checking.verify import BLIND, judge_against, scale_error, stray_write
from tools.harness.compiling.error_line import reason
from tools.harness.process.machine_trouble import describe_trouble

Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
MOST_S = 8.0
"""Seconds after which no further kind is begun, if the caller says no other number."""
HIDDEN = 1 << 62


def _mixed(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    powers = torch.randint(-7, 8, x.shape, generator=g, device=x.device)
    return x * torch.pow(2.0, powers)


def _with(number: float) -> Change:
    """`number` in one place of fifty."""
    return lambda x, g: torch.where(torch.rand(x.shape, generator=g, device=x.device) < 0.02, number, x)


CHANGES: dict[str, Change] = {
    "large": lambda x, g: x * 256,
    "mixed magnitudes": _mixed,
    SHIFTED: lambda x, g: x + 16,
    "tiny": lambda x, g: x * 2.0**-10,
    "denormal": lambda x, g: x * 2.0**-18,
    "negative": lambda x, g: -256 * (x.abs() + 2),
    "ties": lambda x, g: x.round(),
    "half zeros": lambda x, g: torch.where(torch.arange(x.numel(), device=x.device) < x.numel() // 2, 0.0, x),
    "sorted": lambda x, g: x.sort().values,
    "infinite": _with(torch.inf),
    "minus infinite": _with(-torch.inf),
}
"""By kind, what it makes of the values of one tensor, in float32 (float64 for float64)."""
MILDER: dict[str, tuple[Change, ...]] = {
    "large": (lambda x, g: x * 64, lambda x, g: x * 16),
    "negative": (lambda x, g: -x.abs(),),
}
"""In place of a kind that is left out, the first that is not: products of large numbers may leave the dtype's range, in
PyTorch too."""
LEAST_MASK = 65
"""Elements of what is taken for a mask if it holds two numbers. A capture keeps fewer floats whole, as scales."""
SLACK = 4.0
"""A spec derives its bound for nominal inputs. On others PyTorch must keep it, and the launch four times it: what is
unsafe misses it by far."""


def changed(inputs: Any, change: Change, generator: torch.Generator, only: str | None = None) -> Any:
    """Change the floating storages of `inputs` in place, or that of the tensor at the path `only`."""
    seen: set[int] = set()
    for path, t in tensors_in(inputs).items():
        key = t.untyped_storage()._cdata
        if key in seen or not _changeable(t) or only not in (None, path):
            continue
        seen.add(key)
        flat = storage_bytes(t).view(t.dtype)
        wide = flat.to(torch.promote_types(t.dtype, torch.float32))
        if _is_mask(wide):
            continue
        finite = torch.isfinite(wide)
        every = bool(finite.all())
        given = wide if every else wide[finite]
        made = change(given, generator)
        made = made.abs() if bool((given >= 0).all()) else made
        if every:
            flat.copy_(made)
        else:
            flat[finite] = made.to(t.dtype)
    return inputs


def _is_mask(x: torch.Tensor) -> bool:
    """Whether these are two numbers, each many times."""
    if x.numel() < LEAST_MASK:
        return False
    low, high = x.aminmax()
    return bool(low < high) and bool(((x == low) | (x == high)).all())


def _changeable(t: torch.Tensor) -> bool:
    return t.is_floating_point() and t.element_size() >= 2


def _other(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return torch.randn(x.shape, generator=g, device=x.device).to(x.dtype) + 0.5


@dataclass
class _Finalist:
    """A config and how it is launched."""

    spec: KernelSpec[Any, Any]
    config: Any
    device: str
    hardware: Any
    done: Callable[[], None]
    generator: torch.Generator

    def attempt(self, problem: Any, change: Change | None, only: str | None, other_shape: bool) -> Attempt:
        """Launch on one kind of inputs. On another shape, what raises without harm is the kernel's refusal of it."""
        spec = self.spec
        try:
            drawn, inputs = self._inputs(problem, change, only)
            arranged = spec.arrange(problem, self.config, inputs)
            bound = Bound(spec.effects(problem), arranged, spec.output(problem, self.device))
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
        before = copied(arranged)
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
        loose = {name: SLACK * b for name, b in bounds(spec, problem, bound.results).items()}
        why, error, accepted = judge_against(spec, problem, bound.results, references, saturating=True, accepted=loose)
        found = {"error": error if error < float("inf") else None, "bound": accepted}
        if not why and not matters:
            return Attempt("left out", "no result depends on it by more than the tolerance")
        return Attempt("wrong" if why else "right", why, found)

    def _inputs(self, problem: Any, change: Change | None, only: str | None) -> tuple[Any, Any]:
        drawn = self.spec.inputs(problem, self.generator.manual_seed(secrets.randbelow(HIDDEN)), self.device)
        return drawn, drawn if change is None else changed(copied(drawn), change, self.generator, only)

    def _depends(self, problem: Any, drawn: Any, results: Results, changed: Results) -> bool:
        """Whether a change of one input was more than rounding in some result."""
        before = expected(self.spec, problem, drawn, list(results))
        allowed = {name: SLACK * b for name, b in bounds(self.spec, problem, results).items()}
        return any(
            t.numel() and scale_error(t.nan_to_num(), before[n].nan_to_num()) > allowed[n] for n, t in changed.items()
        )


@dataclass
class Attempt:
    """What became of one launch."""

    verdict: Literal["right", "wrong", "left out"]
    why: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)


@dataclass
class _Job:
    """One kind of inputs."""

    kind: str
    problems: list[Any]
    change: Change | None = None
    only: str | None = None
    milder: tuple[Change, ...] = ()
    """In place of `change` if that is left out."""
    elsewhere: _Finalist | None = None
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
) -> dict[str, Any]:
    """Run `config` on every kind of input and shape. `done` waits for a launch. After `most_s` seconds no further kind
    is begun.

    The answer holds ``status``, ``reason``, ``tried`` and ``left_out`` (kind to reason). What the launch raises on
    `problem` itself is raised."""
    generator = torch.Generator(device)
    tried: list[str] = []
    left_out: dict[str, str] = dict.fromkeys(spec.domain, "outside the kernel's declared domain")
    began = time.monotonic()
    nothing = _nothing_passes(spec, problem, config, generator, device)
    if nothing:
        return {"status": "correctness", "reason": nothing, "tried": [], "left_out": {}}
    finalist = _Finalist(spec, config, device, hardware, done, generator)
    other_shapes: list[_Job] = []
    at_last = (job for job in other_shapes if SHIFTED in tried)
    for job in chain(_jobs(finalist, problem, left_out), at_last):
        verdicts: dict[str, Attempt] = {}
        for given in job.problems:
            other_shape = given is not problem
            if time.monotonic() - began > most_s:
                which = f"{job.kind} at {given.label()}" if job.kind in tried or verdicts else job.kind
                left_out[which] = f"no time left after {most_s:.2g} s"
                break
            try:
                launched = job.elsewhere or finalist
                found = launched.attempt(given, job.change, job.only, other_shape)
                for change in job.milder:
                    if found.verdict == "left out":
                        found = launched.attempt(given, change, job.only, other_shape)
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
    return {"status": "correct", "reason": "", "tried": tried, "left_out": left_out}


def launches_elsewhere(spec: KernelSpec[Any, Any], problem: Any, config: Any, hardware: Any) -> Iterator[Any]:
    """(spec, problem, config) of what a finalist is launched on beside `problem` on a GPU: shapes around it, and other
    captured launches of its function."""
    finalist = _Finalist(spec, config, "cuda", hardware, lambda: None, torch.Generator())
    for job in _jobs(finalist, problem, dict.fromkeys(spec.domain, "")):
        launched = job.elsewhere or finalist
        yield from ((launched.spec, there, launched.config) for there in job.problems if there is not problem)


def _jobs(finalist: _Finalist, problem: Any, left_out: dict[str, str]) -> Iterator[_Job]:
    """What to try, the most telling first. Kinds in `left_out` are not tried; kinds that cannot be are added to it."""
    spec, config, hardware = finalist.spec, finalist.config, finalist.hardware
    values = [
        _Job(kind, [problem], CHANGES[kind], milder=MILDER.get(kind, ())) for kind in KINDS if kind not in left_out
    ]
    yield from values[:FIRST]
    for path, t in tensors_in(spec.inputs(problem, None, "meta")).items():
        if _changeable(t):
            yield _Job(f"input {path} alone", [problem], _other, path)
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


def _other_launches(finalist: _Finalist, problem: Any, left_out: dict[str, str]) -> Iterator[_Job]:
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
