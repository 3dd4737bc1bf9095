"""The outcome of a run, rendered from what the harness recorded and never from a model's words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from agent.failures import Failures
from agent.goal.objective import Objective, Setting
from agent.goal.target_verdict import TargetResult, judge_targets
from agent.models.base import CLIENT, EMBEDDED, Message, ToolSchema, done_calls
from agent.result_use import describe_use
from agent.verdict.earlier_proof import Earlier, better_proof
from agent.verdict.judgement import EVERY_CODE, FIRST_BASELINE
from agent.verdict.speedup import Speedup
from agent.verdict.tried import choose, judge_one, judge_tried
from agent.verdict.unmeasured_variants import describe_unmeasured
from memory.proofs.rule import OWN, Judged, Word, judge_rows
from memory.terms import count_of

SHOWN_NAME, SHOWN_KERNELS = 60, 4
"""Characters of a GPU kernel's name, and number of them, that the report shows of a baseline."""
SHOWN_PARAMETERS = 6
"""Number of parameters, and pairs of them, whose effects the report names."""
EFFECTS_MEAN = "what each alone loses near the best, a x b: how far the effect of one depends on the other"


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
    proof_seconds: float = 0.0
    """Of these, from the end of the search on: finalists are compared and have their final sittings."""
    proven: bool
    """Faster than every equivalent baseline that counts, each by its whole interval."""
    verdict: Word | None = None
    """``None`` for a run that was judged over its first baseline alone, by an earlier version."""
    against: str | None = None
    """The baseline that decided: the strongest one of a win, else the one that was not beaten."""
    why: str
    """What the verdict rests on, or what it lacks."""
    earlier: Earlier | None = None
    """The best proof of an earlier run, if this run's is worse."""
    targets: list[TargetResult] = Field(default_factory=list)
    """The goal's targets, judged; a win that misses them stays proven."""
    notices: list[str] = Field(default_factory=list)
    """What the user should know of how the goal was read."""
    stopped: str
    """Why the search ended."""
    how: str
    """How the final sitting was made."""
    survived: list[str] = Field(default_factory=list)
    """Kinds of inputs and shapes beside the nominal ones on which the config was right in the final sitting."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Kinds on which it was not tried, and why."""
    by_float64: dict[str, str] = Field(default_factory=dict)
    """Kinds on which it differs from the owner's launch and is no further from float64: the numbers."""
    bits: Literal["same", "differ"] | None = None
    """Whether the config's results are those of the owner's launch (the kernel's default config), bit by bit; ``None``
    if they were not compared."""
    bits_why: str = ""
    """In what they differ, or why they were not compared."""
    level: list[dict[str, Any]] = Field(default_factory=list)
    """The configs within noise of the fastest one, that one included, in the order in which they are tried."""
    infrastructure: bool
    """No proof could be made, because our own machinery failed: no config is to blame."""
    wrong: list[dict[str, Any]] = Field(default_factory=list)
    """Configs whose results were wrong: ``config`` and ``reason``."""
    unmeasured: list[str] = Field(default_factory=list)
    """Hashes of the variants that were made on a GPU and not measured."""
    effects: dict[str, float] = Field(default_factory=dict)
    """Parameter, or two as ``a x b`` → what it changes near the best, relative to the time, largest first
    (:mod:`tools.planner.parameter_effects`); empty where the planner was not asked or had too few measurements."""
    importance: dict[str, float] = Field(default_factory=dict)
    """Of a run by an earlier version: parameter → share of the predicted variation of log(ms) over the space that it
    explains alone."""
    trace: str

    @classmethod
    def of_trace(cls, row: dict[str, Any]) -> Self:
        """The outcome that a trace ends with, as it is shown and printed."""
        outcome = cls.model_validate(row)
        return outcome.model_copy(update={"stopped": describe_stop(outcome)})

    @property
    def satisfied(self) -> bool:
        """Whether the win is proven and every target was reached: exit code 0."""
        return self.proven and all(target.met for target in self.targets)

    def judge_again(self) -> Judged:
        """The verdict by today's rule, whatever the rule of the run was."""
        energy = self.best is not None and self.best.energy_value is not None
        rows = [row.model_dump() for row in self.baselines] if self.best is not None else []
        return judge_rows(rows, energy, self.objective.get("against") or ())

    def headline(self) -> str:
        """One line: whether the win is proven, on what grounds, and which targets were missed."""
        missed = [target.describe() for target in self.targets if not target.met]
        tail = f"; target {'; target '.join(missed)}" if missed else ""
        rule = " (no other baseline was judged)" if self.verdict is None and self.proven else ""
        return f"{'PROVEN' if self.proven else 'NOT PROVEN'}: {self.why}{rule}{tail}"


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
    proof_seconds: float = 0.0,
    cost: float = 0.0,
    takeover: str = "",
    evaluations_left: int = 0,
    effects: dict[str, float] | None = None,
    importance: dict[str, float] | None = None,
    earlier: dict[str, Any] | None = None,
    rule: int = EVERY_CODE,
    failures: Failures = Failures(),  # noqa: B008 -- frozen
    level: Sequence[dict[str, Any]] = (),
    unmeasured: Sequence[str] = (),
) -> Outcome:
    """`proofs` are those tried, in order. `earlier` is the best proof of other runs. `rule` is that of the run.
    `failures`: what configs failed with. `level`: the configs within noise of the fastest.
    `unmeasured`: variants that were made and not measured."""
    tried = judge_tried(proofs, setting.energy, objective.against, rule)
    chosen = choose(tried)
    proof, baselines, judged = chosen or (None, [], judge_one(proofs, [], setting.energy, objective.against, rule))
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
        proof_seconds=round(proof_seconds, 1),
        proven=judged.proven,
        verdict=None if rule == FIRST_BASELINE else judged.verdict,
        against=None if rule == FIRST_BASELINE else judged.against,
        why=failures.headline if failures.headline and not proofs else judged.why,
        earlier=better_proof(earlier, judged, baselines, setting.energy),
        targets=judge_targets(objective.targets, setting, proof, baselines),
        notices=list(objective.notices),
        stopped=stop,
        how=proof["how"] if proof else "",
        survived=proof.get("survived", []) if proof else [],
        left_out=proof.get("left_out", {}) if proof else {},
        by_float64=proof.get("by_float64", {}) if proof else {},
        bits=proof.get("bits") if proof else None,
        bits_why=proof.get("bits_why", "") if proof else "",
        level=list(level),
        infrastructure=all(p["status"] == "infrastructure" for p in proofs) if proofs else failures.infrastructure,
        wrong=list(failures.wrong),
        unmeasured=list(unmeasured) if setting.device.get("kind") == "live" else [],
        effects=effects or {},
        importance=importance or {},
        trace=trace,
    )


