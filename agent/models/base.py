"""The protocol between the loop and whoever decides: OpenAI-style messages in, one assistant message out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tools.calling import lenient_json
from tools.declaration import UNDECLARED, Declaration

EMBEDDED = "embedded"
"""The planner's name where a model is named."""
CLIENT = "mcp-client"
"""A coding agent that calls the tools over MCP (``agent.serve``)."""
Message = dict[str, Any]
"""``{"role", "content", "tool_calls", "tool_call_id"}`` as in Chat Completions."""

OUTPUT = "output"
"""Field of an assistant's message that came through the Responses API: ``{"model", "items"}``, the output items as the
server gave them. They go back in the place of the message's words and calls. Reasoning among them is encrypted: nothing
prints or searches this field."""


@dataclass(frozen=True)
class ToolSchema:
    """A tool as the loop knows it. A model is given the first three fields."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of the arguments: closed, without references."""
    declared: Declaration = UNDECLARED


@dataclass(frozen=True)
class Reply:
    """One answer of a model."""

    message: Message
    usage: int | None = None
    """Tokens in and out together; ``None`` where the endpoint does not say."""
    seconds: float = 0.0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    """Those of the prompt that the endpoint had in its cache."""
    reasoning_tokens: int | None = None
    """Those of the answer that nobody sees."""
    cost: float = 0.0
    """US dollars; 0 where the price is unknown or there is none."""
    finish: str = ""
    """``length`` (cut off), ``refusal``, or empty: an ordinary answer."""
    notices: tuple[str, ...] = ()
    """What the user should know of how it came about, such as a field that the server refused."""
    error: str = ""
    """Why there is no answer, where the run's time ended while one was waited for."""
    model: str | None = None
    """Who answered, where a recorded model repeats another's words."""


class ChatModel(Protocol):
    """Who decides."""

    name: str

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        """The next assistant message, within `seconds` and with at most `tokens` new tokens, given the whole
        conversation: what of it is shown is the model's own matter. Raises AgentError where there will be none."""
        ...


@dataclass(frozen=True)
class Done:
    """A tool call of the conversation and what came back."""

    name: str
    arguments: dict[str, Any]
    result: dict[str, Any]
    declared: Declaration = UNDECLARED


def done_calls(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Iterator[Done]:
    """Every answered tool call, in order, with what its tool, one of `tools`, declares."""
    declared = {tool.name: tool.declared for tool in tools}
    answers = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    for message in messages:
        for call in message.get("tool_calls") or ():
            if call["id"] in answers:
                arguments, problem = parse_arguments(call["function"]["arguments"])
                name, result = call["function"]["name"], json.loads(answers[call["id"]])
                yield Done(name, {} if problem else arguments, result, declared.get(name, UNDECLARED))


def parse_arguments(text: str) -> tuple[dict[str, Any], str | None]:
    """A call's arguments, or what is wrong with them. What is repaired on the way is left to :func:`read_arguments`."""
    arguments, problem, _ = read_arguments(text)
    return arguments, problem


def read_arguments(text: str) -> tuple[dict[str, Any], str | None, list[str]]:
    """A call's arguments, or what is wrong with them, and what had to be repaired to read them."""
    try:
        arguments, notes = lenient_json.read(text or "{}")
    except lenient_json.NotJson as e:
        return {}, f"the arguments are not JSON: {e}", []
    if isinstance(arguments, list) and arguments and all(isinstance(item, dict) for item in arguments):
        arguments = {"configs": arguments}
        notes.append("a bare list was taken as configs")
    if not isinstance(arguments, dict):
        return {}, f"the arguments must be a JSON object, not {type(arguments).__name__}", []
    return (without_surrogates(arguments) if "\\ud" in text.lower() else arguments), None, notes


def without_surrogates(value: Any) -> Any:
    """`value` (JSON) with every half of a surrogate pair replaced: it is no text that a file or a database takes."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def call_tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool call as a model writes it, before the loop numbers it."""
    return {"id": "", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
