"""An interpreter's check that has to be over at some time: of edited code, or of a config of a captured launch.

1. The config is launched on the CPU. If its programs do not all fit in the time, or the launch holds more than
   WHOLE_BYTES, a sample of them runs (:mod:`tools.harness.checking.sampling.program_sample`).
2. The kernel's reference is computed. If the reference is a launch of the owner's code, as that of a captured launch
   is, the owner's code runs on the same inputs: the same programs, or those that probably do the same work. Beside
   edited code it has the same constants, beside another config the owner's.
3. If everything ran, everything is compared. Otherwise an element of a result is compared if a program of the sample
   stored it, or the config ran whole, and the same holds for the owner's code. What programs add to by atomics is left
   out: it depends on programs that did not run. The largest value of a result may lie outside the sample, so that its
   bound is SLACK times the nominal one.
4. Programs of edited code that race in a sample are a fault if the owner's programs of the sample do not.
5. What the owner's programs store and the sample leaves out may be stored by programs that did not run. It is a fault
   if only the first or the last program of the grid is short of something, and no verdict if the sample as a whole
   stores less than the same programs of the owner's code.

A sample says nothing if there are several launches, because a later one reads what an earlier one has not stored; nor
if programs depend on one another, by memory or by the number that an atomic gives back. What could not be compared is
no verdict.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels.captured.spec import INTERPRETED_BYTES as WHOLE_BYTES
from kernels.captured.spec import CapturedKernel
from kernels.editing.editable import FIELD
from kernels.launches.bound import Bound, copied
from kernels.launches.expected import Results, bounds, expected
from kernels.launches.leaves import tensors_in
from tools.harness.checking.races import RACES, Accesses, watch_accesses
from tools.harness.checking.sampling.left_out_elements import left_out
from tools.harness.checking.sampling.program_sample import (
    PROGRAMS,
    Place,
    Ran,
    counterparts,
    some_programs,
    spread_places,
    until,
)
from tools.harness.checking.sampling.stored_elements import Array, memory_of, stored_by
from tools.harness.checking.verify import judge_against, result_fault, saturated, stray_write

SLACK = 4.0
"""Of a sample, the accepted error over the nominal bound."""
FIRST_SHARE, ALL_SHARE = 0.4, 0.8
"""Of the time: after these parts no further program of the config, and none of the owner's, is begun."""
DEPENDENT = "its programs depend on one another, so that some of them say nothing"
ONE_ALONE = ", and one alone is weak evidence"


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

    def dependent(self) -> bool:
        return any(a.dependent() for a in self.accesses)

    def stored(self, name: str, atomics_too: bool = False) -> Array:
        return stored_by(self.bound.results[name], self.accesses, atomics_too)


