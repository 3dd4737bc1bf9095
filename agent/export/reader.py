"""Reads a story from a trace's events in one pass."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from agent.errors import UsageError
from agent.export.story import Attempt, Call, Point, Story, Turn, changed, detail, key, named, number, rows
from agent.goal.objective import Objective, Setting
from agent.loop.outcome import Outcome
from agent.trace.recorded_tools import declared_in
from agent.trace.trace import JSON, Event, Record
from memory.shared_models import explain_refusal
from tools.declaration import UNDECLARED


def read_story(record: Record) -> Story:
    """Read the story of a trace. Raises UsageError if the header or the end is not in this program's format."""
    header = record.header
    try:
        objective = Objective.model_validate(header.get("objective"))
        setting = Setting.model_validate(header.get("setting"))
        end = record.last("end")
        outcome = None if end is None else Outcome.of_trace(end)
    except ValidationError as e:
        raise UsageError(f"The trace's header or end is not in this program's format: {explain_refusal(e)[0]}.") from e
    story = Story(header, objective, setting, outcome=outcome, torn=record.torn, broken=record.broken)
    Reader(story, record.events).read()
    return story


class Reader:
    """Reads the events once. On the time line a tool call has the activity that its tool declares, a turn of the model
    is ``think`` and a proof is ``prove``."""

    def __init__(self, story: Story, events: list[Event]) -> None:
        self.story, self.events = story, events
        self.origin = datetime.fromisoformat(events[0].at)
        self.declared = declared_in(story.header)
        self.calls: dict[str, Call] = {}
        self.proposals: dict[str, JSON] = {}
        self.compiled: dict[str, JSON] = {}
        self.seen: set[str] = set()
        self.best: Attempt | None = None
        self.now = 0.0
        """Seconds since the first event."""

    def read(self) -> None:
        for event in self.events:
            self.now = (datetime.fromisoformat(event.at) - self.origin).total_seconds()
            getattr(self, f"on_{event.type}", self.on_other)(event)
        self.story.seconds = self.now
        if self.story.outcome is not None:
            self.story.stopped = self.story.outcome.stopped

    @property
    def turn(self) -> Turn:
        """The current turn. Events before the first turn count as part of it."""
        if not self.story.turns:
            self.story.turns.append(Turn(1, self.events[0].at, 0.0))
        return self.story.turns[-1]

    def point(self, kind: str, text: str, later: int = 0) -> None:
        """Add a turning point to the current turn, or to the turn `later` turns after it."""
        self.story.points.append(Point(max(1, len(self.story.turns) + later), kind, text))

    def on_header(self, event: Event) -> None:
        parent = event.body.get("parent")
        if isinstance(parent, dict) and parent.get("kind") == "fork":
            self.point("fork", f"forked from run {parent.get('run')} at turn {parent.get('at')}")

    def on_other(self, event: Event) -> None:
        """Ignore events of other types."""

    def on_decision(self, event: Event) -> None:
        if event.body.get("takeover"):
            self.point("takeover", f"the embedded planner takes over: {event.body['takeover']}", 1)
        if event.key.startswith("turn ") and not event.body.get("stop"):
            self.story.turns.append(Turn(len(self.story.turns) + 1, event.at, self.now))
        elif event.body.get("stop"):
            self.story.stopped = str(event.body["stop"])

    def on_model_request(self, event: Event) -> None:
        new = event.body.get("new")
        self.turn.asked = [m for m in new if isinstance(m, dict)] if isinstance(new, list) else []

    def on_model_response(self, event: Event) -> None:
        turn, body = self.turn, event.body
        turn.response = body
        message = body.get("message")
        turn.message = message if isinstance(message, dict) else {}
        turn.words = str(turn.message.get("content") or "")
        turn.usage, turn.seconds = body.get("usage"), number(body.get("seconds")) or 0.0
        turn.tokens = int(number(body.get("tokens")) or 0)
        before, turn.model = self.story.turns[-2].model if len(self.story.turns) > 1 else "", str(body.get("model"))
        if before and before != turn.model:
            self.point("model", f"{turn.model} decides from here on, in the place of {before}")
        self.span("think", turn.seconds, f"turn {turn.number}: {turn.model}")

    def on_tool_call(self, event: Event) -> None:
        arguments = event.body.get("arguments")
        name = str(event.body.get("name"))
        declared = self.declared.get(name, UNDECLARED)
        call = Call(event.key, name, arguments if isinstance(arguments, dict) else {}, self.now, declared)
        self.calls[event.key] = call
        self.turn.calls.append(call)

    def on_tool_result(self, event: Event) -> None:
        call, result = self.calls.get(event.key), event.body.get("result")
        if call is None or not isinstance(result, dict):
            return
        call.result, call.seconds = result, number(event.body.get("seconds")) or 0.0
        returns = call.declared.returns
        self.span(call.declared.activity, call.seconds, call.name)
        if call.error is not None:
            self.point("refused", f"{call.name} was answered with an error: {call.error} {detail(result)}".rstrip())
        if returns == "proposals":
            for row in rows(result, "proposals"):
                self.proposals.setdefault(key(row), row)
                self.story.proposed += 1
        elif returns == "compilations":
            for row in rows(result, "results"):
                if key(row) not in self.compiled and row.get("status") != "correct":
                    why = f"{row.get('status')}: {row.get('reason') or 'no reason'}"
                    self.story.compile_failures[why] = self.story.compile_failures.get(why, 0) + 1
                self.compiled.setdefault(key(row), row)
        elif returns == "measurements":
            for row in rows(result, "results"):
                self.measured(row, call)
        elif returns == "checks":
            for row in rows(result, "results"):
                if row.get("status") != "correct":
                    self.point("check", f"{named(row['config'])} did not pass its check: {row.get('status')}")

    def measured(self, row: JSON, call: Call) -> None:
        """Read a row of measurements. A config that was measured before is no new attempt."""
        config = key(row)
        if config in self.seen:
            return
        self.seen.add(config)
        proposal, ms, ci = self.proposals.get(config, {}), number(row.get("ms")), row.get("ci_ms")
        attempt = Attempt(
            number=len(self.story.attempts) + 1,
            turn=self.turn.number,
            call=call.id,
            config=row["config"],
            status=str(row.get("status")),
            reason=str(row.get("reason") or ""),
            ms=ms if row.get("status") == "correct" else None,
            ci_ms=[float(x) for x in ci] if isinstance(ci, list) and all(number(x) for x in ci) else None,
            why=str(proposal.get("reason") or ""),
            predicted_ms=number(proposal.get("predicted_ms")),
            compiled={k: v for k, v in self.compiled.get(config, {}).items() if k not in ("config", "status")},
        )
        self.story.attempts.append(attempt)
        if attempt.ms is not None and (self.best is None or self.best.ms is None or attempt.ms < self.best.ms):
            self.record(attempt, attempt.ms)
        elif attempt.status in ("implausible", "infrastructure", "timeout", "correctness"):
            self.point(attempt.status, f"evaluation {attempt.number}, {named(attempt.config)}: {attempt.reason}")

    def record(self, attempt: Attempt, ms: float) -> None:
        setting, before = self.story.setting, self.best
        rate = "" if setting.metric == "latency" else f" = {setting.value(ms):.1f} {setting.unit}"
        text = f"evaluation {attempt.number}: {ms:.4f} ms{rate}"
        if before is None or before.ms is None:
            text += f", the first that ran correctly: {named(attempt.config)}"
        else:
            text += f", {before.ms / ms - 1:.1%} faster by {changed(before.config, attempt.config)}"
        attempt.record, self.best = True, attempt
        self.point("best", text)

    def on_verify(self, event: Event) -> None:
        proof = event.body.get("proof")
        if isinstance(proof, dict):
            self.story.proofs.append(proof)
            before = self.events[event.seq - 1].at if 0 < event.seq < len(self.events) else event.at
            seconds = (datetime.fromisoformat(event.at) - datetime.fromisoformat(before)).total_seconds()
            self.span("prove", max(0.0, seconds), event.key)
            if proof.get("status") != "correct":
                about = f"{proof.get('status')} {proof.get('reason') or ''}".rstrip()
                self.point("proof", f"finalist {len(self.story.proofs)} failed its proof: {about}")

    def on_resume(self, event: Event) -> None:
        self.point("resume", "the run had stopped and was resumed in a new process")

    def on_fork(self, event: Event) -> None:
        if event.body.get("say"):
            self.point("say", f"the user said: {event.body['say']}", 1)

    def on_approval(self, event: Event) -> None:
        answers = event.body.get("answers")
        for call, answer in (answers if isinstance(answers, dict) else {}).items():
            if isinstance(answer, dict) and answer.get("verdict") in ("no", "edit"):
                self.point("approval", f"the user said {answer['verdict']} to the batch of call {call}")

    def span(self, activity: str, seconds: float, what: str) -> None:
        self.story.spans.append((activity, max(0.0, self.now - seconds), seconds, what))
