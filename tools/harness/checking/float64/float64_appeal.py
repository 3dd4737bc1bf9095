"""A second look at a captured launch whose results on stressed inputs are not those of the owner's launch.

A captured launch has no reference but its owner's code, in the owner's precision. On inputs that nobody chose that may
be far from right (the difference of large sums, a logarithm near one), and then code that is nearer to the truth
differs from it. So where they differ, both are compared with float64: the owner's code, every float raised, on the
first, the last and some drawn programs of the grid (``promoted_reference.py``). The finalist is right if every result
that differs

1. is in these programs at most ``LUCK`` times as far from float64 as the owner's is, or within its bound, and beyond
   its bound in hardly more elements than the owner's: one row that the owner spoils excuses no other, and
2. is in all others no further from the owner's than both errors explain.

Whole numbers are no matter of precision. What has no float64 reference is judged by the owner's launch alone.

Who holds the GPU does not interpret: it asks a question, and somebody else answers it with a reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kernels.capture.reading.storage_elements import storages_of
from kernels.launches.effects import input_name
from kernels.launches.expected import Results
from tools.harness.checking.float64.float64_errors import beside_float64, difference, share_beyond
from tools.harness.checking.float64.promoted_reference import Question, Reference
from tools.harness.checking.verify import saturated, scale_error

LUCK = 1.25
"""The largest of many roundings is now larger, now smaller, in code that is equally exact."""
FEW = 0.01
"""Of all elements: so many more may be beyond the bound."""
ELSEWHERE = 4.0
"""An error may be so much larger, and be in so many more elements, in programs whose float64 is not known."""


@dataclass(frozen=True)
class Case:
    """What is known of one kind of stressed inputs of one launch."""

    seed: int
    """Draws the inputs."""
    reference: Reference
    owners: dict[str, tuple[Any, Any]]
    """Path of a result → elements of what the owner's launch gives, and the same in float64."""


@dataclass(frozen=True)
class Verdict:
    """Whether a finalist is right, and by which numbers."""

    right: bool
    why: str


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
    notes = []
    for name, result in ours.items():
        path, bound = paths[name], bounds[name]
        given, owner = saturated(result, owners[name])
        apart = scale_error(given, owner)
        if apart <= bound:
            continue
        if not result.is_floating_point() or path not in pairs or path not in case.owners:
            return Verdict(False, f"result {path} is {apart:.2g} away from the owner's launch, and has no float64")
        error, owners_error = difference(*pairs[path]), difference(*case.owners[path])
        stated = f"result {path} is {error:.2g} off float64, where the owner's launch is {owners_error:.2g} off"
        if error > max(bound, LUCK * owners_error):
            return Verdict(False, stated)
        share, owners_share = share_beyond(*pairs[path], bound), share_beyond(*case.owners[path], bound)
        if share > LUCK * owners_share + FEW:
            return Verdict(False, f"{stated}, in {share:.0%} of the elements, not in {owners_share:.0%}")
        explained = ELSEWHERE * (share + owners_share) + FEW
        differs = share_beyond(given, owner, bound)
        if apart > ELSEWHERE * (max(bound, error) + owners_error) or differs > explained:
            where = f"{apart:.2g} away from the owner's launch, in {differs:.0%} of the elements"
            return Verdict(False, f"{stated}; over all programs it is {where}")
        notes.append(stated)
    ran, of = case.reference.programs, case.reference.of
    return Verdict(True, f"{'; '.join(notes) or 'level with the owner'} ({ran} of {of} programs)")


def by_path(spec: Any, problem: Any, results: Results) -> Results:
    """Results by the paths of their tensors, in order."""
    paths = {input_name(path): path for path in spec.effects(problem).inplace}
    return {paths.get(name, name): t for name, t in results.items()}
