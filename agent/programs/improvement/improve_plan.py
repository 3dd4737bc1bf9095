"""Which launches of a capture are worth tuning, and in which order.

Launches are taken until they make up the wanted share of the captured GPU time. Among these the one with the most time
to be saved comes first: launches * (time of one - the least that its bytes need). A launch that cannot be tuned is
listed with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.errors import UsageError
from agent.programs.improvement.wanted_launches import select_launches
from kernels.capture.reading.captured_launches import Capture, CapturedLaunch, digests_in
from kernels.captured.captured_kernels import captured_kernel, reference_of
from kernels.captured.program_waits import reason_to_wait
from kernels.captured.spec import CapturedKernel
from kernels.hardware import Hardware
from kernels.tuned.key import Json, key_of_captured
from kernels.tuned.tuned_table import MAIN_MODULES, TunedFunction, digest_of

SHORTEST_S = 11.0
"""Seconds that a launch is given at least."""
LEAST_SEARCH_S = 2.0
"""Seconds of search without which no further launch is begun, beside those of its proof."""

REVISED = ("file", "line", "source", "identity")
"""What a function's revision is, of its part of the capture. Its module is not: a file has another one if it is run."""
DIGITS = 12


@dataclass
class Job:
    """One launch to be tuned."""

    launch: CapturedLaunch
    kernel: CapturedKernel
    reference: str
    """``FILE#LAUNCH``."""
    key: Json
    """Of its row in the table."""
    gain_ms: float
    """What could be saved of the captured time; 0 if there are no times."""
    shares: list[CapturedLaunch] = field(default_factory=list)
    """Further launches that the table does not tell apart from this one; they cost less."""
    function: Json = field(default_factory=dict)
    """:func:`revision_of` the launch."""


@dataclass(frozen=True)
class Untuned:
    """Launches of one function that are not tuned."""

    kernel: str
    reason: str
    """A sentence's end."""
    function: Json = field(default_factory=dict)
    """:func:`revision_of` the launches; empty if the capture has no whole launch of it."""

    def entry(self) -> Json:
        """As the table's file keeps it."""
        found = {"kernel": self.kernel, "reason": self.reason}
        return {**found, "function": self.function} if self.function else found


@dataclass
class Plan:
    jobs: list[Job]
    """What promises most comes first."""
    untuned: list[Untuned]
    held_out: list[Job] = field(default_factory=list)
    """Launches without a row, for which the table's answers are timed."""
    autotuned: list[tuple[CapturedLaunch, Json]] = field(default_factory=list)
    """Launches whose autotuner has chosen, with their keys, the costliest last: whether they are tuned or not, the
    table holds the choice, so that the program needs no benchmark for it."""


def plan(capture: Capture, share: float, only: str | None, gpu: str | None, hardware: Hardware | None) -> Plan:
    """Plan the launches of `capture`. `share`: of the GPU time, 0 to 1. `only`: a kernel's name, its ``module:NAME`` or
    a launch's digest. `gpu`: the name of the GPU that will time them; None if nothing is timed.

    Raises UsageError if the capture holds nothing that `only` names, or nothing that this GPU launched."""
    wanted = select_launches(capture, only)
    untuned = [
        Untuned(name, "a part of it is missing in the capture: capture the program again") for name in capture.missing
    ]
    here = [x for x in wanted if gpu is None or _is_here(x, gpu, hardware)]
    if wanted and not here:
        raise UsageError(f"{capture.path} {_elsewhere(wanted[0], gpu)}.")
    functions = capture.functions()
    untuned += [_untuned(f"it {_elsewhere(x, gpu)}", functions, x) for x in wanted if x not in here]
    costly, rest = _split(_by_row(here, functions), share)
    if rest:
        total = sum(map(_weight, here)) or 1.0
        alike: dict[tuple[str, str], list[CapturedLaunch]] = {}
        for x in rest:
            alike.setdefault((x.name, str(revision_of(x, functions))), []).append(x)
        for own in alike.values():
            part = sum(map(_weight, own)) / total
            why = f"it makes up {part:.1%} of the program, beyond --share {share:g}"
            untuned.append(_untuned(why, functions, *own))
    found = [_job(capture, launches, hardware) for launches in costly]
    untuned += [x for x in found if isinstance(x, Untuned)]
    jobs = [x for x in found if isinstance(x, Job)]
    chosen = sorted((x for x in here if x.config is not None), key=_weight)
    autotuned = [(x, key_of_captured(x, functions)) for x in chosen]
    return Plan(sorted(jobs, key=lambda j: -j.gain_ms), untuned, autotuned=autotuned)


def function_of(launch: CapturedLaunch) -> TunedFunction:
    """The launch's function, as a row names it: the program's own file is one module in every process."""
    module = launch.function["module"]
    return TunedFunction(
        "__main__" if module in MAIN_MODULES else module, launch.function["qualname"], launch.function["identity"]
    )


