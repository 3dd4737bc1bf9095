"""What went wrong at an endpoint, as one sentence for the user: their mistake, or the server's."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any, Literal

from agent.errors import AgentError, UsageError
from agent.models.endpoint.retries import TRANSIENT, Garbled, cause_of

LONGEST_REASON = 200
"""Characters of a server's own words that are shown."""
NO_SUCH_MODEL = re.compile(r"model[\w\s'\"`./:=-]*(not found|does not exist|not exist)|invalid model|no such model")
NO_SUCH_KEY = re.compile(r"(api[ _]key|token)[\w\s]*(not valid|invalid)|(invalid|incorrect) api[ _]key")
KEY_TYPES = frozenset({"invalid_api_key", "authentication_error", "no_db_connection"})
"""Types of error that mean the key; the last is LiteLLM's for a key other than its own."""
MODEL_CODES = frozenset({"model_not_found", "invalid_model"})


class Outage(AgentError):
    """The endpoint did not answer; the run can go on later."""

    out_of_time = False
    """Whether the run's own time is too short for another try."""


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
    """The server's own words, short and on one line."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body.get("error")
    words = body if isinstance(body, str) else "" if body is None else str(body)
    if "<html" in words[:500].lower():
        words = ""
    words = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return words[:LONGEST_REASON].rstrip(". ") or "no reason given"


def misread(error: Any) -> Literal["key", "model", ""]:
    """What a 400 is really about, where a server says that instead of 401 or 404."""
    if error.status_code not in (400, 422):
        return ""
    words = reason_of(error).lower()
    if {error.type, error.code} & KEY_TYPES or NO_SUCH_KEY.search(words):
        return "key"
    return "model" if error.code in MODEL_CODES or NO_SUCH_MODEL.search(words) else ""
