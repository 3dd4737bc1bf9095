"""A model that answers from a trace, turn by turn: the loop runs again as it ran, without whoever decided then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.errors import AgentError
from agent.models.base import Message, Reply, ToolSchema

OPTIONAL = ("prompt_tokens", "cached_tokens", "reasoning_tokens", "cost", "finish", "error", "model")
"""Fields of a reply that a trace holds only where there was something to say."""


class Recorded:
    """Answers are the bodies of a trace's ``model_response`` events, in order."""

    def __init__(self, name: str, responses: Sequence[dict[str, Any]]) -> None:
        self.name = name
        self._responses = list(responses)

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        turn = sum(message["role"] == "assistant" for message in messages)
        if turn >= len(self._responses):
            raise AgentError(f"The trace ends before turn {turn + 1}: the run it records was not finished.")
        body = self._responses[turn]
        said = {name: body[name] for name in OPTIONAL if name in body}
        return Reply(body["message"], body["usage"], body["seconds"], notices=tuple(body.get("notices", ())), **said)
