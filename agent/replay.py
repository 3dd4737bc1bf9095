"""Replay: the same loop with a recorded model and recorded tools, compared event by event with what it did before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent import graph, progress
from agent.errors import AgentError, UsageError
from agent.graph import Context
from agent.hands import RecordedHands
from agent.models.base import ToolSchema
from agent.models.recorded import Recorded
from agent.objective import Objective, Setting
from agent.report import Outcome
from agent.run import Ended, recursion_limit
from agent.trace import JSON, Event, read_trace

CLOCKED = frozenset({"seconds", "trace"})
"""Fields at the top of a body that a replay cannot repeat: how long it took and where the file lies now."""
NOT_STEPS = frozenset({"header", "resume"})


class Comparison:
    """A journal that compares each step with the recorded one and stops at the first difference."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._expected = [event for event in events if event.type not in NOT_STEPS]
        self._next = 0

    def once(self, kind: str, key: str, make: Callable[[], JSON]) -> JSON:
        if self._next >= len(self._expected):
            raise AgentError(f"Replay differs: the trace ends where {kind} of {key} would follow.")
        recorded = self._expected[self._next]
        if (recorded.type, recorded.key) != (kind, key):
            raise AgentError(
                f"Replay differs at event {recorded.seq}: it was {recorded.type} of {recorded.key} "
                f"and is now {kind} of {key}."
            )
        now = json.loads(json.dumps(make()))
        for name in sorted({*recorded.body, *now} - CLOCKED):
            before, after = recorded.body.get(name), now.get(name)
            if before != after:
                raise AgentError(
                    f"Replay differs at event {recorded.seq} ({kind} of {key}): {name} was {brief(before)} "
                    f"and is now {brief(after)}."
                )
        self._next += 1
        return recorded.body

    def finish(self) -> None:
        if self._next < len(self._expected):
            rest = self._expected[self._next]
            raise AgentError(f"Replay differs: the trace goes on with {rest.type} of {rest.key}, the replay ended.")


def replay(path: Path, notify: Callable[[str], None]) -> Ended:
    """Run a finished trace again without a GPU, a key or a network; the outcome is the recorded one, step for step.

    Raises UsageError for what is no finished trace, AgentError at the first difference."""
    record = read_trace(path)
    if record.broken is not None:
        raise AgentError(f"Replay differs at event {record.broken}: {path} was edited there, its seal does not fit.")
    if record.last("end") is None:
        raise UsageError(f"{path} records a run that was not finished: continue it with python -m agent resume.")
    header, steps = record.header, record.events
    objective, setting = Objective.model_validate(header["objective"]), Setting.model_validate(header["setting"])
    tools = [ToolSchema(**tool) for tool in header["tools"]]
    comparison, began = Comparison(steps), time.monotonic()
    responses = [event.body for event in steps if event.type == "model_response"]
    context = Context(
        objective=objective,
        model=Recorded(responses[0]["model"] if responses else objective.model, responses),
        hands=RecordedHands(setting, tools, steps),
        journal=comparison,
        run_id=header["run"],
        trace_path=str(path),
        elapsed=lambda: time.monotonic() - began,
        notify=notify,
    )
    notify(f"replaying {progress.opened(objective, setting, header['run'])}")
    final = graph.build().invoke(graph.start(context), {"recursion_limit": recursion_limit(objective)}, context=context)
    comparison.finish()
    outcome = Outcome.model_validate({**final["outcome"], "trace": str(path)})
    return Ended(outcome, setting)


def brief(value: object, width: int = 120) -> str:
    text = json.dumps(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
