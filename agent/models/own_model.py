"""A user's own chat model, named ``path.py:NAME`` or ``module:NAME``: an object of the ChatModel protocol, or a class
that makes one without arguments.

Servers have colons in the names of their models too (``qwen3:8b``, ``mistral:latest``): see :func:`is_own`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.errors import AgentError, UsageError
from agent.models.base import ChatModel, Message, Reply, ToolSchema
from kernels import finder
from kernels.quiet import output_to_stderr

RESERVED = ("embedded", "mcp-client")
"""Names by which a trace knows who decided: no user's model may have one."""


def is_own(name: str, base_url: str | None) -> bool:
    """Whether `name` is a reference to a user's model, and not the name of a model on the server at `base_url`.

    A path always is; ``package.module:NAME`` is, if both are Python names. ``module:NAME`` without a dot may be a
    server's model with a tag: it is a reference if there is such a module, or if no server is given."""
    source, attribute = finder.split_reference(name) or ("", "")
    if source.endswith(".py"):
        return True
    if not (attribute.isidentifier() and source and all(part.isidentifier() for part in source.split("."))):
        return False
    return "." in source or base_url is None or finder.source_file(name) is not None


def load_own(reference: str) -> ChatModel:
    """The model that `reference` names. Raises UsageError with one sentence."""
    try:
        found = finder.find(reference, "model", describe_models)
        if not callable(getattr(found.value, "respond", None)):
            raise UsageError(f"{reference} is no ChatModel, it has no method respond; {describe_models(found.module)}.")
        model = finder.instance(found.value, reference)
    except finder.NotFound as e:
        raise UsageError(f"{str(e)[:1].upper()}{str(e)[1:]}.") from e
    name = getattr(model, "name", None)
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{reference} is no ChatModel: give it a name, such as name = 'my model'.")
    if name in RESERVED:
        raise UsageError(f"{reference} calls itself {name!r}, which is the name of another model: give it its own.")
    return OwnModel(name, model, found.reference, Path(getattr(found.module, "__file__", None) or reference))


def describe_models(module: ModuleType) -> str:
    """The models that `module` defines, for an error message."""
    models = [name for name, value in vars(module).items() if callable(getattr(value, "respond", None))]
    return f"it has {', '.join(models)}" if models else "it defines no ChatModel"


class OwnModel:
    """Asks a user's model. An error in it, or an answer that is no Reply, becomes an AgentError with one sentence."""

    def __init__(self, name: str, model: ChatModel, reference: str, path: Path) -> None:
        self.name = name
        self._model, self._reference, self._path = model, reference, path

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        try:
            with output_to_stderr():  # what it prints is no answer of ours
                reply = self._model.respond(messages, tools, seconds, tokens)
        except AgentError:
            raise
        except Exception as e:  # a user's code may raise anything
            where = finder.where_raised(e, self._path)
            raise AgentError(f"The model {self._reference} failed at {where}: {finder.one_line(e)}.") from e
        problem = find_problem(reply)
        if problem:
            raise AgentError(f"The model {self._reference} gave an answer that cannot be used: {problem}.")
        return reply


def find_problem(reply: Any) -> str | None:
    """What is wrong with an answer of a user's model; ``None`` if the loop and the trace can take it."""
    if not isinstance(reply, Reply):
        return f"respond returns an agent.models.base.Reply, not {type(reply).__name__}"
    message = reply.message
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return "its message is no dict with the role assistant"
    try:
        json.dumps(message, allow_nan=False)
    except (TypeError, ValueError) as e:
        return f"its message is no JSON ({finder.one_line(e)})"
    calls = message.get("tool_calls") or []
    for call in calls if isinstance(calls, list) else [None]:
        function = call.get("function") if isinstance(call, dict) else None
        texts = [function.get(key) for key in ("name", "arguments")] if isinstance(function, dict) else [None]
        if not all(isinstance(text, str) for text in texts):
            return "tool_calls is a list of {'function': {'name': TEXT, 'arguments': JSON TEXT}}"
    return None
