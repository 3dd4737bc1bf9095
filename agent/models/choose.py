"""Which model decides, from the options and the environment."""

from __future__ import annotations

import os
from collections.abc import Callable

from agent.errors import UsageError
from agent.models.apis import API_CHOICES, VARIABLE, ApiChoice
from agent.models.base import CLIENT, EMBEDDED, ChatModel
from agent.models.embedded import Embedded
from agent.models.trace_model import Recorded
from agent.models.waiting import Waiting
from kernels.finder import absolute


def model_name(option: str | None, base_url: str | None) -> str:
    """``--model``, else AUTOKERNEL_MODEL, else the embedded one; a file's path is made absolute. A key alone
    chooses nothing: it would spend money that nobody asked to spend."""
    name = (option or os.environ.get("AUTOKERNEL_MODEL") or EMBEDDED).strip()
    if not name:
        raise UsageError("--model is empty: name a model, or embedded.")
    if base_url and name == EMBEDDED:
        raise UsageError("--base-url names a server, but no model on it: add --model NAME.")
    if name.endswith(".py"):
        raise UsageError(f"{name} is a file: name the model in it, {name}:NAME.")
    reference = absolute(name)
    if base_url and reference.rpartition(":")[0].endswith(".py"):
        raise UsageError(f"--base-url names a server, and {name} is a model in a file: leave one of them out.")
    return reference


def api_name(option: str | None, model: str) -> ApiChoice:
    """``--api``, else AUTOKERNEL_API, else ``auto``. Raises UsageError for another word, and for an option without a
    language model."""
    if option is not None and model == EMBEDDED:
        raise UsageError("--api says how a server is asked, but no model on it: add --model NAME.")
    name = (option or os.environ.get(VARIABLE) or "auto").strip().lower()
    for choice in API_CHOICES:
        if name == choice:
            return choice
    raise UsageError(f"There is no API {name!r}: --api and {VARIABLE} take one of {', '.join(API_CHOICES)}.")


def load_model(
    name: str,
    base_url: str | None,
    endpoint: str | None = None,
    notify: Callable[[str], None] = lambda line: None,
    effort: str | None = None,
    api: ApiChoice = "auto",
    waiting: Waiting | None = None,
) -> ChatModel:
    """The model by name. The key is read from OPENAI_API_KEY, the server from --base-url or OPENAI_BASE_URL;
    ``path.py:NAME`` and ``module:NAME`` are a user's own models. The embedded planner has no effort."""
    if name == EMBEDDED:
        if endpoint is not None:
            raise UsageError("--endpoint names a kind of server, but no model on it: add --model NAME.")
        return Embedded()
    if name == CLIENT:
        raise UsageError("A coding agent decided in this run: go on with python -m tools serve --resume RUN.")
    from agent.models.endpoint.either_api import EitherApi
    from agent.models.endpoint.openai_chat import OpenAIChat
    from agent.models.endpoint.openai_responses import OpenAIResponses
    from agent.models.own_model import is_own, load_own

    url, key = base_url or os.environ.get("OPENAI_BASE_URL") or None, os.environ.get("OPENAI_API_KEY")
    if is_own(name, url):
        if endpoint is not None:
            raise UsageError(f"--endpoint names a kind of server, but {name} is no model on one: leave it out.")
        return load_own(name)
    chat = OpenAIChat(name, key, url, endpoint, notify, effort, waiting)
    if api == "chat":
        return chat
    responses = OpenAIResponses(name, key, url, notify, effort, waiting)
    return responses if api == "responses" else EitherApi(chat, responses, url)


def deputy_of(model: ChatModel) -> ChatModel:
    """Who goes on where `model` gets nowhere: the embedded planner. A recorded model repeats whoever went on."""
    return model if isinstance(model, Recorded) else Embedded()


def secrets() -> tuple[str, ...]:
    """What must never be written anywhere. Words that stand in for a key (``none``) are no secrets."""
    from agent.models.endpoint.secrecy import is_secret

    key = (os.environ.get("OPENAI_API_KEY") or "").strip()
    return (key,) if is_secret(key) else ()