def check_in_time(spec: Any, problem: Any, config: Any, hardware: Any, seed: int, limit_s: float) -> dict[str, Any]:
    """The answer to a check of `config` in about `limit_s` seconds. ``programs`` says which were run, if not all. What
    the launch raises is raised."""
    began = time.monotonic()
    inputs = spec.inputs(problem, torch.Generator().manual_seed(seed), "cpu")
    before = spec.arrange(problem, config, inputs)
    small = _bytes(inputs) + _bytes(spec.output(problem, "meta")) <= WHOLE_BYTES
    owners, launched = _owners_config(spec, config)

    def run(given: Any, choose: Callable[[Place], Iterable[Place]], ends_at: float, most: int | None) -> _Run:
        bound = Bound(spec.effects(problem), before, spec.output(problem, "cpu"))
        bound.poison(with_nan=True)
        with watch_accesses() as accesses:
            large = None if small else lambda: accesses[-1].noted
            enough = until(ends_at, most, lambda ran: len(accesses[-1].storing), large)
            with some_programs(choose, enough) as ran:
                spec.launch(problem, given, bound.inputs, bound.out, hardware)
        return _Run(bound, ran, accesses)

    draw = random.Random(seed)
    ours = run(config, lambda grid: spread_places(grid, draw), began + FIRST_SHARE * limit_s, PROGRAMS)
    if stray := stray_write(spec, ours.bound.untouched(copied(before))):
        return {"status": "correctness", "reason": stray}
    if not ours.whole and (len(ours.ran) > 1 or not ours.ran[0].places):
        return _undecided()
    theirs = None
    edited = bool(getattr(config, FIELD, ""))
    races = edited and ours.races()
    if owners is not None and (launched or races):

        def same_work(grid: Place) -> list[Place]:
            if len(ours.ran) != 1:  # all of each ran
                return list(spread_places(grid, draw))
            (found,) = ours.ran
            return counterparts(found.places, found.grid, grid)

        theirs = run(owners, same_work, began + ALL_SHARE * limit_s, None)
        if races and _as_much(ours, theirs) and not theirs.races():
            return {"status": "correctness", "reason": RACES}
    if launched and theirs is not None:
        if not theirs.whole and len(theirs.ran) > 1:
            return _undecided()
        if not (ours.whole and theirs.whole) and (ours.dependent() or theirs.dependent()):
            return _undecided(f"{_ran(ours)}: {DEPENDENT}")
        if small and ours.whole and theirs.whole:
            references = {name: t.double() for name, t in theirs.bound.results.items()}
            return _verdict(*judge_against(spec, problem, ours.bound.results, references, self_test=True))
        return _compare(spec, problem, ours, _BesideOwners(ours, theirs), limit_s)
    references = expected(spec, problem, inputs, list(ours.bound.results))
    if ours.whole:
        return _verdict(*judge_against(spec, problem, ours.bound.results, references, self_test=True))
    return _compare(spec, problem, ours, _BesideReference(ours, references), limit_s)


def _owners_config(spec: Any, config: Any) -> tuple[Any, bool]:
    """The config of the owner's code beside which `config` is run, if there is one, and whether its launch is the
    reference."""
    captured = isinstance(spec, CapturedKernel)
    if getattr(config, FIELD, ""):
        return config.model_copy(update={FIELD: ""}), captured
    return (spec.config_type(**spec.owner_config().model_dump()) if captured else None), captured


def _bytes(value: Any) -> int:
    memories = [t.untyped_storage() for t in tensors_in(value).values()]
    return sum({m._cdata: m.nbytes() for m in memories}.values())


def _as_much(ours: _Run, theirs: _Run) -> bool:
    """Whether the owner's code was run as far as the edited code: fewer programs may not show a race."""
    if ours.whole:
        return theirs.whole
    (mine,), wanted = ours.ran, theirs.ran
    return len(wanted) == 1 and len(wanted[0].places) == len(counterparts(mine.places, mine.grid, wanted[0].grid))


class _BesideOwners:
    """What is known of results by a launch of the owner's code, some of whose programs may not have run."""

    def __init__(self, ours: _Run, theirs: _Run) -> None:
        self._ours, self._theirs = ours, theirs

    def elements(self, name: str) -> Array:
        """Elements of the result's memory that both launches left as their whole launches do."""
        ours, theirs = self._ours, self._theirs
        if ours.whole and theirs.whole:
            both = [run.stored(name, atomics_too=True)[0] for run in (ours, theirs)]
            return np.unique(np.concatenate(both))
        known = [run.stored(name)[0] for run in (ours, theirs) if not run.whole]
        return np.unique(known[0]) if len(known) == 1 else np.intersect1d(*known)

    def numbers(self, name: str, elements: torch.Tensor) -> torch.Tensor:
        return memory_of(self._theirs.bound.results[name])[elements].double()

    def slack(self, name: str, found: torch.Tensor) -> float:
        return SLACK

    def left_out(self) -> tuple[str, str]:
        """What the owner's programs store and the sample does not."""
        if self._ours.whole:
            return "", ""
        (mine,), (owners,) = self._ours.ran, self._theirs.ran
        ours, theirs = ({n: run.stored(n) for n in run.bound.results} for run in (self._ours, self._theirs))
        return left_out(ours, theirs, mine.grid, owners.grid)


