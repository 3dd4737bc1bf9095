"""The actions of the loop, by a live session or by the answers of a trace. Arguments and answers are plain JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import ValidationError

from agent.errors import AgentError, UsageError
from agent.goal.objective import Setting
from agent.models.base import ToolSchema
from agent.models.schema import closed_schema, restrict_values
from agent.trace.trace import JSON, Event
from kernels.hardware import Hardware
from kernels.spec import Config
from tools.harness.measuring.floor import floor_ms, has_floor

if TYPE_CHECKING:
    from tools.session.session import Session

Verdict = Literal["proven", "unproven", "error", "stopped"]
"""How a run ended, in memory's words."""
AFTER_DEFAULT = "after_default"
"""Of the decision on the finalists: what is left, if the default config was measured after the search."""


@dataclass(frozen=True)
class Left:
    """What is left of the harness's budget."""

    evaluations: int
    """What whoever decides may still spend."""
    used: int
    """Evaluations spent so far."""
    seconds: float
    reserve: int = 0
    """Evaluations that are kept for the embedded planner."""


class Actions(Protocol):
    """Everything that a run can do on a device and in memory."""

    setting: Setting
    tools: list[ToolSchema]

    def left(self) -> Left: ...

    def call(self, call_id: str, name: str, arguments: JSON) -> JSON:
        """A tool's answer; wrong arguments are an answer with ``error``."""
        ...

    def approve(self, key: str, batches: list[JSON]) -> JSON:
        """What a person says to batches that would run on the device: ``{"answers": {call id: {"verdict": "yes", "no"
        or "edit", "arguments"}}}``."""
        ...

    def excuse(self, seconds: float) -> None:
        """Do not count these seconds: a person or a language model was being waited for."""
        ...

    def release_reserve(self) -> None:
        """Give what is kept for the planner to whoever decides. Later calls do nothing."""
        ...

    def decline(self, configs: Sequence[JSON]) -> None:
        """Do not propose these configs: the user did not let them run. Repeating it does nothing."""
        ...

    def finalists(self, limit: int) -> JSON:
        """``finalists``: the fastest verified configs of this run, best first, and ``close``: how many of them lie
        within noise of the best; ``after_default``: what is left, if the default config had to be measured first."""
        ...

    def anything_to_prove(self) -> bool:
        """Whether there are finalists, found out without timing any."""
        ...

    def prove(self, key: str, config: JSON) -> JSON:
        """A ``Proof``: the config timed interleaved with every baseline."""
        ...

    def earlier_proof(self, against: Sequence[str]) -> JSON | None:
        """The best proof that other runs made of this problem in this environment, judged over the baselines `against`
        (all, if there are none)."""
        ...

    def inherit(self, events: Sequence[Event]) -> None:
        """Know what these events' tool results say, without doing it again: the steps that a fork has in common with
        its parent."""
        ...

    def finish(self, verdict: Verdict, summary: JSON) -> None:
        """Close the run's row in memory."""
        ...

    def close(self) -> None: ...


