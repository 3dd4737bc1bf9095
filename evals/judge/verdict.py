"""What the judge finds out about one candidate, and how it is printed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal[
    "correct", "correctness", "copy", "unproven", "blind", "runtime", "needs_gpu", "timeout", "crashed", "forged",
    "clock", "implausible", "infrastructure",
]  # fmt: skip
MEANINGS: dict[Status, str] = {
    "correct": "right on every trial",
    "correctness": "a wrong result, or a write that the reference does not make",
    "copy": "right, but it runs every operator of the reference again",
    "unproven": "right, but on fewer than three kinds of other inputs: the reference takes no more",
    "blind": "the problem cannot be judged: its check would accept zeros, rubbish or half a result",
    "runtime": "the candidate raised an error",
    "needs_gpu": "the candidate needs a GPU, and there is none here",
    "timeout": "a call took longer than the deadline",
    "crashed": "the candidate's process ended",
    "forged": "an answer that the judge's own code did not write",
    "clock": "the candidate's events and the judge's clock disagree",
    "implausible": "faster than the card can write the result",
    "infrastructure": "the judge itself failed: no verdict on the candidate",
}


class Guard(BaseModel):
    """One thing that was watched."""

    guard: str
    against: str
    where: Literal["judge", "reference", "candidate"]
    """The process that watches. What the candidate's own process watches, a candidate could fake."""
    ran: bool
    note: str = ""


class Timing(BaseModel):
    """Times of one call in ms, both taken in turns on one GPU."""

    ms: float
    ci_ms: tuple[float, float]
    reference_ms: float
    speedup: float
    """The reference's time over the candidate's, by rounds."""
    ci: tuple[float, float]
    back_to_back_ms: float
    """One of many calls back to back, what the host does between them included."""
    reference_back_to_back_ms: float
    rounds: int
    verdict: Literal["faster", "slower", "no difference"]
    how: str


class Verdict(BaseModel):
    """One verdict. ``error`` and ``bound`` are those of the result that came nearest to its bound."""

    model_config = ConfigDict(extra="forbid")

    status: Status
    reason: str = ""
    reference: str
    candidate: str
    form: str
    workload: str | None = None
    device: str
    sandbox: str
    error: float | None = None
    bound: float | None = None
    trials: int = 0
    tried: list[str] = Field(default_factory=list)
    left_out: dict[str, str] = Field(default_factory=dict)
    precision: str = ""
    """In what precision the reference was computed."""
    parameters: str = ""
    operators: list[str] = Field(default_factory=list)
    """PyTorch's operators that the candidate runs."""
    kernels: list[str] = Field(default_factory=list)
    """Triton kernels that it launches."""
    guards: list[Guard] = Field(default_factory=list)
    in_candidate_process: list[str] = Field(default_factory=list)
    timing: Timing | None = None
    not_timed: str | None = None
    notes: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0


def exit_code(verdicts: list[Verdict]) -> int:
    """0 if all are correct, 1 if the judge failed, 3 for any other."""
    if any(v.status == "infrastructure" for v in verdicts):
        return 1
    return 0 if all(v.status == "correct" for v in verdicts) else 3


def render(v: Verdict) -> str:
    """A verdict as lines of text."""
    workload = f", workload {v.workload}" if v.workload else ""
    rows: list[tuple[str, Any]] = [
        ("candidate", f"{v.candidate} against {v.reference} ({v.form}{workload})"),
        ("verdict", f"{v.status}: {v.reason or MEANINGS[v.status]}"),
        ("error", None if v.error is None else f"{v.error:.3g} of {v.bound:.3g} that are allowed, by scale"),
        ("reference", v.precision),
        ("tried", f"{v.trials} trials: {', '.join(v.tried)}" if v.tried else None),
        *(("left out", f"{kind}: {why}") for kind, why in v.left_out.items()),
        ("parameters", v.parameters),
        ("kernels", ", ".join(v.kernels) or "none of its own in Triton" if v.operators or v.kernels else None),
        ("operators", ", ".join(v.operators)),
        ("device", v.device),
        ("sandbox", v.sandbox),
        ("time", _time(v)),
        *(("note", n) for n in v.notes),
    ]
    lines = [f"{name:<12}{text}" for name, text in rows if text]
    lines += [f"{'guard':<12}{'' if g.ran else 'did not run: '}{g.guard}, by the {g.where}'s process" for g in v.guards]
    lines += [f"{'could fake':<12}{line}" for line in v.in_candidate_process]
    return "\n".join(lines)


def _time(v: Verdict) -> str:
    t = v.timing
    if t is None:
        return f"not timed: {v.not_timed}" if v.not_timed else ""
    return (
        f"{t.verdict}: {t.ms:.5g} ms, the reference {t.reference_ms:.5g} ms, {t.speedup:.3f}× "
        f"[{t.ci[0]:.3f}, {t.ci[1]:.3f}]; back to back {t.back_to_back_ms:.5g} ms and "
        f"{t.reference_back_to_back_ms:.5g} ms ({t.how})"
    )
