"""Replays a trace with live tools: it takes the recorded decisions, runs the tools again here and compares the results.

The recorded model makes the same calls in the same loop. This machine's device compiles, checks, times and proves
again. The results go into the memory and into a new trace. The recorded winner is proven first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.errors import AgentError
from agent.export.reader import read_story
from agent.export.story import Attempt, Story, key, named
from agent.goal.objective import Objective, Setting
from agent.loop import progress, run
from agent.loop.actions import Actions, Left, Verdict
from agent.loop.progress import Watch
from agent.models import choose
from agent.models.base import Message, Reply, ToolSchema
from agent.models.trace_model import Recorded
from agent.replay.replay import contract, finished
from agent.trace.paths import trace_path
from agent.trace.trace import JSON, Event, Trace, read_trace
from agent.verdict.judgement import judge
from agent.verdict.speedup import Speedup

OPEN_COLD: run.OpenActions = partial(run.open_actions, warm=False)
"""Opens a session that measures again what other runs have measured, because the replay compares these results."""
LONG_S = 1e6
"""A time limit in seconds that the replay does not reach: the recorded decisions end the run."""


@dataclass(frozen=True)
class Drift:
    """One config in the recorded run (then) and in the replay (here). `ratio` is the time here divided by the time
    then, with a 95 % interval."""

    config: JSON
    then: str
    """Its status in the recorded run."""
    here: str
    """Its status in the replay."""
    then_ms: float | None
    here_ms: float | None
    ratio: float | None
    ci: tuple[float, float] | None


@dataclass(frozen=True)
class Remeasured:
    """The result of a replay with live tools."""

    then: Story
    here: Story
    rows: list[Drift]
    wins: bool
    """Whether the recorded winner is proven here too."""
    why: str
    trace: Path


class AnswersToTheEnd(Recorded):
    """A recorded model that ends the run at the turn at which its own run was stopped."""

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        if sum(message["role"] == "assistant" for message in messages) >= len(self._responses):
            return Reply({"role": "assistant", "content": "The recorded run was stopped here."}, usage=0)
        return super().respond(messages, tools, seconds, tokens)


class WinnerFirst:
    """Live actions, but the first finalist is the recorded winner and the approvals are the recorded ones."""

    def __init__(self, actions: Actions, winner: JSON, events: Sequence[Event]) -> None:
        self._actions, self._winner = actions, winner
        self._approvals = {event.key: event.body for event in events if event.type == "approval"}
        self.setting, self.tools = actions.setting, actions.tools

    def left(self) -> Left:
        return self._actions.left()

    def call(self, call_id: str, name: str, arguments: JSON) -> JSON:
        return self._actions.call(call_id, name, arguments)

    def approve(self, key: str, batches: list[JSON]) -> JSON:
        return self._approvals.get(key) or {"answers": {batch["id"]: {"verdict": "yes"} for batch in batches}}

    def release_reserve(self) -> None:
        self._actions.release_reserve()

    def decline(self, configs: Sequence[JSON]) -> None:
        self._actions.decline(configs)

    def excuse(self, seconds: float) -> None:
        self._actions.excuse(seconds)

    def finalists(self, limit: int) -> JSON:
        others = [config for config in self._actions.finalists(limit)["finalists"] if config != self._winner]
        return {"finalists": [self._winner, *others][:limit], "close": 1}

    def anything_to_prove(self) -> bool:
        return True

    def prove(self, key: str, config: JSON) -> JSON:
        return self._actions.prove(key, config)

    def earlier_proof(self, against: Sequence[str]) -> JSON | None:
        return self._actions.earlier_proof(against)

    def inherit(self, events: Sequence[Event]) -> None:
        self._actions.inherit(events)

    def finish(self, verdict: Verdict, summary: JSON) -> None:
        self._actions.finish(verdict, summary)

    def close(self) -> None:
        self._actions.close()


def remeasure(
    path: Path,
    watch: Watch,
    device: str = "auto",
    memory: Path | None = None,
    open_: run.OpenActions = OPEN_COLD,
) -> Remeasured:
    """Make the calls of a finished trace again on `device`.

    Raises AgentError if the trace was edited or has no winner."""
    record = finished(path)
    objective, setting, _ = contract(record)
    then = read_story(record)
    if then.outcome is None or then.outcome.best is None:
        raise AgentError(f"{path} ended without a winner, so there is no config to measure again.")
    responses = [event.body for event in record.events if event.type == "model_response"]
    model = AnswersToTheEnd(responses[0]["model"] if responses else objective.model, responses)
    again, run_id = without_limits(objective, setting, device), run.new_run_id()
    began = time.monotonic()
    opened, winner = open_(again, memory, run_id, watch), then.outcome.best.config
    with closing(WinnerFirst(opened, winner, record.events)) as actions:
        watch.notify(f"measuring {record.header['run']} again: {progress.describe_run(again, actions.setting, run_id)}")
        parent = {"kind": "replay", "run": record.header["run"], "chain": record.events[-1].chain}
        header = {**run.header_of(run_id, again, actions, memory, None), "parent": parent}
        with closing(Trace(trace_path(run_id), choose.secrets())) as trace:
            trace.once("header", run_id, lambda: header)
            run.loop(again, actions, model, trace, run_id, watch, began)
    here = read_story(read_trace(trace_path(run_id)))
    wins, why = verdict(here, winner)
    return Remeasured(then, here, compare(then, here), wins, why, trace_path(run_id))


def without_limits(objective: Objective, setting: Setting, device: str) -> Objective:
    """The same problem and evaluations on `device`, without the recorded run's limits of time and tokens."""
    limits = objective.limits.model_copy(update={"max_seconds": LONG_S, "max_tokens": None})
    fixed = {"shape": None, "options": setting.problem, "metric": setting.energy or setting.metric, "gpu": None}
    return objective.model_copy(update={**fixed, "device": device, "limits": limits})


