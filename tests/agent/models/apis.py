"""The two APIs as tests see them: the model class, and answers that say the same thing in each."""

from __future__ import annotations

import json

import openai  # noqa: F401 -- its import takes a second, which is no part of any answer
import pytest

from agent.models.endpoint.openai_chat import OpenAIChat
from agent.models.endpoint.openai_responses import OpenAIResponses
from tests.agent.answers import completion, function_call, response, spoken, streamed
from tests.agent.models.test_openai_chat import ASK, KEY, TOOLS


class Api:
    """`name` is that of ``--api``; `path` the path of its requests."""

    def __init__(self, name):
        self.name = name
        self.path = "/v1/chat/completions" if name == "chat" else "/v1/responses"
        self.ok = self.says("ok")

    def model(self, url, key=KEY, notify=lambda line: None):
        if self.name == "chat":
            return OpenAIChat("m", key, url, notify=notify)
        return OpenAIResponses("m", key, url, notify)

    def ask(self, server, *answers, seconds=20.0, key=KEY):
        server.answers = list(answers)
        return self.model(server.url, key).respond(ASK, TOOLS, seconds)

    def says(self, text, *calls):
        """Words, and calls as (name, arguments)."""
        if self.name == "chat":
            made = [{"id": "a", "function": {"name": n, "arguments": json.dumps(a)}} for n, a in calls]
            return completion({"content": text, **({"tool_calls": made} if made else {})})
        made = [function_call(a, n, f"call_{i}", i) for i, (n, a) in enumerate(calls)]
        return response(*([spoken(text)] if text else []), *made)

    def streamed(self, text, whole=True):
        """The words as a stream, which breaks off unless it is `whole`."""
        if self.name == "chat":
            chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
            end = "data: [DONE]\n\n" if whole else ""
            return 200, {"content-type": "text/event-stream"}, f"data: {json.dumps(chunk)}\n\n{end}"
        status, headers, events = streamed(self.says(text))
        return status, headers, events if whole else events[: events.index("event: response.completed")]


both = pytest.mark.parametrize("api", [Api("chat"), Api("responses")], ids=lambda api: api.name)
