"""The outcome of a run, rendered from what the harness recorded and never from a model's words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agent.goal.objective import Objective, Setting
from agent.goal.target_verdict import TargetResult, judge_targets
from agent.models.base import CLIENT, EMBEDDED, Message, ToolSchema, done_calls

SHOWN_PARAMETERS = 6
"""Number of parameters that the report names as important."""


class Best(BaseModel):
    """The config of the final sitting; its times are from there."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    ms: float
    ci_ms: tuple[float, float] | None
    tflops: float
    value: float
    """In the metric's unit."""
    joules: float | None = None
    """Per launch, where the sitting read them."""
    ci_joules: tuple[float, float] | None = None
    energy_value: float | None = None
    """In the energy's unit, where the goal is energy."""
    share_of_roofline: float | None
    """The roofline's least time over `ms`; ``None`` without hardware facts."""


class Speedup(BaseModel):
    """The best config against one baseline, timed interleaved in one sitting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    equivalent: bool
    """False if the baseline computes less: a ceiling, not a rival."""
    ms: float | None
    """Time of the baseline; ``None`` if it could not be timed, which ``missing`` explains."""
    speedup: float | None
    """Time of the baseline over the config's."""
    ci: tuple[float, float] | None
    """95 % interval of ``speedup``."""
    missing: str | None
    joules: float | None = None
    """Of the baseline, per launch."""
    saving: float | None = None
    """Joules of the baseline over the config's."""
    saving_ci: tuple[float, float] | None = None
    """95 % interval of ``saving``."""

    @property
    def value(self) -> float | None:
        """``speedup``."""
        return self.speedup

    @property
    def low(self) -> float | None:
        """Lower end of ``ci``."""
        return self.ci[0] if self.ci else None

    @property
    def high(self) -> float | None:
        """Upper end of ``ci``."""
        return self.ci[1] if self.ci else None

    def __str__(self) -> str:
        if self.speedup is None or self.ci is None:
            return f"not timed against {self.name}: {self.missing or 'no reading'}"
        return f"{self.speedup:.3f}x [{self.ci[0]:.3f}, {self.ci[1]:.3f}] over {self.name}"

    @classmethod
    def of(cls, row: dict[str, Any]) -> Speedup:
        """From a ``Comparison``; a trace of before energy lacks its fields."""
        return cls.model_validate({name: row[name] for name in cls.model_fields if name in row})


class Outcome(BaseModel):
    """What ``--json`` prints."""

    model_config = ConfigDict(extra="forbid")

    run: str
    objective: dict[str, Any]
    problem: str
    device: dict[str, Any]
    best: Best | None
    baselines: list[Speedup]
    evaluations: int
    evaluations_left: int = 0
    """Of the budget, when the search ended."""
    turns: int
    tokens: int
    cost: float | None = 0.0
    """US dollars for the model; ``None`` if its price is unknown and the endpoint did not say."""
    takeover: str = ""
    """Why the embedded planner took over from the model; empty where it did not."""
    seconds: float
    proven: bool
    why: str
    """What the verdict rests on, or what it lacks."""
    targets: list[TargetResult] = Field(default_factory=list)
    """The goal's targets, judged; a win that misses them stays proven."""
    notices: list[str] = Field(default_factory=list)
    """What the user should know of how the goal was read."""
    stopped: str
    """Why the search ended."""
    how: str
    """How the final sitting was made."""
    infrastructure: bool
    """No proof could be made, because our own machinery failed."""
    importance: dict[str, float] = Field(default_factory=dict)
    """Parameter → share of the predicted variation of log(ms) over the space that it explains alone (first-order Sobol
    index), largest first; empty where the planner was not asked or had too few measurements."""
    trace: str

    @property
    def satisfied(self) -> bool:
        """Whether the win is proven and every target was reached: exit code 0."""
        return self.proven and all(target.met for target in self.targets)

    def verdict(self) -> str:
        """One line: whether the win is proven, on what grounds, and which targets were missed."""
        missed = [target.describe() for target in self.targets if not target.met]
        tail = f"; target {'; target '.join(missed)}" if missed else ""
        return f"{'PROVEN' if self.proven else 'NOT PROVEN'}: {self.why}{tail}"


