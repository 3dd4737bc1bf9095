"""What Chat Completions and Responses share: one client, deadlines, retries, fields given up, a hidden key.

Answers are read as plain JSON rather than through the client's classes, because compatible servers differ in what they
leave out. A request has a total deadline, which an answer that arrives byte by byte cannot outlast. The key is taken
out of everything that a server says before anyone else sees it.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from agent.errors import UsageError
from agent.models.apis import PATHS, ApiName
from agent.models.base import Message, Reply, ToolSchema, without_surrogates
from agent.models.context import shown
from agent.models.endpoint.faults import OtherApi, Outage, explain, names_model, reason_of, words_of
from agent.models.endpoint.retries import Garbled, Patience, Reported, transient, unreachable
from agent.models.endpoint.secrecy import without_key
from agent.models.prices import Price, price_of
from agent.models.providers.refusals import LIMIT
from agent.models.waiting import Waiting

if TYPE_CHECKING:
    import openai

OPENAI = "https://api.openai.com/v1"
REPLY_TOKENS = 8192
"""Tokens of an answer at most."""
REASONED_TOKENS = 32_768
"""The same with reasoning, which is part of the answer. OpenAI's guide to reasoning models advises 25,000 at least."""
TOO_LONG = re.compile(r"too (large|high|big|long)|at most|maximum|exceed|less than or equal|context len")
"""A refusal in these words finds the answer's limit too high."""
ABSENT = (404, 405, 501)
"""Statuses of a path that a server does not have."""
LARGEST = 16 * 2**20
"""Bytes of an answer at most."""
MOST_GIVEN_UP = 10
"""Refusals of a field after which a request is hopeless."""


