"""A second look at a captured launch whose results on stressed inputs are not those of the owner's launch.

A captured launch has no reference but its owner's code, in the owner's precision. On inputs that nobody chose that may
be far from right (the difference of large sums, a logarithm near one), and then code that is nearer to the truth
differs from it. So where they differ, both are compared with float64: the owner's code, every float raised, on the
first, the last and some drawn programs of the grid (``promoted_reference.py``). The finalist is right if every result
that differs

1. is in these programs at most ``LUCK`` times as far from float64 as the owner's is, or within its bound, and is
   further than ``LUCK`` bounds in hardly more than ``LUCK`` times as many elements as the owner's is beyond one: one
   row that the owner spoils excuses no other, and
2. is over all programs no further from the owner's than both errors explain, on the inputs of the reference and on
   those on which it was found to differ (:func:`explains`).

If the owner's launch is so far off that zeros would be right, nothing can be found out, and the kind is left out.

Whole numbers are no matter of precision. What has no float64 reference is judged by the owner's launch alone.

Who holds the GPU does not interpret: it asks a question, and somebody else answers it with a reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from kernels.capture.reading.storage_elements import storages_of
from kernels.launches.effects import input_name
from kernels.launches.expected import Results
from tools.harness.checking.float64.float64_errors import beside_float64, difference, share_beyond
from tools.harness.checking.float64.promoted_reference import Question, Reference
from tools.harness.checking.verify import saturated, scale_error

LUCK = 3.0
"""The largest of a few roundings is now larger, now smaller, in code that is equally exact. Of 16 normal errors, one
for each program, that of one order of summation is 1.25 times that of another in a quarter of all draws, and 3 times in
one of a thousand. A survey allows as much on nominal inputs."""
FEW = 0.01
"""Of all elements: so many more may be beyond the bound."""
ELSEWHERE = 4.0
"""An error may be so much larger, and be in so many more elements, where float64 is not known."""


@dataclass(frozen=True)
class Case:
    """What is known of one kind of stressed inputs of one launch."""

    seed: int
    """Draws the inputs."""
    reference: Reference
    owners: dict[str, tuple[Any, Any]]
    """Path of a result → elements of what the owner's launch gives, and the same in float64."""


@dataclass(frozen=True)
class Apart:
    """How far a result lies from that of the owner's launch, over all programs."""

    most: float
    """Scale-relative."""
    share: float
    """Of the elements, those further than ELSEWHERE times the bound."""


@dataclass(frozen=True)
class Error:
    """How far a result of the finalist, and that of the owner's launch, are off float64 in the programs that ran."""

    ours: float
    share: float
    owners: float
    owners_share: float

    def explain(self, apart: Apart, bound: float) -> bool:
        """Whether both errors account for what lies between the two."""
        few = ELSEWHERE * (self.share + self.owners_share) + FEW
        return apart.most <= ELSEWHERE * (max(bound, self.ours) + self.owners) and apart.share <= few


@dataclass(frozen=True)
class Verdict:
    """Whether a finalist is right, and by which numbers."""

    kind: Literal["right", "wrong", "left out"]
    why: str
    errors: dict[str, Error] = field(default_factory=dict)
    """Of each result that has a float64 reference."""

    @property
    def right(self) -> bool:
        return self.kind == "right"


def can_appeal(spec: Any) -> bool:
    """Whether the reference of `spec` is its owner's launch, from a file that others can read."""
    return bool(getattr(spec, "capture_file", ""))


def ask(spec: Any, problem: Any, inputs: Any, seed: int, folder: str) -> Question:
    """The question about `inputs`, as they are before the launch, with a file in `folder`."""
    given = str(Path(folder) / f"given-{seed}.pt")
    torch.save(storages_of(spec.captured, inputs), given)
    return Question(spec.capture_file, spec.captured.digest, problem.damped, seed, given)


def opened(spec: Any, problem: Any, seed: int, reference: Reference, owners: Results) -> Case:
    """The case of the inputs that `seed` draws. `owners`: results of the owner's launch on them."""
    return Case(seed, reference, beside_float64(spec.captured, by_path(spec, problem, owners), reference.stored))


