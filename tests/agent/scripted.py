"""A model that says what a test wrote down."""

from __future__ import annotations

import json

from agent.models.base import Reply


def calls(*pairs):
    """An assistant message with tool calls: (name, arguments); arguments that are text go out as they are."""
    made = [
        {
            "id": "same",
            "type": "function",
            "function": {"name": n, "arguments": a if isinstance(a, str) else json.dumps(a)},
        }
        for n, a in pairs
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


def words(text):
    return {"role": "assistant", "content": text}


class Scripted:
    """Says `messages` in turn, then concludes. A message may be a pair with its finish reason."""

    name = "scripted"

    def __init__(self, *messages, usage=10, prompt_tokens=None, cost=0.0):
        self.messages, self.usage, self.prompt_tokens, self.cost = list(messages), usage, prompt_tokens, cost
        self.heard: list[list] = []
        self.allowed: list[int | None] = []

    def respond(self, messages, tools, seconds, tokens=None):
        self.heard.append([dict(m) for m in messages])
        self.allowed.append(tokens)
        said = self.messages.pop(0) if self.messages else words("done")
        said, finish = said if isinstance(said, tuple) else (said, "")
        return Reply(said, self.usage, 0.01, prompt_tokens=self.prompt_tokens, cost=self.cost, finish=finish)
