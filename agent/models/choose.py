"""Which model decides, from the options and the environment."""

from __future__ import annotations

import os

from agent.errors import UsageError
from agent.models.base import ChatModel
from agent.models.embedded import Embedded

EMBEDDED = "embedded"


def model_name(option: str | None, base_url: str | None) -> str:
    """``--model``, else AUTOKERNEL_MODEL, else the embedded one. A key alone chooses nothing: it would spend money
    that nobody asked to spend."""
    name = (option or os.environ.get("AUTOKERNEL_MODEL") or EMBEDDED).strip()
    if not name:
        raise UsageError("--model is empty: name a model, or embedded.")
    if base_url and name == EMBEDDED:
        raise UsageError("--base-url names a server, but no model on it: add --model NAME.")
    return name


def load_model(name: str, base_url: str | None) -> ChatModel:
    """The model by name. The key is read from OPENAI_API_KEY, the server from --base-url or OPENAI_BASE_URL."""
    if name == EMBEDDED:
        return Embedded()
    from agent.models.openai_chat import OpenAIChat

    return OpenAIChat(name, os.environ.get("OPENAI_API_KEY"), base_url or os.environ.get("OPENAI_BASE_URL") or None)


def secrets() -> tuple[str, ...]:
    """What must never be written anywhere."""
    return tuple(key for key in [os.environ.get("OPENAI_API_KEY")] if key)
