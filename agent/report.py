"""The outcome of a run, rendered from what the harness recorded and never from a model's words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from agent.objective import Objective, Setting

if TYPE_CHECKING:
    from agent.hands import Left


class Best(BaseModel):
    """The config of the final sitting; its times are from there."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    ms: float
    ci_ms: tuple[float, float] | None
    tflops: float
    value: float
    """In the metric's unit."""
    share_of_roofline: float | None
    """The roofline's least time over `ms`; ``None`` without hardware facts."""


class BaselineResult(BaseModel):
    """The best config against one baseline, timed interleaved."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    equivalent: bool
    """False where the baseline computes less: a ceiling, not a rival."""
    ms: float | None
    speedup: float | None
    ci: tuple[float, float] | None
    missing: str | None


class Outcome(BaseModel):
    """What ``--json`` prints."""

    model_config = ConfigDict(extra="forbid")

    run: str
    objective: dict[str, Any]
    problem: str
    device: dict[str, Any]
    best: Best | None
    baselines: list[BaselineResult]
    evaluations: int
    turns: int
    tokens: int
    cost: float = 0.0
    """US dollars for the model, as far as its price is known."""
    takeover: str = ""
    """Why the embedded planner took over from the model; empty where it did not."""
    seconds: float
    proven: bool
    why: str
    """What the verdict rests on, or what it lacks."""
    stopped: str
    """Why the search ended."""
    how: str
    """How the final sitting was made."""
    infrastructure: bool
    """No proof could be made, because our own machinery failed."""
    trace: str


def outcome_of(
    objective: Objective,
    setting: Setting,
    proofs: Sequence[dict[str, Any]],
    *,
    run_id: str,
    trace: str,
    stop: str,
    left: Left,
    tokens: int,
    turns: int,
    seconds: float,
    cost: float = 0.0,
    takeover: str = "",
) -> Outcome:
    """`proofs` are those tried, in order; the last one is the only one that can be correct."""
    proof = proofs[-1] if proofs and proofs[-1]["status"] == "correct" and proofs[-1]["ms"] else None
    baselines = [
        BaselineResult.model_validate({name: row[name] for name in BaselineResult.model_fields})
        for row in (proof["comparisons"] if proof else ())
    ]
    proven, why = judge(proofs, baselines)
    return Outcome(
        run=run_id,
        objective=objective.model_dump(mode="json"),
        problem=f"{setting.kernel} {setting.label}",
        device=setting.device,
        best=best_of(setting, proof) if proof else None,
        baselines=baselines,
        evaluations=left.used,
        turns=turns,
        tokens=tokens,
        cost=round(cost, 6),
        takeover=takeover,
        seconds=round(seconds, 1),
        proven=proven,
        why=why,
        stopped=stop,
        how=proof["how"] if proof else "",
        infrastructure=bool(proofs) and all(p["status"] == "infrastructure" for p in proofs),
        trace=trace,
    )


def judge(proofs: Sequence[dict[str, Any]], baselines: Sequence[BaselineResult]) -> tuple[bool, str]:
    """Whether the win is proven: the interval of the speed-up over the first baseline that computes the same lies above
    1. That baseline is PyTorch's eager way by the kernels' contract; none other may stand in for it."""
    failed = [f"{p['status']}: {p['reason']}".rstrip(": ") for p in proofs if p["status"] != "correct"]
    if not proofs:
        return False, "no config was measured correctly"
    if len(failed) == len(proofs):
        return False, f"no finalist passed the final sitting ({'; '.join(failed)})"
    rival = next((row for row in baselines if row.equivalent), None)
    if rival is None or rival.speedup is None or rival.ci is None:
        missing = rival.missing if rival else None
        return False, f"the baseline could not be timed{f': {missing}' if missing else ''}"
    low, high = rival.ci
    interval = f"{rival.speedup:.3f}x [{low:.3f}, {high:.3f}] over {rival.name}"
    if low > 1:
        return True, f"{interval}: the interval lies above 1"
    return False, f"{interval}: the interval does not lie above 1"


def best_of(setting: Setting, proof: dict[str, Any]) -> Best:
    ms = proof["ms"]
    return Best(
        config=proof["config"],
        ms=ms,
        ci_ms=proof["ci_ms"],
        tflops=setting.tflops(ms),
        value=setting.value(ms),
        share_of_roofline=setting.floor_ms / ms if setting.floor_ms else None,
    )


def render(outcome: Outcome, setting: Setting, replay: str) -> str:
    """The lines a person sees last. `replay` is the command that runs the trace again."""
    lines = [
        f"{'PROVEN' if outcome.proven else 'NOT PROVEN'}: {outcome.why}",
        f"problem    {outcome.problem} ({setting.regime})",
        f"device     {setting.where()}",
    ]
    if outcome.best is not None:
        best = outcome.best
        lines.append("best       " + " ".join(f"{key}={value}" for key, value in best.config.items()))
        interval = f" [{best.ci_ms[0]:.4f}, {best.ci_ms[1]:.4f}]" if best.ci_ms else ""
        rate = "" if setting.metric == "latency" else f", {best.value:.1f} {setting.unit}"
        lines.append(f"time       {best.ms:.4f} ms{interval}{rate}")
        lines += ["", *table(outcome.baselines), ""]
        if best.share_of_roofline is not None:
            bound = f", {setting.bound} bound" if setting.bound else ""
            lines.append(
                f"roofline   {best.share_of_roofline:.1%} of the {setting.hardware} datasheet's "
                f"{setting.value(setting.floor_ms or best.ms):.4g} {setting.unit}{bound}"
            )
        lines.append(f"sitting    {outcome.how}")
    spent = f"{outcome.evaluations} evaluations, {outcome.turns} turns, {outcome.seconds:.0f} s"
    if outcome.tokens:
        spent += f", {outcome.tokens} tokens" + (f", ${outcome.cost:.4f}" if outcome.cost else "")
    lines.append(f"search     {spent}; ended because {outcome.stopped}")
    lines.append(f"trace      {outcome.trace}")
    lines.append(f"replay     {replay}")
    return "\n".join(lines)


def table(baselines: Sequence[BaselineResult]) -> list[str]:
    """Speed-up over each baseline, one a line."""
    lines = []
    for row in baselines:
        what = row.title if row.equivalent else f"{row.title} (computes less: a ceiling)"
        if row.speedup is None or row.ci is None or row.ms is None:
            lines.append(f"           not timed                 {what}: {row.missing or 'no reading'}")
            continue
        interval = f"[{row.ci[0]:.3f}, {row.ci[1]:.3f}]"
        lines.append(f"  {row.speedup:.3f}x {interval} over {row.ms:.4f} ms  {row.name}: {what}")
    return lines


def replay_command(trace: str) -> str:
    return f"python -m agent replay {shlex.quote(trace)}"
