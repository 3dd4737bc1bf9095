"""One endpoint that speaks Chat Completions, Responses, or both: ``--api auto``.

It begins with Responses at OpenAI's host and with Chat Completions elsewhere. If the server names the other API in a
refusal, or has no path for this one, the other one is used from then on. The switch is known after a resume too: a
message that came through Responses holds its output items.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from agent.errors import UsageError
from agent.models.apis import PATHS, ApiName
from agent.models.base import OUTPUT, ChatModel, Message, Reply, ToolSchema
from agent.models.endpoint.client import OPENAI, Endpoint, host_of
from agent.models.endpoint.faults import OtherApi


class EitherApi:
    """The model of `chat` and `responses`, which are the same one through each API."""

    def __init__(self, chat: Endpoint, responses: Endpoint, base_url: str | None) -> None:
        self.name = chat.name
        self._apis: dict[ApiName, Endpoint] = {"chat": chat, "responses": responses}
        self._where = host_of(base_url or OPENAI)
        self._first: ApiName = "responses" if is_openai(base_url) else "chat"
        self._current: ApiName | None = None
        self._switched = False

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        """Raises UsageError if neither API is there."""
        began = time.monotonic()
        if self._current is None:
            self._current = "responses" if spoke_responses(messages, self.name) else self._first
        try:
            return self._speaker.respond(messages, tools, seconds, tokens)
        except OtherApi as e:
            if self._switched:
                raise
            first = e
        before = self._current
        self._switched, self._current = True, "chat" if before == "responses" else "responses"
        left = max(1.0, seconds - (time.monotonic() - began))
        try:
            reply = self._speaker.respond(messages, tools, left, tokens)
        except OtherApi as e:
            if first.absent and e.absent:
                raise UsageError(
                    f"{self._where} has neither {PATHS[before]} nor {PATHS[self._current]}, or no model {self.name!r} "
                    f"({first.reason}, {e.reason}): check --base-url (most servers want it to end in /v1) and --model."
                ) from e
            raise UsageError(
                f"{self._where} refuses the model {self.name!r} through both APIs ({PATHS[before]}: {first.reason}; "
                f"{PATHS[self._current]}: {e.reason}): try another model."
            ) from e
        why = f"has no {PATHS[before]}" if first.absent else f"does not take this model's tools on {PATHS[before]}"
        notice = f"{self._where} {why}: going on with {PATHS[self._current]}"
        return replace(reply, notices=(notice, *reply.notices))

    @property
    def _speaker(self) -> ChatModel:
        return self._apis[self._current or self._first]


def is_openai(base_url: str | None) -> bool:
    """Whether the server is OpenAI's own, its regional hosts (``eu.api.openai.com``) included."""
    host = urlsplit(base_url or OPENAI).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def spoke_responses(messages: Sequence[Message], model: str) -> bool:
    """Whether the last of `model`'s messages came through Responses."""
    kept = [message[OUTPUT] for message in messages if isinstance(message.get(OUTPUT), dict)]
    return bool(kept) and kept[-1].get("model") == model