def judged(case: Case, spec: Any, problem: Any, ours: Results, owners: Results, bounds: dict[str, float]) -> Verdict:
    """The verdict on the results `ours`. `owners`: what the owner's launch gives for the same inputs. `bounds`: how far
    a result may be off in any case."""
    paths = dict(zip(ours, by_path(spec, problem, ours), strict=True))
    pairs = beside_float64(spec.captured, by_path(spec, problem, ours), case.reference.stored)
    apart = distances(ours, owners, bounds)
    errors, notes, blind = {}, [], ""
    for name, result in ours.items():
        path, bound = paths[name], bounds[name]
        known = result.is_floating_point() and path in pairs and path in case.owners
        if known:
            errors[name] = _error(pairs[path], case.owners[path], bound)
        if apart[name].most <= bound:
            continue
        if not known:
            why = f"result {path} is {apart[name].most:.2g} away from the owner's launch, and has no float64"
            return Verdict("wrong", why, errors)
        error = errors[name]
        stated = f"result {path} is {error.ours:.2g} off float64, where the owner's launch is {error.owners:.2g} off"
        if error.ours > max(bound, LUCK * error.owners):
            return Verdict("wrong", stated, errors)
        if error.share > LUCK * error.owners_share + FEW:
            where = f"in {error.share:.0%} of the elements, not in {error.owners_share:.0%}"
            return Verdict("wrong", f"{stated}, {where}", errors)
        if not error.explain(apart[name], bound):
            return Verdict("wrong", f"{stated}; {_stated(apart[name])}", errors)
        if error.ours > bound and _accepts_zeros(case.owners[path], bound):
            blind = f"result {path} of the owner's launch is {error.owners:.2g} off float64: zeros would be as right"
        notes.append(stated)
    if blind:
        return Verdict("left out", blind, errors)
    ran, of = case.reference.programs, case.reference.of
    return Verdict("right", f"{'; '.join(notes) or 'level with the owner'} ({ran} of {of} programs)", errors)


def distances(ours: Results, owners: Results, bounds: dict[str, float]) -> dict[str, Apart]:
    """How far each of the results `ours` lies from the owner's."""
    found = {}
    for name, result in ours.items():
        given, owner = saturated(result, owners[name])
        most, far = scale_error(given, owner), ELSEWHERE * bounds[name]
        found[name] = Apart(most, share_beyond(given, owner, far) if most > far else 0.0)
    return found


def unexplained(verdict: Verdict, apart: dict[str, Apart], bounds: dict[str, float]) -> str:
    """What lies between the results of a finalist and the owner's, on other inputs of the same kind, though the errors
    of `verdict` do not explain it; empty if they do."""
    for name, found in apart.items():
        error = verdict.errors.get(name)
        if found.most > bounds[name] and (error is None or not error.explain(found, bounds[name])):
            return f"result {name}: {_stated(found)}"
    return ""


def _error(pair: tuple[Any, Any], owners: tuple[Any, Any], bound: float) -> Error:
    far = share_beyond(*pair, LUCK * bound)
    return Error(difference(*pair), far, difference(*owners), share_beyond(*owners, bound))


def _accepts_zeros(owners: tuple[Any, Any], bound: float) -> bool:
    """Whether zeros are as near to float64 as the owner's launch allows."""
    zeros = _error((torch.zeros_like(owners[1]), owners[1]), owners, bound)
    return zeros.ours <= LUCK * zeros.owners and zeros.share <= LUCK * zeros.owners_share + FEW


def _stated(apart: Apart) -> str:
    return f"over all programs it is {apart.most:.2g} away from the owner's launch, far off in {apart.share:.0%}"


def by_path(spec: Any, problem: Any, results: Results) -> Results:
    """Results by the paths of their tensors, in order."""
    paths = {input_name(path): path for path in spec.effects(problem).inplace}
    return {paths.get(name, name): t for name, t in results.items()}