class Endpoint(ABC):
    """A model by name behind a base URL, spoken to through one API."""

    api: ClassVar[ApiName]
    streams: bool = False
    """Whether the answer comes piece by piece: the time of an attempt then limits its silence, and the model's own time
    its length."""

    def __init__(
        self,
        name: str,
        key: str | None,
        base_url: str | None,
        notify: Callable[[str], None] = lambda line: None,
        effort: str | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """`effort` is how hard the model thinks; ``None`` leaves it to the model. Raises UsageError if the key is
        missing or the URL is not one."""
        self._waiting = waiting or Waiting()
        key = (key or "").strip()
        if not key and base_url is None:
            raise UsageError(
                f"The model {name} needs a key: set OPENAI_API_KEY (a .env file is read), or name your own server with "
                "--base-url, or use --model embedded, which needs none."
            )
        if not (key.isascii() and key.isprintable()):
            raise UsageError("OPENAI_API_KEY holds characters that no key has: set it anew.")
        self.name = name
        self._key, self._url, self._notify = key, base_url or OPENAI, notify
        self._where = host_of(self._url)
        self._price: Price | None = price_of(name)
        self._effort = effort
        self._most = self._waiting.reply_tokens or (REPLY_TOKENS if effort in (None, "none") else REASONED_TOKENS)
        self._untold: list[str] = []
        """Notices for the next reply."""
        self._met = False
        self._answered = False

    @cached_property
    def _client(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(api_key=self._key or "none", base_url=self._url, max_retries=0)

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        """Raises OtherApi if the server wants the other API."""
        import openai

        began = time.monotonic()
        patience = min(self._waiting.patience_seconds, seconds)
        retry_until, notices = began + patience, list(self._untold)
        end = began + seconds if self.streams else retry_until
        most = self._most if tokens is None else tokens
        retrying = Patience(retry_until, self._met, self._notify, self._where).retrying()
        try:
            body = retrying(self._ask, shown(messages, tools), list(tools), end, most, notices)
        except (openai.APIError, Garbled, Reported) as e:
            error = explain(e, self._where, self.name, patience, self._hidden)
            if isinstance(error, Outage):
                too_late = seconds <= self._waiting.patience_seconds or time.monotonic() >= began + seconds - 0.5
                error.out_of_time = too_late and transient(e) and (self._met or not unreachable(e))
            raise error from e
        reply = self._reply(body, time.monotonic() - began, tuple(notices))
        self._answered, self._untold = True, []
        return reply

    def _ask(
        self, messages: list[Message], tools: list[ToolSchema], end: float, tokens: int, notices: list[str]
    ) -> Any:
        """One request; the answer's JSON. What the server refuses is given up, and it is asked again."""
        import openai

        for _ in range(MOST_GIVEN_UP):
            try:
                return self._request(messages, tools, end, tokens)
            except (openai.APIStatusError, Reported) as e:
                self._met = True
                if isinstance(e, openai.APIStatusError):
                    self._check_api(e)
                given_up = self._shorten(e) or self._give_up(e, messages)
                if given_up is None:
                    raise
                notices.append(given_up)
        return self._request(messages, tools, end, tokens)

    def _check_api(self, error: openai.APIStatusError) -> None:
        """Raises OtherApi if the server says that the model is to be asked through the other API, or knows no path of
        this one (a path that answered before is known, so its 404 means something else)."""
        status, words = error.status_code, words_of(error)
        other: ApiName = "responses" if self.api == "chat" else "chat"
        if status in (400, 404, 422) and PATHS[other].lstrip("/") in words.lower():
            reason = f"HTTP {status}: {self._hidden(reason_of(error))}"
            raise OtherApi(
                f"{self._where} takes this request only on {PATHS[other]} ({reason}): use --api {other} or --api auto.",
                reason,
            )
        if status in ABSENT and not (self._answered or names_model(error)):
            raise OtherApi(
                f"{self._where} has no model {self.name!r} or no {PATHS[self.api]} (HTTP {status}): check --model, "
                "--base-url and --api.",
                f"HTTP {status}",
                absent=True,
            )

    def _shorten(self, error: Exception) -> str | None:
        """Asks for shorter answers from now on if the server finds them too long: a notice, else ``None``."""
        words = words_of(error).lower()
        refused = getattr(error, "status_code", None) in (400, 422) and LIMIT.search(words) and TOO_LONG.search(words)
        if not refused or self._most <= REPLY_TOKENS:
            return None
        self._most = REPLY_TOKENS
        return self._refused(error, f"with at most {REPLY_TOKENS} tokens an answer")

    def _refused(self, error: Exception, change: str) -> str:
        """The notice that a request was refused, and how the next one differs: ``without strict``."""
        status = getattr(error, "status_code", None)
        reason = self._hidden(reason_of(error))
        return f"{self._where} refused a request ({f'HTTP {status}: ' if status else ''}{reason}): going on {change}"

    def _request(self, messages: list[Message], tools: list[ToolSchema], end: float, tokens: int) -> Any:
        import httpx2

        total = max(0.5, end - time.monotonic())
        silence = min(self._waiting.attempt_seconds, total)
        if not self.streams:
            total = silence
        began, parts, size = time.monotonic(), list[bytes](), 0
        late = f"the answer did not end within {total:.0f} s or {LARGEST >> 20} MiB"
        ended = self._ending()
        with self._send(
            messages, tools, min(tokens, self._most), httpx2.Timeout(silence, connect=min(silence, 10.0))
        ) as raw:
            self._met = True
            headers = raw.headers
            try:
                with hang_up(raw.http_response, total) as hung_up:
                    for part in raw.iter_bytes():
                        parts.append(part)
                        size += len(part)
                        if size > LARGEST or time.monotonic() - began > total:
                            raise Garbled(late)
                        if ended(part):
                            break
            except httpx2.ReadTimeout as e:
                raise Garbled(late if silence == total else f"nothing more of it came for {silence:.0f} s") from e
            except (httpx2.HTTPError, httpx2.StreamError) as e:
                raise Garbled(late if hung_up.is_set() else f"the answer broke off ({type(e).__name__})") from e
            if hung_up.is_set():
                raise Garbled(late)
        body = self._read(b"".join(parts).decode(errors="replace"), headers.get("content-type", ""))
        self._met_with(headers, body)
        return body

    def _read(self, text: str, content_type: str) -> Any:
        """The body as JSON, without the key. Raises Garbled."""
        try:
            body = self._parse(text)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            if "html" in content_type or text.lstrip().startswith("<"):
                raise Garbled("with a web page, not JSON", tries=1) from e
            raise Garbled("with something that is no JSON", tries=3) from e
        return json.loads(self._hidden(json.dumps(without_surrogates(body))))

    def _hidden(self, text: str) -> str:
        """`text` without the key."""
        return without_key(text, self._key)

    def _ending(self) -> Callable[[bytes], bool]:
        """A function that is given the answer's pieces in order and returns whether it is complete."""
        return lambda part: False

    def _met_with(self, headers: Mapping[str, str], body: Any) -> None:
        """Learns from the headers and the body of an answer."""
        return

    @abstractmethod
    def _send(
        self, messages: list[Message], tools: list[ToolSchema], tokens: int, timeout: Any
    ) -> AbstractContextManager[Any]:
        """The request, made when it is entered."""

    @abstractmethod
    def _parse(self, text: str) -> Any:
        """The JSON of a body, which may be a stream of events. Raises ValueError, KeyError, TypeError or AttributeError
        if it is neither, Reported for a failure that it reports."""

    @abstractmethod
    def _give_up(self, error: Exception, messages: list[Message]) -> str | None:
        """Changes all later requests so that they may pass: a notice of the change, ``None`` if nothing is left to
        change."""

    @abstractmethod
    def _reply(self, body: Any, seconds: float, notices: tuple[str, ...]) -> Reply:
        """The answer in the loop's form. Raises Outage if it is none."""


@contextmanager
def hang_up(response: Any, seconds: float) -> Iterator[threading.Event]:
    """Ends the connection of `response` after `seconds`, and sets the event. A read's own timeout begins anew with each
    byte, and so limits no answer that drips."""
    connection, done = response.extensions["network_stream"].get_extra_info("socket"), threading.Event()

    def end() -> None:
        done.set()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield done
    finally:
        timer.cancel()


def host_of(base_url: str) -> str:
    """Host and port for messages, without credentials. Raises UsageError for what is no URL of a server."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or any(c.isspace() for c in base_url):
        raise UsageError(f"{base_url!r} is not the base URL of a server: write it like http://127.0.0.1:8000/v1.")
    return f"{host}:{port}" if port else host


def text_of(content: Any) -> str | None:
    """A message's words; some servers give them in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None
