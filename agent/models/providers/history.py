"""A conversation as one server takes it: its role for the rules, its reasoning fields, its signatures.

The conversation keeps what every model gave; a run that is forked goes on at another server, which may refuse the
fields of the first one and want its own on messages that never had them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.models.base import Message
from agent.models.context import folded
from agent.models.providers.profile import Profile

STAND_IN = " "
"""Reasoning of a message that has none: the field must be there, and some servers take an empty one for missing."""
SKIP_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""For calls that Gemini did not make (ai.google.dev/gemini-api/docs/thought-signatures, questions and answers)."""
NO_WORDS = "(no words)"
"""For a message without words and calls: OpenAI and Anthropic refuse an empty one."""


def address(messages: Sequence[Message], profile: Profile) -> list[Message]:
    """The messages to send to a server with this profile."""
    role = profile.roles[0]
    found = []
    for message in messages:
        if message["role"] == "system":
            message = {**message, "role": role}
        elif message["role"] == "assistant":
            message = own(message, profile)
        found.append(message)
    return folded(found) if role == "user" else found


def own(message: Message, profile: Profile) -> Message:
    """An assistant's message with the fields that this server knows, and those that it cannot do without."""
    calls = message.get("tool_calls") or ()
    content = message.get("content")
    kept: Message = {"role": "assistant", "content": content if calls or (content or "").strip() else NO_WORDS}
    for field in profile.returned:
        if message.get(field):
            kept[field] = message[field]
        elif calls and profile.filled:
            kept[field] = STAND_IN
    if calls:
        kept["tool_calls"] = [sign(call, place, profile) for place, call in enumerate(calls)]
    return kept


def sign(call: dict[str, Any], place: int, profile: Profile) -> dict[str, Any]:
    """A tool call with its signature or, at the first place, the stand-in: of parallel calls Gemini signs the first."""
    extra = call.get("extra_content") if profile.signed else None
    if not extra and profile.unsigned and place == 0:
        extra = SKIP_SIGNATURE
    bare = {name: call[name] for name in ("id", "type", "function")}
    return {**bare, "extra_content": extra} if extra else bare
