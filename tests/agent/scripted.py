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
    """Says `messages` in turn, then concludes."""

    name = "scripted"

    def __init__(self, *messages, usage=10):
        self.messages, self.usage = list(messages), usage
        self.heard: list[list] = []

    def respond(self, messages, tools, seconds):
        self.heard.append([dict(m) for m in messages])
        said = self.messages.pop(0) if self.messages else words("done")
        return Reply(said, self.usage, 0.01)
