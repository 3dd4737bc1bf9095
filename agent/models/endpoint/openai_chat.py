"""Chat Completions, at OpenAI or any server that speaks its protocol.

Answers are read as plain JSON rather than through the client's classes, because compatible servers differ in what they
leave out. A request has a total deadline, which an answer that arrives byte by byte cannot outlast. The key is taken
out of everything that a server says before anyone else sees it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from agent.errors import UsageError
from agent.models.base import Message, Reply, ToolSchema, without_surrogates
from agent.models.context import shown
from agent.models.endpoint import chat_stream
from agent.models.endpoint.faults import Outage, explain, misread, reason_of
from agent.models.endpoint.retries import PATIENCE, Garbled, Patience, transient, unreachable
from agent.models.endpoint.secrecy import without_key
from agent.models.prices import Price, price_of
from agent.models.providers.profile import PROFILES, profile_at, profile_of_answer

OPENAI = "https://api.openai.com/v1"
ATTEMPT = 180.0
"""Seconds of one try; reasoning models think for minutes."""
REPLY_TOKENS = 8192
"""Tokens of an answer at most, reasoning included."""
LARGEST = 16 * 2**20
"""Bytes of an answer at most."""
MOST_GIVEN_UP = 6
"""Refusals of a field after which a request is hopeless."""


class OpenAIChat:
    """A model by name behind a base URL."""

    def __init__(
        self,
        name: str,
        key: str | None,
        base_url: str | None,
        endpoint: str | None = None,
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Raises UsageError where the key is missing, or the URL or the endpoint's name is none."""
        import openai

        key = (key or "").strip()
        if not key and base_url is None:
            raise UsageError(
                f"The model {name} needs a key: set OPENAI_API_KEY (a .env file is read), or name your own server with "
                "--base-url, or use --model embedded, which needs none."
            )
        if not (key.isascii() and key.isprintable()):
            raise UsageError("OPENAI_API_KEY holds characters that no key has: set it anew.")
        if endpoint is not None and endpoint not in PROFILES:
            raise UsageError(f"There is no endpoint {endpoint!r}: --endpoint takes one of {', '.join(PROFILES)}.")
        self.name = name
        self._key, self._notify = key, notify
        self._where = host_of(base_url or OPENAI)
        self._price: Price | None = price_of(name)
        self._profile = PROFILES[endpoint] if endpoint else profile_at(base_url or OPENAI)
        self._known = endpoint is not None or self._profile.name != "compatible"
        self._met = False
        self._client = openai.OpenAI(api_key=key or "none", base_url=base_url or OPENAI, max_retries=0)

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        import openai

        began = time.monotonic()
        patience = min(PATIENCE, seconds)
        deadline, notices = began + patience, list[str]()
        most = REPLY_TOKENS if tokens is None else min(REPLY_TOKENS, tokens)
        retrying = Patience(deadline, self._met, self._notify, self._where).retrying()
        try:
            body = retrying(self._ask, shown(messages, tools), list(tools), deadline, most, notices)
        except (openai.APIError, Garbled) as e:
            error = explain(e, self._where, self.name, patience, self._hidden)
            if isinstance(error, Outage):
                error.out_of_time = seconds <= PATIENCE and transient(e) and (self._met or not unreachable(e))
            raise error from e
        return self._reply(body, time.monotonic() - began, tuple(notices))

    def _ask(
        self, messages: list[Message], tools: list[ToolSchema], deadline: float, tokens: int, notices: list[str]
    ) -> Any:
        """One request; the answer's JSON. Fields that the server refuses are given up, and it is asked again."""
        import openai

        for _ in range(MOST_GIVEN_UP):
            try:
                return self._request(messages, tools, deadline, tokens)
            except openai.APIStatusError as e:
                self._met = True
                less = self._profile.without(reason_of(e)) if e.status_code in (400, 422) else None
                if less is None or misread(e):
                    raise
                self._profile, field = less
                notices.append(
                    f"{self._where} refused a request (HTTP {e.status_code}: {self._hidden(reason_of(e))}): "
                    f"going on without {field}"
                )
        return self._request(messages, tools, deadline, tokens)

    def _request(self, messages: list[Message], tools: list[ToolSchema], deadline: float, tokens: int) -> Any:
        import httpx2

        left = max(0.5, min(ATTEMPT, deadline - time.monotonic()))
        began, parts, size = time.monotonic(), list[bytes](), 0
        fields: dict[str, Any] = self._profile.fields(tools, tokens)
        with self._client.chat.completions.with_streaming_response.create(
            model=self.name,
            messages=messages,  # type: ignore[arg-type]
            timeout=httpx2.Timeout(left, connect=min(left, 10.0)),
            **fields,
        ) as raw:
            self._met = True
            headers = raw.headers
            try:
                for part in raw.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > LARGEST or time.monotonic() - began > left:
                        raise Garbled(f"the answer did not end within {left:.0f} s or {LARGEST >> 20} MiB")
            except (httpx2.HTTPError, httpx2.StreamError) as e:
                raise Garbled(f"the answer broke off ({type(e).__name__})") from e
        body = self._read(b"".join(parts).decode(errors="replace"), headers.get("content-type", ""))
        if not self._known:
            self._known = True
            found = profile_of_answer(headers, body)
            self._profile = found if found is not None else self._profile
        return body

    def _read(self, text: str, content_type: str) -> Any:
        """The body as JSON, without the key. Raises Garbled."""
        try:
            body = chat_stream.assembled(text) if chat_stream.looks_like_stream(text) else json.loads(text)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            if "html" in content_type or text.lstrip().startswith("<"):
                raise Garbled("with a web page, not JSON", tries=1) from e
            raise Garbled("with something that is no JSON", tries=3) from e
        return json.loads(self._hidden(json.dumps(without_surrogates(body))))

    def _reply(self, body: Any, seconds: float, notices: tuple[str, ...]) -> Reply:
        """The answer in the loop's form. Tool calls count, whatever the finish reason says."""
        try:
            choice = body["choices"][0]
            given = choice["message"]
            calls = [called(call) for call in given.get("tool_calls") or ()]
            finish = choice.get("finish_reason")
            refusal = given.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError) as e:
            raise Outage(f"{self._where} did not answer with a chat completion: check --base-url.") from e
        message: Message = {"role": "assistant", "content": text_of(given.get("content") or refusal)}
        message |= {field: given[field] for field in self._profile.returned if given.get(field)}
        if calls:
            message["tool_calls"] = calls
        used = Usage(body.get("usage"))
        refused = bool(refusal) or finish == "content_filter"
        return Reply(
            message,
            used.total,
            seconds,
            prompt_tokens=used.prompt,
            cached_tokens=used.cached,
            cost=used.cost(self._price),
            finish="length" if finish == "length" else "refusal" if refused and not calls else "",
            notices=notices,
        )

    def _hidden(self, text: str) -> str:
        """`text` without the key."""
        return without_key(text, self._key)