def compare(then: Story, here: Story) -> list[Drift]:
    """The drift of every config that both runs measured, in the order of the recorded run `then`."""
    now = {key(vars(attempt)): attempt for attempt in here.attempts}
    return [drift(a, now[key(vars(a))]) for a in then.attempts if key(vars(a)) in now]


def drift(then: Attempt, here: Attempt) -> Drift:
    ratio = here.ms / then.ms if here.ms and then.ms else None
    ci = None if ratio is None else interval(ratio, then, here)
    return Drift(then.config, then.status, here.status, then.ms, here.ms, ratio, ci)


def interval(ratio: float, then: Attempt, here: Attempt) -> tuple[float, float] | None:
    """The interval of a ratio of two independent medians. The half widths of their logarithms add in quadrature."""
    if then.ci_ms is None or here.ci_ms is None:
        return None
    widths = [math.log(ci[1] / ci[0]) / 2 for ci in (then.ci_ms, here.ci_ms) if ci[0] > 0]
    spread = math.hypot(*widths)
    return ratio * math.exp(-spread), ratio * math.exp(spread)


def verdict(here: Story, winner: JSON) -> tuple[bool, str]:
    """Whether the winner is proven here too, and why."""
    proofs = [proof for proof in here.proofs if proof.get("config") == winner]
    if not proofs:
        return False, "the winner was not proven here"
    if proofs[0].get("status") == "infrastructure":
        raise AgentError(f"The winner could not be timed here: {proofs[0].get('reason')}.")
    baselines = [Speedup.of(row) for row in proofs[0].get("comparisons", ())]
    found = judge(proofs[:1], baselines, here.setting.energy, here.objective.against)
    return found.proven, found.why


def render(found: Remeasured) -> str:
    """The drift table and the verdict."""
    then, here = found.then, found.here
    ratios = sorted(row.ratio for row in found.rows if row.ratio is not None)
    beyond = sum(row.ci is not None and not row.ci[0] <= 1 <= row.ci[1] for row in found.rows)
    won = then.outcome is not None and then.outcome.proven
    title = (
        ("STILL WINS" if won else "PROVEN HERE, NOT THEN")
        if found.wins
        else ("NO LONGER WINS" if won else "NOT PROVEN, THEN AND HERE")
    )
    lines = [
        f"{title}: {found.why}",
        f"then       {then.setting.where()}, run {then.run}",
        f"here       {here.setting.where()}, run {here.run}",
    ]
    if ratios:
        middle = ratios[len(ratios) // 2]
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}, {beyond} beyond their intervals"
        lines.append(f"drift      {len(ratios)} configs, time here / then: median {middle:.3f}, {spread}")
    lines += ["", "  here/then  interval           then ms   here ms  config"]
    lines += [format_row(row, then) for row in found.rows]
    lines += ["", *list_baselines(then, here), "", f"trace      {found.trace}"]
    return "\n".join(lines)


def format_row(row: Drift, then: Story) -> str:
    won = then.outcome is not None and then.outcome.best is not None and row.config == then.outcome.best.config
    config = named(row.config) + (" (the winner)" if won else "")
    if row.ratio is None:
        return f"  {'':28} then {row.then}, here {row.here}  {config}"
    ci = f"[{row.ci[0]:.3f}, {row.ci[1]:.3f}]" if row.ci else ""
    return f"  {row.ratio:9.3f}  {ci:16} {row.then_ms:9.4f} {row.here_ms:9.4f}  {config}"


def list_baselines(then: Story, here: Story) -> list[str]:
    """The winner's speed-up over each baseline, then and here."""
    now = {row["name"]: row for proof in here.proofs[:1] for row in proof.get("comparisons", ())}
    lines = ["  speed-up then              here                baseline"]
    for was in then.outcome.baselines if then.outcome else ():
        found = now.get(was.name, {})
        before, after = format_speedup(was.speedup, was.ci), format_speedup(found.get("speedup"), found.get("ci"))
        lines.append(f"  {before:24} {after:20} {was.name}")
    return lines


def format_speedup(speedup: float | None, ci: Sequence[float] | None) -> str:
    return "not timed" if speedup is None or ci is None else f"{speedup:.3f}x [{ci[0]:.3f}, {ci[1]:.3f}]"


def as_json(found: Remeasured) -> JSON:
    """The result as the JSON object of ``--json``."""
    return {
        "wins": found.wins,
        "why": found.why,
        "then": {"run": found.then.run, "device": found.then.setting.device},
        "here": {"run": found.here.run, "device": found.here.setting.device},
        "drift": [vars(row) for row in found.rows],
        "trace": str(found.trace),
    }
