"""An interpreter's check of edited code that has to be over at some time.

1. The edited code is launched on the CPU. If its programs do not all fit in the time, a sample of them runs
   (:mod:`tools.harness.checking.sampling.program_sample`).
2. The kernel's reference is computed. If the reference is a launch of the owner's code, as that of a captured launch
   is, the owner's code runs on the same inputs with the same constants: the same programs, or those that probably do
   the same work.
3. If everything ran, everything is compared. Otherwise an element of a result is compared if a program of the sample
   stored it, or the edited code ran whole, and if a program of the owner's code stored it too. What programs add to by
   atomics is left out: it depends on programs that did not run. The largest value of a result may lie outside the
   sample, so that its bound is SLACK times the nominal one.
4. Programs that race in a sample are a fault if the owner's programs of the sample do not.

A sample of several launches says nothing, because a later launch reads what an earlier one has not stored. What could
not be compared is no verdict.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels.editing.editable import FIELD
from kernels.launches.bound import Bound, copied
from kernels.launches.expected import Results, bounds, expected
from tools.harness.checking.races import RACES, Accesses, watch_accesses
from tools.harness.checking.sampling.program_sample import Place, Ran, counterparts, some_programs, spread_places, until
from tools.harness.checking.verify import judge_against, result_fault, saturated, stray_write

SLACK = 4.0
"""Of a sample, the accepted error over the nominal bound."""
NOT_ENOUGH = {"status": "infrastructure"}
"""The answer if there was no time to find anything out; whoever set the limit says so."""
FIRST_SHARE, ALL_SHARE = 0.4, 0.8
"""Of the time: after these parts no further program of the edited code, and none of the owner's, is begun."""


@dataclass
class _Run:
    """One execution of a config."""

    bound: Bound
    ran: list[Ran]
    accesses: list[Accesses]

    @property
    def whole(self) -> bool:
        return all(r.whole for r in self.ran)

    def races(self) -> bool:
        return any(a.race() for a in self.accesses)

    def final(self, result: torch.Tensor) -> torch.Tensor:
        """Which elements of a result are as the whole launch leaves them: all if all programs ran, stored or not."""
        return torch.ones(result.shape, dtype=torch.bool) if self.whole else self.stored(result)

    def stored(self, result: torch.Tensor) -> torch.Tensor:
        """Which elements of a result were stored by programs that ran, and added to by none."""
        flags = _flags(result, (a for x in self.accesses for a in x.stores))
        return flags & ~_flags(result, (a for x in self.accesses for a in x.atomics))


def check_in_time(spec: Any, problem: Any, config: Any, hardware: Any, seed: int, limit_s: float) -> dict[str, Any]:
    """The answer to a check of `config`, which has an edit, in about `limit_s` seconds. ``programs`` says which were
    run, if not all. What the launch raises is raised."""
    began = time.monotonic()
    inputs = spec.inputs(problem, torch.Generator().manual_seed(seed), "cpu")
    before = copied(spec.arrange(problem, config, inputs))

    def run(given: Any, choose: Callable[[Place], Iterable[Place]], enough: Callable[[Ran], bool]) -> _Run:
        bound = Bound(spec.effects(problem), before, spec.output(problem, "cpu"))
        bound.poison(with_nan=True)
        with some_programs(choose, enough) as ran, watch_accesses() as accesses:
            spec.launch(problem, given, bound.inputs, bound.out, hardware)
        return _Run(bound, ran, accesses)

    draw = random.Random(seed)
    ours = run(config, lambda grid: spread_places(grid, draw), until(began + FIRST_SHARE * limit_s))
    if stray := stray_write(spec, ours.bound.untouched(copied(before))):
        return {"status": "correctness", "reason": stray}
    if not ours.whole and len(ours.ran) > 1:
        return dict(NOT_ENOUGH)
    with some_programs(lambda grid: ()) as asked:
        references = expected(spec, problem, inputs, list(ours.bound.results))
    theirs = None
    races = ours.races()
    if asked or races:

        def same_work(grid: Place) -> list[Place]:
            if len(ours.ran) != 1:  # all of each ran
                return list(spread_places(grid, draw))
            (found,) = ours.ran
            return counterparts(found.places, found.grid, grid)

        theirs = run(config.model_copy(update={FIELD: ""}), same_work, until(began + ALL_SHARE * limit_s, None))
        if races and _as_much(ours, theirs) and not theirs.races():
            return {"status": "correctness", "reason": RACES}
    if asked and theirs is not None:
        if not theirs.whole and len(theirs.ran) > 1:
            return dict(NOT_ENOUGH)
        references = {name: t.double() for name, t in theirs.bound.results.items()}
    if ours.whole and (not asked or (theirs is not None and theirs.whole)):
        return _verdict(*judge_against(spec, problem, ours.bound.results, references, self_test=True))
    return _compare(spec, problem, ours, theirs if asked else None, references, limit_s)


