"""When a request is tried again, and how long it waits: the only place that retries (the client's own are off)."""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying

T = TypeVar("T")

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 522, 524, 529})
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds; waits double from the first to the longest and are jittered."""
UNMET_TRIES = 3
"""Connections tried to a server that never answered: it is more likely not there than busy."""
UNMET_WAIT = 0.1
"""Seconds between them."""
PASSING = frozenset({"server_error", "internal_error", "rate_limit_exceeded", "overloaded", "server_is_overloaded"})
"""Codes of reported failures that pass."""
SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Error codes of a 429 that no waiting mends."""


class Garbled(Exception):
    """An answer that broke off, or is not what was asked for."""

    def __init__(self, what: str, tries: int = 10**6) -> None:
        super().__init__(what)
        self.tries = tries
        """How often the request is made before it is given up."""


class Reported(Exception):
    """A failure that a server reports inside of an answer with HTTP 200."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code, self.type, self.body = code, code, {"message": words}


@dataclass(frozen=True)
class Patience:
    """Retries of one message: until `deadline` (seconds of ``time.monotonic``), while `met` says whether the server
    ever answered in this run."""

    deadline: float
    met: bool
    notify: Callable[[str], None]
    where: str

    def retrying(self) -> Retrying:
        import tenacity

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(transient),
            stop=self._stop,
            wait=wait,
            before_sleep=self._say,
            reraise=True,
        )

    def _stop(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not self.met and unreachable(error) and state.attempt_number >= UNMET_TRIES:
            return True
        if isinstance(error, Garbled) and state.attempt_number >= error.tries:
            return True
        return time.monotonic() + state.upcoming_sleep >= self.deadline

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        status = getattr(error, "status_code", None)
        what = f"answers HTTP {status}" if status else "cannot be reached" if unreachable(error) else "broke off"
        what = f"reports {error.code}" if isinstance(error, Reported) else what
        self.notify(f"    {self.where} {what}: trying again in {state.upcoming_sleep:.1f} s")


def transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in TRANSIENT and error.code not in SPENT
    if isinstance(error, openai.APIConnectionError):
        return not isinstance(cause_of(error), ssl.SSLError)
    if isinstance(error, Reported):
        return error.code in PASSING or (error.code.isdecimal() and int(error.code) in TRANSIENT)
    return isinstance(error, Garbled)


def unreachable(error: BaseException | None) -> bool:
    """Whether no connection was made: refused, or no such name."""
    cause = cause_of(error)
    return isinstance(cause, ConnectionRefusedError | socket.gaierror) or (
        isinstance(cause, OSError) and not isinstance(cause, ConnectionError | TimeoutError | ssl.SSLError)
    )


def cause_of(error: BaseException | None) -> BaseException | None:
    """The innermost reason of a failed connection, as the operating system gave it."""
    while error is not None and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def wait(state: RetryCallState) -> float:
    """Seconds until the next try: what the server asks for, else exponential with full jitter."""
    import tenacity

    error = state.outcome.exception() if state.outcome else None
    response = getattr(error, "response", None)
    asked = asked_wait(response.headers) if response is not None else None
    if asked is not None:
        return max(FIRST_WAIT / 5, asked)
    if unreachable(error):
        return UNMET_WAIT * state.attempt_number
    return FIRST_WAIT / 2 + tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)(state)


def asked_wait(headers: Any) -> float | None:
    """``Retry-After`` in seconds, given as a number or a date (RFC 9110, 10.2.3), or OpenAI's ``retry-after-ms``."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name) or ""
        try:
            seconds = float(text) * scale
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(headers.get("retry-after") or "")
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