def outcome_of(
    objective: Objective,
    setting: Setting,
    proofs: Sequence[dict[str, Any]],
    *,
    run_id: str,
    trace: str,
    stop: str,
    evaluations: int,
    tokens: int,
    turns: int,
    seconds: float,
    cost: float = 0.0,
    takeover: str = "",
    evaluations_left: int = 0,
    importance: dict[str, float] | None = None,
) -> Outcome:
    """`proofs` are those tried, in order; the last one is the only one that can be correct."""
    proof = proofs[-1] if proofs and proofs[-1]["status"] == "correct" and proofs[-1]["ms"] else None
    baselines = [Speedup.of(row) for row in (proof["comparisons"] if proof else ())]
    proven, why = judge(proofs, baselines, setting.energy)
    return Outcome(
        run=run_id,
        objective=objective.model_dump(mode="json"),
        problem=f"{setting.kernel} {setting.label}",
        device=setting.device,
        best=best_of(setting, proof) if proof else None,
        baselines=baselines,
        evaluations=evaluations,
        evaluations_left=evaluations_left,
        turns=turns,
        tokens=tokens,
        cost=round(cost, 6) if cost or priced_in(objective) or not tokens else None,
        takeover=takeover,
        seconds=round(seconds, 1),
        proven=proven,
        why=why,
        targets=judge_targets(objective.targets, setting, proof, baselines),
        notices=list(objective.notices),
        stopped=stop,
        how=proof["how"] if proof else "",
        infrastructure=bool(proofs) and all(p["status"] == "infrastructure" for p in proofs),
        importance=importance or {},
        trace=trace,
    )


def priced_in(objective: Objective) -> bool:
    """Whether it is known what the model's tokens cost: nothing where none are bought."""
    return objective.price is not None or objective.model in (EMBEDDED, CLIENT)


def importance_in(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> dict[str, float]:
    """The importance of the parameters by the latest proposals that state it; empty if none do."""
    asked = [call.result for call in done_calls(messages, tools) if call.declared.returns == "proposals"]
    return next((result["importance"] for result in reversed(asked) if result.get("importance")), {})


def judge(
    proofs: Sequence[dict[str, Any]], baselines: Sequence[Speedup], energy: str | None = None
) -> tuple[bool, str]:
    """Whether the win is proven: the interval of the speed-up (for a goal of energy, of the saving in joules) over the
    first baseline that computes the same lies above 1. That baseline is PyTorch's eager way by the kernels' contract;
    none other may stand in for it."""
    failed = [f"{p['status']}: {p['reason']}".rstrip(": ") for p in proofs if p["status"] != "correct"]
    if not proofs:
        return False, "no config was measured correctly"
    if len(failed) == len(proofs):
        return False, f"no finalist passed the final sitting ({'; '.join(failed)})"
    rival = next((row for row in baselines if row.equivalent), None)
    ratio, ci = (
        (None, None) if rival is None else (rival.saving, rival.saving_ci) if energy else (rival.speedup, rival.ci)
    )
    if rival is None or ratio is None or ci is None:
        missing = rival.missing if rival else None
        return False, f"the baseline could not be timed{f': {missing}' if missing else ''}"
    low, high = ci
    what = f"{rival.name}'s joules per launch over this config's" if energy else f"over {rival.name}"
    interval = f"{ratio:.3f}x [{low:.3f}, {high:.3f}] {what}"
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
        joules=proof.get("joules"),
        ci_joules=proof.get("ci_joules"),
        energy_value=setting.energy_value(joules) if setting.energy and (joules := proof.get("joules")) else None,
        share_of_roofline=setting.floor_ms / ms if setting.floor_ms else None,
    )