def priced_in(objective: Objective) -> bool:
    """Whether the cost of the model's tokens is known. It is known to be 0 if this run buys no tokens."""
    return objective.price is not None or objective.model in (EMBEDDED, CLIENT)


def effects_in(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> dict[str, float]:
    """The effects of the parameters, measured or predicted, by the latest proposals that state them, largest first;
    empty if none do."""
    found = _latest(messages, tools, "effects")
    together = [effect for kind in ("measured", "predicted") for effect in found.get(kind, {}).items()]
    return dict(sorted(together, key=lambda effect: -effect[1]))


def importance_in(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> dict[str, float]:
    """The importance of the parameters by the latest proposals of an earlier version."""
    return _latest(messages, tools, "importance")


def _latest(messages: Sequence[Message], tools: Sequence[ToolSchema], name: str) -> dict[str, Any]:
    asked = [call.result for call in done_calls(messages, tools) if call.declared.returns == "proposals"]
    return next((result[name] for result in reversed(asked) if result.get(name)), {})


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
        outcome.headline(),
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
            floor = setting.floor_ms or best.ms
            rate = "" if setting.metric == "latency" else f" = {setting.value(floor):.4g} {setting.unit}"
            lines.append(
                f"roofline   {best.share_of_roofline:.1%}: {setting.describe_peaks()} allow {floor:.4f} ms{rate}{bound}"
            )
        lines.append(f"sitting    {outcome.how}")
        if outcome.bits == "same":
            lines.append("bits       same as those of the owner's launch")
        elif outcome.bits == "differ":
            lines.append(f"bits       differ from those of the owner's launch: {outcome.bits_why}")
    left = f" ({outcome.evaluations_left} left)" if outcome.evaluations_left else ""
    evaluations, turns = count_of(outcome.evaluations, "evaluation"), count_of(outcome.turns, "turn")
    spent = f"{evaluations}{left}, {turns}, {outcome.seconds:.0f} s"
    if outcome.tokens:
        unknown = f", cost unknown (no price of {outcome.objective['model']})"
        spent += f", {outcome.tokens} tokens"
        spent += unknown if outcome.cost is None else f", ${outcome.cost:.4f}" if outcome.cost else ""
    lines.append(f"search     {spent}; ended because {outcome.stopped}")
    if outcome.earlier is not None:
        lines.append(f"better     {outcome.earlier.describe()}")
    if outcome.effects:
        lines.append(f"effects    {list_shares(outcome.effects)}: {EFFECTS_MEAN}")
    if outcome.importance:
        told = list_shares(outcome.importance)
        lines.append(f"importance {told}: how much of the differences in predicted time each explains alone")
    lines += [f"target     {target.describe()}" for target in outcome.targets]
    lines += [f"note       {notice}" for notice in outcome.notices]
    if outcome.unmeasured:
        lines.append(f"note       {describe_unmeasured(outcome.unmeasured, outcome.stopped)}")
    if outcome.best is not None:
        lines += describe_use(setting.kernel, outcome.best.config, outcome.run, outcome.trace)
    lines.append(f"trace      {outcome.trace}")
    lines.append(f"replay     {replay}")
    return "\n".join(lines)


def describe_stop(outcome: Outcome) -> str:
    """Why the search ended. A trace calls whoever decides a model; here only a language model or a client is one."""
    if outcome.objective.get("model") == EMBEDDED:
        allowed = outcome.objective.get("limits", {}).get("max_evals", 0)  # older outcomes lack what was left
        left = outcome.evaluations_left or outcome.evaluations < allowed
        over = "the planner found nothing more worth measuring" if left else "the budget is used up"
        return outcome.stopped.replace("the model concluded", over)
    return outcome.stopped


def list_shares(found: dict[str, float]) -> str:
    """The parameters with at least 1 % each, such as ``BLOCK_N 41%, family 22%``."""
    shares = [f"{name} {share:.0%}" for name, share in found.items() if share >= 0.01]
    return ", ".join(shares[:SHOWN_PARAMETERS]) or "no parameter by itself"


def energy_lines(outcome: Outcome, setting: Setting) -> list[str]:
    """Joules per launch, and the best per joule beside the best per second, for a goal of energy."""
    best = outcome.best
    if best is None or best.joules is None or setting.energy is None:
        return []
    interval = f" [{1e3 * best.ci_joules[0]:.2f}, {1e3 * best.ci_joules[1]:.2f}]" if best.ci_joules else ""
    rate = "" if setting.energy == "joules" else f", {best.energy_value:.4f} {setting.energy_unit}"
    lines = [f"energy     {1e3 * best.joules:.2f} mJ per launch{interval}{rate}"]
    fastest = next((row for row in outcome.baselines if row.name == OWN), None)
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
        if row.choice is not None and len(row.choices) > 1:
            times = ", ".join(f"{name} {ms:.4f} ms" for name, ms in row.choices.items())
            lines.append(f"           fastest of {len(row.choices)} preparations: {row.choice} ({times})")
        if row.ran:
            lines.append(f"           ran {', '.join(name[:SHOWN_NAME] for name in row.ran[:SHOWN_KERNELS])}")
    return lines


def replay_command(trace: str) -> str:
    return f"python -m agent replay {shlex.quote(trace)}"