class Usage:
    """Tokens of one exchange, as far as the endpoint says."""

    def __init__(self, given: Any) -> None:
        usage = given if isinstance(given, dict) else {}
        details = usage.get("prompt_tokens_details")
        self.prompt = counted(usage.get("prompt_tokens"))
        self.answer = counted(usage.get("completion_tokens"))
        self.cached = counted(details.get("cached_tokens")) if isinstance(details, dict) else None
        total = counted(usage.get("total_tokens"))
        parts = None if self.prompt is None or self.answer is None else self.prompt + self.answer
        self.total = parts if total is None else max(total, parts or 0)
        cost = usage.get("cost")
        self._charged = float(cost) if isinstance(cost, int | float) and 0 <= cost < 1e6 else None

    def cost(self, price: Price | None) -> float:
        """US dollars: as charged where the endpoint says (OpenRouter does), else by the table, else 0."""
        if self._charged is not None and self._charged > 0:
            return self._charged
        if price is None or self.prompt is None or self.answer is None:
            return 0.0
        return price.cost(self.prompt, self.cached or 0, max(self.answer, (self.total or 0) - self.prompt))


def counted(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None


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


def called(call: Any) -> dict[str, Any]:
    """A tool call; some servers give the arguments as an object. What Gemini signs a call with goes back to it."""
    function = call["function"]
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps({} if arguments is None else arguments)
    named = {"name": str(function["name"]), "arguments": text}
    found: dict[str, Any] = {"id": str(call.get("id") or ""), "type": "function", "function": named}
    return {**found, "extra_content": call["extra_content"]} if call.get("extra_content") else found