def render(outcome: Outcome, setting: Setting, replay: str) -> str:
    """The lines a person sees last. `replay` is the command that runs the trace again."""
    lines = [
        outcome.verdict(),
        f"problem    {outcome.problem} ({'sustained' if setting.energy else setting.regime})",
        f"device     {setting.where()}",
    ]
    if outcome.best is not None:
        best = outcome.best
        lines.append("best       " + " ".join(f"{key}={value}" for key, value in best.config.items()))
        interval = f" [{best.ci_ms[0]:.4f}, {best.ci_ms[1]:.4f}]" if best.ci_ms else ""
        rate = "" if setting.metric == "latency" else f", {best.value:.1f} {setting.unit}"
        lines.append(f"time       {best.ms:.4f} ms{interval}{rate}")
        lines += energy_lines(outcome, setting)
        lines += ["", *list_speedups(outcome.baselines), ""]
        if best.share_of_roofline is not None:
            bound = f", {setting.bound} bound" if setting.bound else ""
            lines.append(
                f"roofline   {best.share_of_roofline:.1%} of the {setting.hardware} datasheet's "
                f"{setting.value(setting.floor_ms or best.ms):.4g} {setting.unit}{bound}"
            )
        lines.append(f"sitting    {outcome.how}")
    left = f" ({outcome.evaluations_left} left)" if outcome.evaluations_left else ""
    spent = f"{outcome.evaluations} evaluations{left}, {outcome.turns} turns, {outcome.seconds:.0f} s"
    if outcome.tokens:
        unknown = f", cost unknown (no price of {outcome.objective['model']})"
        spent += f", {outcome.tokens} tokens"
        spent += unknown if outcome.cost is None else f", ${outcome.cost:.4f}" if outcome.cost else ""
    lines.append(f"search     {spent}; ended because {outcome.stopped}")
    if outcome.importance:
        lines.append(f"importance {list_important(outcome.importance)} (of the predicted variation, each alone)")
    lines += [f"target     {target.describe()}" for target in outcome.targets]
    lines += [f"note       {notice}" for notice in outcome.notices]
    lines.append(f"trace      {outcome.trace}")
    lines.append(f"replay     {replay}")
    return "\n".join(lines)


def list_important(importance: dict[str, float]) -> str:
    """The parameters that explain at least 1 % each, such as ``BLOCK_N 41%, family 22%``."""
    shares = [f"{name} {share:.0%}" for name, share in importance.items() if share >= 0.01]
    return ", ".join(shares[:SHOWN_PARAMETERS]) or "no parameter by itself"


def energy_lines(outcome: Outcome, setting: Setting) -> list[str]:
    """Joules per launch, and the best per joule beside the best per second, for a goal of energy."""
    best = outcome.best
    if best is None or best.joules is None or setting.energy is None:
        return []
    interval = f" [{1e3 * best.ci_joules[0]:.2f}, {1e3 * best.ci_joules[1]:.2f}]" if best.ci_joules else ""
    rate = "" if setting.energy == "joules" else f", {best.energy_value:.4f} {setting.energy_unit}"
    lines = [f"energy     {1e3 * best.joules:.2f} mJ per launch{interval}{rate}"]
    fastest = next((row for row in outcome.baselines if row.name == "fastest"), None)
    if fastest is None:
        return [*lines, "           the config of least energy is the fastest too"]
    if fastest.ms is None or fastest.joules is None:
        return lines
    return [*lines, f"           {fastest.title}: {fastest.ms:.4f} ms, {1e3 * fastest.joules:.2f} mJ per launch"]


def list_speedups(baselines: Sequence[Speedup]) -> list[str]:
    """Speed-up over each baseline, and its joules over the config's where they were read, one a line."""
    lines = []
    for row in baselines:
        what = row.title if row.equivalent else f"{row.title} (computes less: a ceiling)"
        if row.speedup is None or row.ci is None or row.ms is None:
            lines.append(f"           not timed                 {what}: {row.missing or 'no reading'}")
            continue
        interval = f"[{row.ci[0]:.3f}, {row.ci[1]:.3f}]"
        spent = ""
        if row.saving is not None and row.saving_ci is not None:
            spent = f", joules {row.saving:.3f}x [{row.saving_ci[0]:.3f}, {row.saving_ci[1]:.3f}]"
        lines.append(f"  {row.speedup:.3f}x {interval}{spent} over {row.ms:.4f} ms  {row.name}: {what}")
    return lines


def replay_command(trace: str) -> str:
    return f"python -m agent replay {shlex.quote(trace)}"
