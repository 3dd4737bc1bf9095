"""OpenTelemetry spans by the GenAI semantic conventions, as OTLP JSON that a collector's file receiver reads.

A run is one trace: an ``invoke_agent`` span for the whole run, a ``chat`` span for each turn, and an ``execute_tool``
span for each call and each proof.
Conventions: open-telemetry/semantic-conventions-genai, status Development, as of semantic conventions 1.41.
Encoding: opentelemetry-proto, "JSON Protobuf Encoding" (ids in hex, 64-bit integers as text).
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from agent.export.story import Call, Story, Turn, number
from agent.trace.trace import JSON

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
AGENT = "triton-autokernel"
INTERNAL, CLIENT = 1, 3
OK, ERROR = 1, 2


def export(story: Story) -> str:
    """``{"resourceSpans": [...]}``."""
    return json.dumps(Spans(story).document(), separators=(",", ":")) + "\n"


class Spans:
    """The spans of a run. Their ids are derived from the run's id, so a second export gives the same document."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.trace_id = hashlib.sha256(story.run.encode(errors="replace")).hexdigest()[:32]
        first = story.turns[0] if story.turns else None
        began = datetime.fromisoformat(first.at) if first else datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        self.origin_ns = int(began.timestamp() * 1e9) - int((first.began if first else 0.0) * 1e9)

    def document(self) -> JSON:
        versions = self.story.header.get("versions")
        packages = versions if isinstance(versions, dict) else {}
        resource = {"service.name": AGENT, "service.version": str(packages.get(AGENT, "unknown"))}
        scope = {"name": "agent.export.otel", "version": "1"}
        scoped = {"scope": scope, "spans": self.spans(), "schemaUrl": SCHEMA}
        about = {"resource": {"attributes": attributes(resource)}, "scopeSpans": [scoped], "schemaUrl": SCHEMA}
        return {"resourceSpans": [about]}

    def spans(self) -> list[JSON]:
        story = self.story
        root = self.span("root", "", f"invoke_agent {AGENT}", INTERNAL, 0.0, story.seconds, self.about_run())
        if story.outcome is not None and story.outcome.infrastructure:
            root["status"] = {"code": ERROR, "message": story.outcome.why}
        found = [root]
        for turn in story.turns:
            if turn.message is not None:
                found.append(self.chat(turn))
            found += [self.tool(call) for call in turn.calls]
        proofs = [span for span in story.spans if span[0] == "prove"]
        for place, ((_, began, seconds, what), proof) in enumerate(zip(proofs, story.proofs, strict=False)):
            values = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "prove", "gen_ai.tool.call.id": what}
            values |= {"gen_ai.tool.type": "function", "gen_ai.tool.call.result": json.dumps(proof)}
            found.append(self.span(f"proof {place}", "root", "execute_tool prove", INTERNAL, began, seconds, values))
        return found

    def about_run(self) -> JSON:
        story = self.story
        usage = [number(turn.response.get("prompt_tokens")) for turn in story.turns]
        about: JSON = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": provider(story.objective.model),
            "gen_ai.agent.name": AGENT,
            "gen_ai.agent.id": story.run,
            "gen_ai.conversation.id": story.run,
            "gen_ai.request.model": story.objective.model,
            "gen_ai.request.seed": story.objective.seed,
            "autokernel.goal": story.objective.goal,
            "autokernel.problem": f"{story.setting.kernel} {story.setting.label}",
            "autokernel.device": story.setting.where(),
            "autokernel.evaluations": len(story.attempts),
        }
        if any(count is not None for count in usage):
            about["gen_ai.usage.input_tokens"] = int(sum(count or 0 for count in usage))
        if story.outcome is not None:
            about |= {"autokernel.proven": story.outcome.proven, "autokernel.why": story.outcome.why}
            if story.outcome.verdict is not None:
                about |= {
                    "autokernel.verdict": story.outcome.verdict,
                    "autokernel.against": story.outcome.against or "",
                }
            if story.outcome.best is not None:
                best = story.outcome.best
                about |= {"autokernel.best.config": json.dumps(best.config), "autokernel.best.ms": best.ms}
        return about

    def chat(self, turn: Turn) -> JSON:
        prompt, total = number(turn.response.get("prompt_tokens")), number(turn.usage)
        finish = str(turn.response.get("finish") or ("tool_calls" if turn.calls else "stop"))
        system = [text(m) for m in turn.asked if m.get("role") == "system"]
        inputs = [input_message(m) for m in turn.asked if m.get("role") != "system"]
        values: JSON = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider(turn.model),
            "gen_ai.request.model": turn.model,
            "gen_ai.response.model": turn.model,
            "gen_ai.conversation.id": self.story.run,
            "gen_ai.response.finish_reasons": [finish],
            "gen_ai.input.messages": json.dumps(inputs),
            "gen_ai.output.messages": json.dumps([{**output_message(turn), "finish_reason": finish}]),
        }
        if system:
            values["gen_ai.system_instructions"] = json.dumps(system)
        if prompt is not None and total is not None:
            values |= {
                "gen_ai.usage.input_tokens": int(prompt),
                "gen_ai.usage.output_tokens": max(0, int(total - prompt)),
            }
        if (cached := number(turn.response.get("cached_tokens"))) is not None:
            values["gen_ai.usage.cache_read.input_tokens"] = int(cached)
        kind = INTERNAL if turn.model == "embedded" else CLIENT
        return self.span(f"turn {turn.number}", "root", f"chat {turn.model}", kind, turn.began, turn.seconds, values)

    def tool(self, call: Call) -> JSON:
        values: JSON = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.id,
            "gen_ai.tool.call.arguments": json.dumps(call.arguments),
        }
        if call.result is not None:
            values["gen_ai.tool.call.result"] = json.dumps(call.result)
        if call.error is not None:
            values["error.type"] = call.error
        span = self.span(call.id, "root", f"execute_tool {call.name}", INTERNAL, call.began, call.seconds, values)
        if call.error is not None:
            span["status"] = {"code": ERROR, "message": call.error}
        return span

    def span(
        self, key: str, parent: str, name: str, kind: int, began: float, seconds: float, values: dict[str, Any]
    ) -> JSON:
        start = self.origin_ns + int(began * 1e9)
        return {
            "traceId": self.trace_id,
            "spanId": self.span_id(key),
            "parentSpanId": self.span_id(parent) if parent else "",
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + int(seconds * 1e9)),
            "attributes": attributes(values),
            "status": {"code": OK},
        }

    def span_id(self, key: str) -> str:
        return hashlib.sha256(f"{self.trace_id} {key}".encode(errors="replace")).hexdigest()[:16]


def provider(model: str) -> str:
    """The provider name that the conventions ask for: the model's protocol, or this program for its own planner."""
    return AGENT if model == "embedded" else "openai"


def text(message: JSON) -> JSON:
    return {"type": "text", "content": str(message.get("content") or "")}


def input_message(message: JSON) -> JSON:
    """A Chat Completions message in the conventions' schema."""
    role = str(message.get("role"))
    if role == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": message.get("content")}
        return {"role": role, "parts": [answer]}
    return {"role": role, "parts": [text(message)]}


def output_message(turn: Turn) -> JSON:
    parts: list[JSON] = [{"type": "text", "content": turn.words}] if turn.words else []
    parts += [{"type": "tool_call", "id": c.id, "name": c.name, "arguments": c.arguments} for c in turn.calls]
    return {"role": "assistant", "parts": parts}


def attributes(values: dict[str, Any]) -> list[JSON]:
    return [{"key": key, "value": wrapped(value)} for key, value in values.items()]


def wrapped(value: Any) -> JSON:
    """An OTLP ``AnyValue``."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [wrapped(item) for item in value]}}
    return {"stringValue": str(value)}
