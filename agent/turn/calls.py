"""A model's message as the loop keeps it: its calls numbered and corrected."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence

from agent.models.base import OUTPUT, Message, ToolSchema, read_arguments
from agent.trace.trace import JSON
from tools.calling.repair import configs_of

MAX_CALLS = 16
"""Tool calls run of one message."""


def number_calls(message: Message, turn: int) -> tuple[Message, int]:
    """Give the calls of a message ids that are unique in the run, because some endpoints number the calls of each
    message from the start. Returns the message and the number of calls beyond :data:`MAX_CALLS` that were left out.

    An id is nine letters and digits, the strictest form that an endpoint is known to require (Mistral)."""
    given = message.get("tool_calls") or ()
    calls = [
        {**call, "id": f"t{turn:04d}c{index:03d}", "type": "function", "function": dict(call["function"])}
        for index, call in enumerate(given[:MAX_CALLS])
    ]
    if calls:
        return {**message, "tool_calls": calls}, len(given) - len(calls)
    kept = {OUTPUT: message[OUTPUT]} if OUTPUT in message else {}
    return {"role": "assistant", "content": message.get("content"), **kept}, 0


def correct_calls(message: Message, tools: Sequence[ToolSchema]) -> tuple[Message, dict[str, list[str]]]:
    """The message with the calls' names and arguments as they were meant, and what was corrected, by call id. What has
    no one meaning stays as it is: its answer says what is wrong."""
    names = [tool.name for tool in tools]
    as_text = {t.name for t in tools if t.parameters.get("properties", {}).get("configs", {}).get("type") == "string"}
    notes: dict[str, list[str]] = {}
    calls = []
    for call in message.get("tool_calls") or ():
        function = dict(call["function"])
        name = meant_name(function["name"], names)
        arguments, problem, found = read_arguments(function["arguments"])
        if name != function["name"]:
            found = [f"{function['name'][:60]} was taken as {name}", *found]
        configs = arguments.get("configs")
        listed = None if isinstance(configs, list) else configs_of(configs)
        if listed is not None and isinstance(configs, str) and name not in as_text:
            found = [*found, "configs: a JSON text was read"]
        if listed is not None:  # a text or a table: whoever approves a batch, or reads a trace, sees its configs
            arguments = {**arguments, "configs": listed}
        if not problem and (found or listed is not None):
            function["arguments"] = json.dumps(arguments)
        if found:
            notes[call["id"]] = found
        calls.append({**call, "function": function | {"name": name}})
    return ({**message, "tool_calls": calls} if calls else message), notes


def meant_name(given: str, names: Collection[str]) -> str:
    """The tool that `given` means, a prefix such as ``functions.`` and its way of joining words aside. It is `given`
    itself if there is no such tool, or more than one."""
    if given in names:
        return given
    bare = plain_name(re.split(r"[.:/]", given.strip())[-1])
    same = [name for name in names if plain_name(name) == bare]
    return same[0] if len(same) == 1 else given


def plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def call_signature(call: JSON) -> tuple[str, str]:
    """Tool and arguments, whatever the order and spacing of the latter."""
    text = call["function"]["arguments"]
    arguments, problem, _ = read_arguments(text)
    return call["function"]["name"], text if problem else json.dumps(arguments, sort_keys=True)
