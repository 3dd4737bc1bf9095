"""Judges a candidate that somebody else wrote, against a reference that somebody else wrote.

    1. The reference's process makes the model, its parameters and, for each trial, inputs and expected results.
    2. The candidate's process gets parameters and inputs as files of bytes and hands its results back as such.
    3. Trials: nominal inputs at the same and at other addresses, other parameters, inputs that nobody chose, nominal
       inputs again. The reference's process compares each result before the next trial.
    4. One more call shows which operators and kernels run.
    5. On a GPU both are timed in turns (``judge_clock.py``).

This process runs no code of either file.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evals.judge.guards import guards, what_could_be_faked
from evals.judge.operator_lists import names_of, repeats
from evals.judge.pair import Pair
from evals.judge.rooms import CandidateRoom, Failed, ReferenceRoom, Rooms
from evals.judge.verdict import Status, Verdict
from kernels.launches.domain import FIRST, KINDS
from memory.command_line.strict_commands import version_of

Json = dict[str, Any]
NOMINAL = (4, 8)
"""How many trials have nominal inputs before the rest, at least and at most. The number is drawn in secret."""
LAST = 3
"""Nominal trials at the end: a candidate that is right for as long as a checker is likely to look is caught here."""
LEAST_KINDS = 3
"""Fewer kinds of other inputs leave a candidate unproven."""
NO_TIME = "no time left"
CPU = "cpu"


@dataclass(frozen=True)
class Options:
    """What the command line sets."""

    device: str = CPU
    deadline_s: float = 120.0
    """Seconds for one call, the import among them."""
    max_seconds: float = 120.0
    """No further kind of other inputs is begun after so many seconds."""
    sandboxed: bool = True


def open_rooms(pair: Pair, options: Options) -> Rooms:
    """Start both processes of a judgement."""
    return Rooms(pair, options.device, options.deadline_s, options.sandboxed)


@dataclass
class Judging:
    pair: Pair
    options: Options
    verdict: Verdict = field(init=False)
    began: float = field(default_factory=time.monotonic)
    worst: float = 0.0
    traced: bool = False
    other_parameters: str = "it has no parameters"
    """Why no other parameters were tried; empty if they were."""

    def __post_init__(self) -> None:
        pair, options = self.pair, self.options
        on_cpu = options.device == CPU
        self.verdict = Verdict(
            status="correct",
            reference=pair.reference,
            candidate=pair.candidate,
            form=pair.title,
            workload=pair.workload,
            device="cpu, Triton kernels in its interpreter" if on_cpu else options.device,
            sandbox="both processes are shut in" if options.sandboxed else "off: both files run with your rights",
            not_timed="there is no GPU here, or none was asked for" if on_cpu else "the candidate is not right",
            notes=list(pair.notes),
            versions={"torch": version_of("torch"), "triton": version_of("triton")},
        )

    def run(self, started: Rooms | None = None) -> Verdict:
        """The verdict. `started`: its processes if they run already; they are ended. Raises EvalsError if the reference
        cannot be used."""
        with started or open_rooms(self.pair, self.options) as rooms:
            try:
                self._judge(rooms.reference, rooms.candidate)
            except Failed as e:
                self._fail(e.status, str(e))
        v = self.verdict
        v.guards = guards(
            not self.other_parameters,
            self.other_parameters,
            bool(v.tried),
            self.traced,
            self.options.sandboxed,
            v.timing is not None,
        )
        v.in_candidate_process = what_could_be_faked(v.timing is not None)
        v.seconds = round(time.monotonic() - self.began, 3)
        return v

    def _fail(self, status: Status, reason: str) -> None:
        self.verdict.status, self.verdict.reason = status, reason

    def _judge(self, reference: ReferenceRoom, candidate: CandidateRoom) -> None:
        opened = reference.open()
        if not opened["fresh"]:
            self.verdict.notes.append(
                "get_inputs gives the same values for every seed: other kinds of inputs vary them"
            )
        if opened["device_name"]:
            self.verdict.device = opened["device_name"]
        if opened["changes"]:
            self.verdict.notes.append(f"the reference itself changes its inputs {', '.join(opened['changes'])}")
        parameters = candidate.open(opened)
        self.verdict.parameters = _describe_parameters(parameters)
        for _ in range(secrets.choice(range(NOMINAL[0], NOMINAL[1] + 1))):
            self._trial(reference, candidate, "nominal")
        self._try_parameters(reference, candidate, opened, parameters)
        self._try_kinds(reference, candidate, opened["inputs"])
        for _ in range(LAST):
            self._trial(reference, candidate, "nominal")
        self._look_at_operators(reference, candidate)
        kinds = len([k for k in self.verdict.tried if k not in ("nominal", "other parameters")])
        if self.verdict.status == "correct" and opened["inputs"] and kinds < LEAST_KINDS:
            self._fail(
                "unproven", f"right on {kinds} kinds of inputs beside the nominal ones, and {self._why_no_more()}"
            )
        if self.verdict.status == "correct" and self.options.device != CPU:
            from evals.judge.judge_clock import time_in_turns

            self.verdict.timing, self.verdict.not_timed = time_in_turns(reference, candidate), None

    def _trial(self, reference: ReferenceRoom, candidate: CandidateRoom, kind: str) -> bool:
        """One trial; False if the reference does not take such inputs. Raises Failed."""
        drawn = reference.draw(kind)
        if drawn["blind"]:
            raise Failed("blind", f"the check is blind: {drawn['blind']}")
        if drawn["unfit"]:
            if kind in ("nominal", "other parameters"):
                raise Failed("blind", f"on its own inputs {drawn['unfit']}")
            self.verdict.left_out[kind] = drawn["unfit"]
            return False
        why = drawn["why_not_wide"]
        self.verdict.precision = f"in its own precision: {why}" if why else "in float64"
        where = "" if kind == "nominal" else f"with {kind}: " if kind.startswith("other") else f"on {kind} inputs: "
        try:
            ran = candidate.run(drawn, secrets.choice(("same", "other")))
        except Failed as e:
            raise Failed(e.status, f"{where}{e}") from e
        self._note_process(ran)
        found = reference.compare(ran["results"])
        self.verdict.trials += 1
        if found["reason"]:
            self.verdict.error, self.verdict.bound = found["error"], found["bound"]
            raise Failed("correctness", f"{where}{found['reason']}")
        share = found["error"] / found["bound"] if found["bound"] else 0.0
        if self.verdict.error is None or share > self.worst:
            self.worst, self.verdict.error, self.verdict.bound = share, found["error"], found["bound"]
        if kind not in self.verdict.tried:
            self.verdict.tried.append(kind)
        return True

    def _try_parameters(
        self, reference: ReferenceRoom, candidate: CandidateRoom, opened: Json, parameters: str
    ) -> None:
        if not opened["parameters"]:
            return
        if parameters != "copied":
            self.other_parameters = f"its state_dict does not fit the reference's ({parameters})"
            return
        self.other_parameters = ""
        candidate.load(reference.new_parameters())
        for _ in range(2):
            self._trial(reference, candidate, "other parameters")

    def _try_kinds(self, reference: ReferenceRoom, candidate: CandidateRoom, inputs: list[str]) -> None:
        for kind in _kinds(inputs):
            spent = time.monotonic() - self.began
            if spent > self.options.max_seconds:
                self.verdict.left_out[kind] = f"{NO_TIME} after {self.options.max_seconds:g} s (--max-seconds)"
                continue
            self._trial(reference, candidate, kind)

    def _look_at_operators(self, reference: ReferenceRoom, candidate: CandidateRoom) -> None:
        try:
            seen = candidate.trace()
        except Failed as e:
            self.verdict.notes.append(f"its operators could not be listed: {e}")
            return
        wanted = reference.trace()
        self.traced = True
        self.verdict.operators, self.verdict.kernels = names_of(seen["operators"]), seen["kernels"]
        if repeats(wanted, seen["operators"]):
            again = ", ".join(names_of(wanted))
            self._fail("copy", f"it runs all of the reference's operators again, in order, at their shapes ({again})")

    def _why_no_more(self) -> str:
        reasons = self.verdict.left_out.values()
        if any(r.startswith(NO_TIME) for r in reasons):
            return f"for more there was no time in {self.options.max_seconds:g} s (--max-seconds)"
        return "the reference takes no more" if reasons else "there are no more"

    def _note_process(self, ran: Json) -> None:
        """What a call did to its process, once."""
        notes = [f"it changes PyTorch's flags in its process: {flag}" for flag in ran["flags"]]
        if ran["threads"] > 0:
            notes.append("it leaves threads running")
        self.verdict.notes += [n for n in notes if n not in self.verdict.notes]


def _kinds(inputs: list[str]) -> Iterator[str]:
    """Kinds of other inputs, in the order in which they are tried; none without an input of floating point."""
    if not inputs:
        return
    yield from KINDS[:FIRST]
    if len(inputs) > 1:
        yield from (f"other values of input {path}" for path in inputs)
    yield from KINDS[FIRST:]


def _describe_parameters(found: str) -> str:
    if found == "copied":
        return "copied by state_dict"
    if found == "none":
        return "none"
    return f"made from the same seed, because the state_dicts differ: {found}"