class LiveActions:
    """The tools of ``tools.registry`` on an open session."""

    def __init__(self, session: Session) -> None:
        from tools.registry import ToolError, tools_for
        from tools.session.space_description import (
            count_combinations,
            describe_families,
            describe_fields,
            describe_rules,
        )

        self._session = session
        try:
            self._tools = tools_for(session)
        except ToolError as e:
            session.close()
            raise UsageError(f"{e}.") from e
        task = session.task
        # Variants come and go while a run goes on, and other runs leave theirs: a run that is resumed is told of the
        # same space as at first, and no list of values shuts the next variant out.
        space = [c for c in session.space if not getattr(c, "edit", "")]
        known = bool(task.hardware.peak)  # of a kernel and a GPU that nothing is known of, nothing is stated
        limited = has_floor(task.spec, task.problem, task.hardware)
        floor, bound = floor_ms(task.spec, task.problem, task.hardware) if limited else (None, None)
        recorded = (
            session.device.info.kind == "recorded"
        )  # a GPU's own ceilings take seconds: they wait until asked for
        self.setting = Setting(
            kernel=task.spec.name,
            problem=task.problem.model_dump(mode="json"),
            label=task.problem.label(),
            metric=task.metric,
            unit=task.unit,
            regime=task.regime,
            energy=task.energy,
            energy_unit=task.energy_unit,
            flops=task.spec.flops(task.problem),
            bytes=task.spec.bytes(task.problem),
            floor_ms=floor,
            bound=bound,
            hardware=task.hardware.name,
            device=session.device.info.model_dump(mode="json"),
            facts=(facts_of(task.hardware, task.problem.dtype) if known else {})
            | ({"gpus": session.gpus} if session.gpus > 1 else {})
            | ({"compiles_at_once": batch} if (batch := session.batch) else {})
            | ({"measured_ceilings": in_units(found)} if recorded and (found := session.ceilings()) else {}),
            baseline_ms=list_baselines(session),
            space=values_in(space),
            space_size=len(space),
            combinations=count_combinations(space),
            space_words={
                "fields": describe_fields(task.spec.config_type, space),
                "families": describe_families(space),
                "static_rules_by_example": describe_rules(task.spec, task.problem, task.hardware, space),
            },
        )
        self.tools = [
            ToolSchema(
                tool.name,
                tool.description,
                restrict_values(closed_schema(tool.arguments.model_json_schema()), self.setting.space),
                tool.declared,
            )
            for tool in self._tools.values()
        ]

    def left(self) -> Left:
        budget = self._session.budget
        return Left(budget.evals_left(), budget.evals, budget.seconds_left(), budget.reserve)

    def call(self, call_id: str, name: str, arguments: JSON) -> JSON:
        if self._session.budget.seconds_left() <= 0:
            return {"error": "budget", "limit": "seconds", "why": "the run's time is used up; nothing more is run"}
        tool = self._tools[name]
        answer: JSON = plain(tool.call(self._session, arguments, call_id))
        if tool.declared.spends_evaluations and self._session.best() is not None:
            self._session.expect_proof()
        return answer

    def approve(self, key: str, batches: list[JSON]) -> JSON:
        from langgraph.types import interrupt

        answers: JSON = interrupt({"key": key, "batches": batches})
        return answers

    def excuse(self, seconds: float) -> None:
        self._session.budget.started += seconds

    def release_reserve(self) -> None:
        self._session.budget.release_reserve()

    def decline(self, configs: Sequence[JSON]) -> None:
        for values in configs:
            try:
                self._session.declined.add(self._session.config(values))
            except ValidationError:
                continue  # it never was a config

    def finalists(self, limit: int) -> JSON:
        default = self._session.measure_default()
        found, close = self._session.finalists(limit)
        chosen: JSON = {"finalists": [config.model_dump(mode="json") for config in found], "close": close}
        return {**chosen, AFTER_DEFAULT: asdict(self.left())} if default else chosen

    def anything_to_prove(self) -> bool:
        return self._session.best() is not None

    def prove(self, key: str, config: JSON) -> JSON:
        proof: JSON = plain(self._session.prove(self._session.config(config)).model_dump(mode="json"))
        return proof

    def earlier_proof(self, against: Sequence[str]) -> JSON | None:
        found = self._session.earlier_proof(against)
        return None if found is None else plain(asdict(found))

    def inherit(self, events: Sequence[Event]) -> None:
        from agent.loop.inherit import inherit

        inherit(self._session, events)

    def finish(self, verdict: Verdict, summary: JSON) -> None:
        self._session.memory.finish_run(self._session.run_id, verdict, plain(summary))

    def close(self) -> None:
        self._session.close()


def in_units(ceilings: dict[str, float]) -> dict[str, float]:
    """Measured rates as a model reads them."""
    names = {"copy_bytes_per_s": "copy_tb_per_s", "matmul_flops_per_s": "matmul_tflops"}
    return {names.get(name, name): float(f"{rate / 1e12:.4g}") for name, rate in ceilings.items()}


def list_baselines(session: Session) -> dict[str, float | None]:
    """What there is to beat, and its time if that is known. Where times are known, a baseline without one did not
    run."""
    times = session.baseline_times()
    found = {}
    for baseline in session.task.spec.baselines(session.task.problem):
        name = baseline.name if baseline.equivalent else f"{baseline.name} (computes less)"
        if not times or baseline.name in times:
            found[name] = times.get(baseline.name)
    return found