def revision_of(launch: CapturedLaunch, functions: Mapping[str, Json]) -> Json:
    """Which function a launch is of, and as what the capture has it. ``place``: hash of its name and file, and of the
    GPU, with which constants change. ``revision``: hash of its text, line and identity and of those that it calls. The
    same function that was edited, or has moved in its file, has another revision, and all its launches other digests.
    ``functions``: :meth:`Capture.functions`."""
    own = launch.function
    reached: dict[str, Json] = {}
    todo = list(digests_in(own["bindings"]))
    while todo:
        digest = todo.pop()
        if digest in functions and digest not in reached:
            reached[digest] = functions[digest]
            todo += digests_in(functions[digest]["bindings"])
    parts = {tuple(str(part.get(name)) for name in REVISED) for part in (own, *reached.values())}
    gpu = launch.device.get("name") or launch.device.get("arch")
    place = digest_of([own["file"], own["qualname"], gpu])
    return {"place": place[:DIGITS], "revision": digest_of(sorted(parts))[:DIGITS]}


def seconds_for(job: Job, waiting: Sequence[Job], seconds: float) -> float:
    """The part of `seconds` that `job` is given, the first of `waiting`. What a launch needs is kept for each of the
    first of them, as many as there is time for, and the rest is divided by what these promise. In less time nothing is
    found out, so no more launches are begun."""
    begun = waiting[: max(1, int(seconds / SHORTEST_S))]
    total = sum(j.gain_ms for j in begun)
    part = job.gain_ms / total if total else 1 / len(begun)
    kept = min(SHORTEST_S, seconds / len(begun))
    return kept + part * (seconds - kept * len(begun))


def seconds_to_search(part: float, proof_s: float) -> float:
    """Those of a launch's part that its search has. `proof_s` are kept for its proof (:mod:`time_left`), or half as
    many as the search has, if that is more."""
    return max(min(LEAST_SEARCH_S, part / 2), min(part - proof_s, part / 1.5))


def _is_here(launch: CapturedLaunch, gpu: str, hardware: Hardware | None) -> bool:
    """Whether the launch was captured on such a GPU. A trace of another tool may name its architecture alone."""
    name, device = launch.device.get("name"), launch.device
    if name is None and hardware is not None:
        return (device.get("kind"), device.get("arch")) == (hardware.backend, hardware.arch)
    return bool(name == gpu)


def _elsewhere(launch: CapturedLaunch, gpu: str | None) -> str:
    name = launch.device.get("name") or f"a GPU of the architecture {launch.device.get('arch')}"
    where = "in Triton's interpreter" if launch.device.get("kind") == "interpreter" else f"on {name}"
    return f"was captured {where}, and this is {gpu}: capture the program on this GPU"


def _weight(launch: CapturedLaunch) -> float:
    """GPU time, or the number of launches if there are no times."""
    return launch.total_ms if launch.total_ms is not None else float(launch.count)


def _by_row(launches: list[CapturedLaunch], functions: dict[str, Json]) -> list[list[CapturedLaunch]]:
    """The launches that the table does not tell apart, together, the costliest of each first; those of which it is not
    known what they write come last, because no other launch could be tuned in their name."""
    rows: dict[tuple[TunedFunction, str], list[CapturedLaunch]] = {}
    for launch in sorted(launches, key=lambda x: (x.writes is None, -_weight(x))):
        rows.setdefault((function_of(launch), str(key_of_captured(launch, functions))), []).append(launch)
    return list(rows.values())


def _split(rows: list[list[CapturedLaunch]], share: float) -> tuple[list[list[CapturedLaunch]], list[CapturedLaunch]]:
    """The costliest rows that make up `share`, and the launches of the rest. A launch without times does not count
    beside some that have them."""
    timed = any(x.total_ms is not None for row in rows for x in row)
    weights = [sum(_weight(x) for x in row if not timed or x.total_ms is not None) for row in rows]
    ordered = sorted(zip(weights, rows, strict=True), key=lambda pair: -pair[0])
    sofar, taken = 0.0, 0
    for weight, _ in ordered:
        if taken and (sofar >= share * sum(weights) or not weight):
            break
        sofar, taken = sofar + weight, taken + 1
    return [row for _, row in ordered[:taken]], [x for _, row in ordered[taken:] for x in row]


def _job(capture: Capture, launches: list[CapturedLaunch], hardware: Hardware | None) -> Job | Untuned:
    """Of the launches of one row, of which the first one stands for all."""
    launch = launches[0]
    functions = capture.functions()
    incomplete = launch.observed.get("incomplete")
    if incomplete is not None:
        return _untuned(f"{incomplete}: capture the program instead", functions, *launches)
    waits = reason_to_wait(launch, functions)
    if waits is not None:
        why = f"its programs may wait for one another ({waits}), and a config changes how many run at once"
        return _untuned(why, functions, *launches)
    reference = reference_of(capture.path, launch.digest)
    try:
        kernel = captured_kernel(reference)
    except ValueError as e:
        return _untuned(str(e), functions, *launches)
    if len(list(kernel.candidates(kernel.default_problem(), None))) < 2:  # type: ignore[arg-type]
        return _untuned("there is no config beside the owner's", functions, *launches)
    floor = launch.bytes / hardware.bandwidth * 1e3 if hardware and hardware.bandwidth > 0 else 0.0
    gain = sum(x.count * max(0.0, x.ms - floor) for x in launches if x.ms is not None)
    key = key_of_captured(launch, functions)
    return Job(launch, kernel, reference, key, gain, launches[1:], revision_of(launch, functions))


def _untuned(reason: str, functions: Mapping[str, Json], *launches: CapturedLaunch) -> Untuned:
    return Untuned(_title(*launches), reason, revision_of(launches[0], functions))


def _title(*launches: CapturedLaunch) -> str:
    first = launches[0]
    return f"{first.name} ({', '.join(x.digest[:8] for x in launches)})"