def _as_much(ours: _Run, theirs: _Run) -> bool:
    """Whether the owner's code was run as far as the edited code: fewer programs may not show a race."""
    if ours.whole:
        return theirs.whole
    (mine,), wanted = ours.ran, theirs.ran
    return len(wanted) == 1 and len(wanted[0].places) == len(counterparts(mine.places, mine.grid, wanted[0].grid))


def _compare(
    spec: Any, problem: Any, ours: _Run, theirs: _Run | None, references: Results, limit_s: float
) -> dict[str, Any]:
    """The verdict by the elements that are comparable. `theirs`: what made the references; None if they are whole."""
    accepted = bounds(spec, problem, ours.bound.results)
    compared: dict[str, torch.Tensor] = {}
    worst, left_out = ("", 0.0, 0.0), []
    for name, result in ours.bound.results.items():
        reference = references[name]
        known = ours.final(result) & ~torch.isnan(reference)
        if theirs is not None:
            known &= theirs.stored(theirs.bound.results[name])
        if not bool(known.any()):
            left_out += [name] if result.numel() else []
            continue
        compared[name] = known
        allowed = accepted[name] * (SLACK if theirs is not None else _scale(reference, known))
        found = result_fault(*saturated(result[known], reference[known]), allowed, False, False)
        if found[0]:
            reason = found[0] if len(ours.bound.results) == 1 else f"result {name}: {found[0]}"
            return _verdict(reason, *found[1:]) | {"programs": _described(ours, compared, left_out)}
        if not worst[2] or found[1] * worst[2] > worst[1] * found[2]:
            worst = found
    if not compared:
        of = f"{len(ours.ran[-1].places)} of {ours.ran[-1].total:,} programs"
        nothing = f"ran in the interpreter and stored nothing that could be compared in {limit_s:.2g} s"
        why = f"{of} {nothing}; the card decides"
        return {"status": "infrastructure", "reason": why}
    return _verdict(*worst) | {"programs": _described(ours, compared, left_out)}


def _scale(reference: torch.Tensor, known: torch.Tensor) -> float:
    """The largest number of the whole `reference` over that of the elements that are known."""
    whole, part = (r[torch.isfinite(r)].abs() for r in (reference, reference[known]))
    return float(whole.max()) / (float(part.max()) or 1.0) if part.numel() else 1.0


def _verdict(why: str, error: float, accepted: float) -> dict[str, Any]:
    return {
        "status": "correctness" if why else "correct",
        "reason": why,
        "error": error if math.isfinite(error) else None,
        "bound": accepted,
    }


def _described(ours: _Run, compared: dict[str, torch.Tensor], left_out: list[str]) -> str:
    """``16 of 132 programs, without DW_ptr``."""
    flags = {name: _in_storage(ours.bound.results[name], known) for name, known in compared.items()}
    programs: set[int] = set()
    for stores in (s for a in ours.accesses for s in a.stores):
        if stores.shape[1] and any(_touches(ours.bound.results[n], f, stores[0]) for n, f in flags.items()):
            programs.add(int(stores[1, 0]))
    without = f", without {', '.join(left_out)}" if left_out else ""
    return f"{len(programs)} of {ours.ran[-1].total:,} programs{without}"


def _flags(result: torch.Tensor, accesses: Iterable[np.ndarray[Any, Any]]) -> torch.Tensor:
    """Which elements of `result` lie at these addresses."""
    flags = torch.zeros(_elements(result), dtype=torch.bool)
    for addresses, _ in accesses:
        flags[torch.from_numpy(_places(result, addresses))] = True
    return flags.as_strided(result.shape, result.stride(), result.storage_offset())


def _in_storage(result: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """`known`, flags by element of `result`, by element of its memory."""
    flags = torch.zeros(_elements(result), dtype=torch.bool)
    flags.as_strided(result.shape, result.stride(), result.storage_offset()).copy_(known)
    return flags


def _touches(result: torch.Tensor, flags: torch.Tensor, addresses: np.ndarray[Any, Any]) -> bool:
    return bool(flags[torch.from_numpy(_places(result, addresses))].any())


def _elements(result: torch.Tensor) -> int:
    return result.untyped_storage().nbytes() // result.element_size()


def _places(result: torch.Tensor, addresses: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements of the memory of `result` at those of `addresses` that lie in it."""
    start = result.untyped_storage().data_ptr()
    offsets = addresses.astype(np.int64) - start
    inside = offsets[(offsets >= 0) & (offsets < _elements(result) * result.element_size())]
    return inside // result.element_size()