def facts_of(hardware: Hardware, dtype: str) -> JSON:
    """A GPU's numbers as a model reads them, with the peak of `dtype` alone if it has one; ``origin`` if they are not a
    data sheet's."""
    peak = {dtype: hardware.peak[dtype]} if dtype in hardware.peak else hardware.peak
    return {
        "model": hardware.name,
        "arch": hardware.arch,
        "sms": hardware.sms,
        "registers_per_sm": hardware.registers_per_sm,
        "shared_bytes_per_block": hardware.shared_per_block,
        "shared_bytes_per_sm": hardware.shared_per_sm,
        "threads_per_sm": hardware.threads_per_sm,
        "l2_mib": hardware.l2_bytes // 2**20,
        "memory_tb_per_s": hardware.bandwidth / 1e12,
        "peak_tflops": {dtype: round(rate / 1e12, 1) for dtype, rate in peak.items()},
    } | ({"origin": hardware.describe_origin("bandwidth", "peak")} if hardware.origins else {})


def values_in(space: Sequence[Config]) -> dict[str, list[Any]]:
    """Config field → the values that occur, in the fields' order."""
    values: dict[str, dict[Any, None]] = {}
    for config in space:
        for name, value in config.model_dump(mode="json").items():
            values.setdefault(name, {})[value] = None
    return {name: sorted(found, key=lambda value: (str(type(value)), value)) for name, found in values.items()}


class RecordedActions:
    """Answers as a trace recorded them; an AgentError where it holds none, or one for other arguments."""

    def __init__(self, setting: Setting, tools: list[ToolSchema], events: Sequence[Event]) -> None:
        self.setting = setting
        self.tools = tools
        self._bodies = {(event.type, event.key): event.body for event in events}
        decisions = [event.body for event in events if event.type == "decision"]
        self._lefts = [body[name] for body in decisions for name in ("left", AFTER_DEFAULT) if name in body]
        self._turn = 0

    def left(self) -> Left:
        """As at each recorded decision in turn; at the end, as at the last one: proofs cost no evaluation."""
        self._turn = min(self._turn + 1, len(self._lefts))
        return Left(**self._lefts[self._turn - 1])

    def call(self, call_id: str, name: str, arguments: JSON) -> JSON:
        asked = self._find("tool_call", call_id)
        if (asked["name"], asked["arguments"]) != (name, arguments):
            raise AgentError(f"Replay differs at tool call {call_id}: recorded {asked}, now {name} {arguments}.")
        result: JSON = self._find("tool_result", call_id)["result"]
        return result

    def approve(self, key: str, batches: list[JSON]) -> JSON:
        return self._find("approval", key)

    def excuse(self, seconds: float) -> None:
        """Nobody is waited for."""

    def release_reserve(self) -> None:
        """What was left is in the trace."""

    def decline(self, configs: Sequence[JSON]) -> None:
        """What was proposed is in the trace."""

    def finalists(self, limit: int) -> JSON:
        found = self._find("decision", "finalists")
        return {name: found[name] for name in ("finalists", "close", AFTER_DEFAULT) if name in found}

    def anything_to_prove(self) -> bool:
        return bool(self.finalists(1)["finalists"])

    def prove(self, key: str, config: JSON) -> JSON:
        proof: JSON = self._find("verify", key)["proof"]
        return proof

    def earlier_proof(self, against: Sequence[str]) -> JSON | None:
        end = self._bodies.get(("end", "end"), {})
        found: JSON | None = end.get("earlier")
        return found

    def inherit(self, events: Sequence[Event]) -> None:
        """Everything is in the trace already."""

    def finish(self, verdict: Verdict, summary: JSON) -> None:
        """A replay leaves no row."""

    def close(self) -> None:
        """Nothing is open."""

    def _find(self, kind: str, key: str) -> JSON:
        try:
            return self._bodies[kind, key]
        except KeyError as e:
            raise AgentError(f"The trace has no {kind} {key}: the run went another way or was not finished.") from e


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: a number that is not finite becomes its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
