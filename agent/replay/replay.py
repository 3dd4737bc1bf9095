"""Replays a trace: runs the same loop with the recorded model and tools, and compares it with the trace event by
event."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.errors import AgentError, UsageError
from agent.goal.objective import Objective, Setting
from agent.loop import graph, progress
from agent.loop.actions import RecordedActions
from agent.loop.graph import Context
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.loop.run import Ended, recursion_limit
from agent.models.base import ToolSchema
from agent.models.endpoint.faults import OPAQUE
from agent.models.trace_model import Recorded
from agent.trace.recorded_tools import schemas_in
from agent.trace.trace import JSON, Event, Record, opening_of, read_trace, says_of
from agent.verdict.judgement import rule_of

CLOCKED = frozenset({"seconds", "proof_seconds", "trace"})
"""Fields of a body that a replay cannot repeat: how long the step took and where the trace file is."""
REQUIRED = {
    "decision": {"stop"},
    "model_response": {"model", "message", "usage", "tokens", "seconds"},
    "tool_call": {"name", "arguments"},
    "tool_result": {"result"},
    "verify": {"config", "proof"},
}
"""Fields without which an event cannot be repeated."""
NOT_STEPS = frozenset({"header", "resume", "fork"})


class Comparison:
    """A journal that compares each step with the recorded one and stops at the first difference.

    Every field that the trace has must have the same value again. Fields that the trace's version of the program did
    not write yet take their new values."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._expected = [event for event in events if event.type not in NOT_STEPS]
        self._next = 0
        self._own = next((event.seq for event in events if event.type == "fork"), 0)
        """The event at which a fork's own steps begin. Decisions before it depend on the parent's model and budget."""

    def once(self, kind: str, key: str, make: Callable[[], JSON]) -> JSON:
        if self._next >= len(self._expected):
            raise AgentError(f"Replay differs: the trace ends, but the replay goes on with {kind} of {key}.")
        recorded = self._expected[self._next]
        if (recorded.type, recorded.key) != (kind, key):
            raise AgentError(
                f"Replay differs at event {recorded.seq}: it was {recorded.type} of {recorded.key} "
                f"and is now {kind} of {key}."
            )
        now = json.loads(json.dumps(make()))
        compared = {*recorded.body} - CLOCKED if kind != "decision" or recorded.seq > self._own else set()
        for name in sorted(compared):
            found = difference(name, recorded.body[name], now.get(name))
            if found is not None:
                raise AgentError(f"Replay differs at event {recorded.seq} ({kind} of {key}): {found}.")
        self._next += 1
        completed: JSON = complete(recorded.body, now)
        return completed

    def finish(self) -> None:
        if self._next < len(self._expected):
            rest = self._expected[self._next]
            raise AgentError(f"Replay differs: the replay ended, but the trace goes on with {rest.type} of {rest.key}.")


def replay(path: Path, watch: Watch) -> Ended:
    """Run a finished trace again without a GPU, a key or a network. Every step and the outcome must equal the trace.

    Raises UsageError if the file is not a finished trace, AgentError at the first difference."""
    record = finished(path)
    header, steps = record.header, record.events
    objective, setting, tools = contract(record)
    comparison, began = Comparison(steps), time.monotonic()
    responses = [event.body for event in steps if event.type == "model_response"]
    context = Context(
        objective=objective,
        model=Recorded(responses[0]["model"] if responses else objective.model, responses),
        actions=RecordedActions(setting, tools, steps),
        journal=comparison,
        run_id=header["run"],
        trace_path=str(path),
        elapsed=lambda: time.monotonic() - began,
        watch=watch,
        opening=opening_of(next((event.body for event in steps if event.type == "model_request"), None)),
        rule=rule_of(header),
        says=says_of(header),
    )
    watch.notify(f"replaying {progress.describe_run(objective, setting, header['run'])}")
    final = graph.build().invoke(graph.start(context), {"recursion_limit": recursion_limit(objective)}, context=context)
    comparison.finish()
    outcome = Outcome.of_trace({**final["outcome"], "trace": str(path)})
    return Ended(outcome, setting)


def difference(name: str, before: object, now: object) -> str | None:
    """The first field of `before` that has another value in `now`, as a sentence; ``None`` if there is none."""
    if isinstance(before, dict) and isinstance(now, dict):
        inner = (difference(f"{name}.{key}", before[key], now.get(key)) for key in before)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        inner = (difference(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(before, now, strict=True)))
    else:
        return None if before == now else f"{name} was {brief(before)} and is now {brief(now)}"
    return next((found for found in inner if found is not None), None)


def complete(before: Any, now: Any) -> Any:
    """`before` plus the fields that only `now` has, at every level."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {**now, **{key: complete(value, now.get(key)) for key, value in before.items()}}
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [complete(*pair) for pair in zip(before, now, strict=True)]
    return before


def finished(path: Path) -> Record:
    """Read a trace that must be finished and unedited."""
    record = read_trace(path)
    if record.broken is not None:
        raise AgentError(f"Replay differs at event {record.broken}: {path} was edited there, its hash does not match.")
    if record.last("end") is None:
        raise UsageError(f"{path} records a run that was not finished: continue it with python -m agent resume.")
    return record


def contract(record: Record) -> tuple[Objective, Setting, list[ToolSchema]]:
    """The run's objective, setting and tools, from the header. Raises UsageError if the trace is not in this program's
    format."""
    header = record.header
    for event in record.events:
        lacking = sorted(REQUIRED.get(event.type, set()) - {*event.body})
        if lacking:
            raise UsageError(f"Event {event.seq} ({event.type} of {event.key}) lacks {', '.join(lacking)}.")
    try:
        objective, setting = Objective.model_validate(header["objective"]), Setting.model_validate(header["setting"])
        return objective, setting, schemas_in(header)
    except (KeyError, TypeError, ValidationError) as e:
        raise UsageError("The trace's header is not in the format of this version of the program.") from e


def brief(value: object, width: int = 120) -> str:
    text = OPAQUE.sub("[...]", json.dumps(value))
    return text if len(text) <= width else f"{text[: width - 3]}..."