class _BesideReference:
    """What is known of results by the whole of a reference that PyTorch computes."""

    def __init__(self, ours: _Run, references: Results) -> None:
        self._ours, self._references = ours, references

    def elements(self, name: str) -> Array:
        return np.unique(self._ours.stored(name)[0])

    def numbers(self, name: str, elements: torch.Tensor) -> torch.Tensor:
        result, reference = self._ours.bound.results[name], self._references[name]
        memory = torch.full((len(memory_of(result)),), math.nan, dtype=torch.float64)
        memory.as_strided(result.shape, result.stride(), result.storage_offset()).copy_(reference)
        return memory[elements]

    def slack(self, name: str, found: torch.Tensor) -> float:
        """The largest number of the whole reference over that of the numbers that were `found`."""
        whole, part = (r[torch.isfinite(r)].abs() for r in (self._references[name], found))
        return float(whole.max()) / (float(part.max()) or 1.0) if part.numel() else 1.0

    def left_out(self) -> tuple[str, str]:
        return "", ""


def _compare(
    spec: Any, problem: Any, ours: _Run, beside: _BesideOwners | _BesideReference, limit_s: float
) -> dict[str, Any]:
    """The verdict by the elements that are comparable."""
    accepted = bounds(spec, problem, ours.bound.results)
    compared: dict[str, Array] = {}
    worst, without = ("", 0.0, 0.0), []
    for name, result in ours.bound.results.items():
        elements = beside.elements(name)
        numbers = beside.numbers(name, torch.from_numpy(elements))
        known = ~torch.isnan(numbers)
        if not bool(known.any()):
            without += [name] if result.numel() else []
            continue
        compared[name] = elements[known.numpy()]
        numbers, given = numbers[known], memory_of(result)[torch.from_numpy(compared[name])]
        allowed = accepted[name] * beside.slack(name, numbers)
        found = result_fault(*saturated(given, numbers), allowed, False, False)
        if found[0]:
            reason = found[0] if len(ours.bound.results) == 1 else f"result {name}: {found[0]}"
            return _verdict(reason, *found[1:]) | _programs(ours, compared, without)
        if not worst[2] or found[1] * worst[2] > worst[1] * found[2]:
            worst = found
    if not compared:
        return _undecided(f"{_ran(ours)} and stored nothing that could be compared in {limit_s:.2g} s")
    status, reason = beside.left_out()
    if status == "correctness":
        return _verdict(reason, math.inf, worst[2]) | _programs(ours, compared, without)
    if status:
        return _undecided(f"{_ran(ours)}: {reason}")
    return _verdict(*worst) | _programs(ours, compared, without)


def _undecided(why: str = "") -> dict[str, Any]:
    """No verdict; without a reason there was not enough time, and whoever set the limit says so."""
    return {"status": "infrastructure", "undecided": why}


def _ran(ours: _Run) -> str:
    return f"{len(ours.ran[-1].places)} of {ours.ran[-1].total:,} programs ran in the interpreter"


def _verdict(why: str, error: float, accepted: float) -> dict[str, Any]:
    return {
        "status": "correctness" if why else "correct",
        "reason": why,
        "error": error if math.isfinite(error) else None,
        "bound": accepted,
    }


def _programs(ours: _Run, compared: Mapping[str, Array], without: list[str]) -> dict[str, str]:
    """``programs``, if not all were compared: ``16 of 132 programs, without DW_ptr``."""
    programs: set[int] = set()
    for name, elements in compared.items():
        stored = ours.stored(name, atomics_too=ours.whole)
        programs |= set(map(int, np.unique(stored[1, np.isin(stored[0], elements)])))
    total = ours.ran[-1].total
    if len(programs) == total and not without:
        return {}
    left = f", without {', '.join(without)}" if without else ""
    return {"programs": f"{len(programs)} of {total:,} programs{left}{ONE_ALONE if len(programs) == 1 < total else ''}"}
