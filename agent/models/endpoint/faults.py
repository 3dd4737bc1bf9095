"""What went wrong at an endpoint, as one sentence for the user: their mistake, or the server's."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any, Literal

from agent.errors import AgentError, UsageError
from agent.models.endpoint.retries import TRANSIENT, Garbled, Reported, cause_of, transient
from memory.terms import printable

LONGEST_REASON = 200
"""Characters of a server's own words that are shown."""
LONGEST_WORDS = 2000
"""Characters of them in which a refused field is looked for."""
NO_SUCH_MODEL = re.compile(r"model[\w\s'\"`./:=-]*(not found|does not exist|not exist)|invalid model|no such model")
NO_SUCH_KEY = re.compile(r"(api[ _]key|token)[\w\s]*(not valid|invalid)|(invalid|incorrect) api[ _]key")
KEY_TYPES = frozenset({"invalid_api_key", "authentication_error", "no_db_connection"})
"""Types of error that mean the key; the last is LiteLLM's for a key other than its own."""
MODEL_CODES = frozenset({"model_not_found", "invalid_model"})


OPAQUE = re.compile(r"[\w+/=-]{64,}")
"""A run of characters that no words have: encrypted content, a key."""


class Outage(AgentError):
    """The endpoint did not answer; the run can go on later."""

    out_of_time = False
    """Whether the run's own time is too short for another try."""


class OtherApi(UsageError):
    """The server does not take the request through this API: Chat Completions or Responses."""

    def __init__(self, message: str, reason: str = "", absent: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        """The server's status and words: ``HTTP 404``."""
        self.absent = absent
        """Whether the API's path is not there; otherwise the server names the other one."""


def explain(error: Exception, where: str, model: str, patience: float, hidden: Callable[[str], str]) -> AgentError:
    """A failed request as an error with one sentence; `hidden` takes the key out of a server's words."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return refused(error.status_code, hidden(reason_of(error)), misread(error), where, model)
    if isinstance(error, openai.APITimeoutError):
        return Outage(f"{where} did not answer within {patience:.0f} s: try again later, or another --base-url.")
    if isinstance(error, openai.APIConnectionError):
        cause = cause_of(error)
        words = " ".join(hidden(str(cause or error)).split())[:LONGEST_REASON].rstrip(".")
        if isinstance(cause, ssl.SSLError):
            return Outage(f"No TLS connection to {where} ({words}): check the https in --base-url and its certificate.")
        return Outage(f"Cannot reach {where} ({words}): check --base-url and the network.")
    if isinstance(error, Reported):
        verb = "is failing" if transient(error) else "refused the request"
        return Outage(f"{where} {verb} ({error.code}: {hidden(reason_of(error))}).")
    if isinstance(error, Garbled):
        words = f"answered {error}" if error.tries < 10 else f"answered, but {error}"
        return Outage(f"{where} {words}: check --base-url (most servers want it to end in /v1).")
    return Outage(f"{where} answered with something unexpected ({type(error).__name__}): check --base-url.")


def refused(status: int, reason: str, about: str, where: str, model: str) -> AgentError:
    if status == 401 or about == "key":
        return UsageError(f"{where} refused the key (HTTP {status}): check OPENAI_API_KEY.")
    if status == 403:
        return UsageError(f"{where} refused the key for {model!r} (HTTP 403): check OPENAI_API_KEY and its rights.")
    if status == 404 or about == "model":
        return UsageError(f"{where} has no model {model!r} (HTTP {status}): check --model and --base-url.")
    if status == 402:
        return Outage(f"{where} wants payment (HTTP 402: {reason}).")
    if status == 429:
        return Outage(f"{where} refuses more requests for now (HTTP 429: {reason}).")
    if status >= 500 or status in TRANSIENT:
        return Outage(f"{where} is failing (HTTP {status}: {reason}).")
    return Outage(f"{where} refused the request (HTTP {status}: {reason}).")


def reason_of(error: Any) -> str:
    """The server's own words, short, on one line and without anything encrypted."""
    return OPAQUE.sub("[...]", line_of(error))[:LONGEST_REASON].rstrip(". ") or "no reason given"


def words_of(error: Any) -> str:
    """The server's own words at length, with the parameter that it names."""
    return f"{line_of(error)[:LONGEST_WORDS]} {getattr(error, 'param', None) or ''}".strip()


def line_of(error: Any) -> str:
    """The server's own words on one line; empty if it gives none."""
    words = plain_words(error.body)
    if "<html" in words[:500].lower():
        words = ""
    return " ".join(printable(words, " ").split())


def plain_words(body: Any) -> str:
    """The sentence in an error's body: OpenAI's ``message``, a list of one error (Gemini), or pydantic's list of
    places and reasons (Mistral, vLLM), whose ``input`` would be our own words."""
    if isinstance(body, list):
        return "; ".join(plain_words(item) for item in body[:3])
    if not isinstance(body, dict):
        return "" if body is None else str(body)
    if "msg" in body and isinstance(body.get("loc"), list | tuple):
        return f"{'.'.join(map(str, body['loc']))}: {body['msg']}"
    inner = body.get("message") or body.get("detail") or body.get("error")
    return plain_words(inner) if inner else str(body)


def misread(error: Any) -> Literal["key", "model", ""]:
    """What a 400 is really about, where a server says that instead of 401 or 404."""
    if error.status_code not in (400, 422):
        return ""
    words = words_of(error).lower()
    if {error.type, error.code} & KEY_TYPES or NO_SUCH_KEY.search(words):
        return "key"
    return "model" if names_model(error) else ""


def names_model(error: Any) -> bool:
    """Whether a refusal says that there is no such model."""
    return error.code in MODEL_CODES or NO_SUCH_MODEL.search(words_of(error).lower()) is not None
