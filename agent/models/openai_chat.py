"""Chat Completions, at OpenAI or any server that speaks its protocol.

Retries live here alone (the client's own are off): transient faults are tried again with growing, jittered waits or
after the server's ``Retry-After``, until the next wait would pass the deadline. Answers are read as plain JSON rather
than through the client's classes, because compatible servers differ in what they leave out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.errors import AgentError, UsageError
from agent.models.base import Message, Reply, ToolSchema

if TYPE_CHECKING:
    from tenacity import RetryCallState

OPENAI = "https://api.openai.com/v1"
PATIENCE = 300.0
"""Seconds, retries included, for one message; less where the run has less left."""
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds; waits double from the first to the longest and are jittered."""
LONGEST_REASON = 200
"""Characters of a server's own words that are shown."""


class OpenAIChat:
    """A model by name behind a base URL."""

    def __init__(self, name: str, key: str | None, base_url: str | None) -> None:
        """Raises UsageError where the key is missing or the URL is none."""
        import openai

        key = (key or "").strip()
        if not key and base_url is None:
            raise UsageError(
                f"The model {name} needs a key: set OPENAI_API_KEY (a .env file is read), or name your own server with "
                "--base-url, or use --model embedded, which needs none."
            )
        if not (key.isascii() and key.isprintable()):
            raise UsageError("OPENAI_API_KEY holds characters that no key has: set it anew.")
        self.name = name
        self._key = key
        self._where = host_of(base_url or OPENAI)
        self._client = openai.OpenAI(api_key=key or "none", base_url=base_url or OPENAI, max_retries=0)

    def respond(self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float) -> Reply:
        import openai
        import tenacity

        began = time.monotonic()
        patience = min(PATIENCE, seconds)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(transient),
            stop=tenacity.stop_before_delay(patience),
            wait=wait,
            reraise=True,
        )
        try:
            body = retrying(self._ask, messages, tools, began + patience)
        except openai.APIStatusError as e:
            raise self._explain(e) from e
        except openai.APITimeoutError as e:
            raise AgentError(f"{self._where} did not answer within {patience:.0f} s.") from e
        except openai.APIConnectionError as e:
            cause = self._without_key(str(e.__cause__ or e))
            raise AgentError(f"Cannot reach {self._where} ({cause}): check --base-url and the network.") from e
        return Reply(self._message(body), tokens_used(body), time.monotonic() - began)

    def _ask(self, messages: Sequence[Message], tools: Sequence[ToolSchema], deadline: float) -> Any:
        """One request; the answer's JSON."""
        raw = self._client.chat.completions.with_raw_response.create(
            model=self.name,
            messages=list(messages),  # type: ignore[arg-type]
            tools=[function(tool) for tool in tools],  # type: ignore[misc]
            timeout=max(1.0, deadline - time.monotonic()),
        )
        try:
            return json.loads(raw.text)
        except ValueError as e:
            raise AgentError(f"{self._where} answered with something that is not JSON: check --base-url.") from e

    def _message(self, body: Any) -> Message:
        """The assistant message in the loop's form. Tool calls count, whatever the finish reason says."""
        try:
            given = body["choices"][0]["message"]
            calls = [
                {"id": str(call.get("id") or ""), "type": "function", "function": called(call["function"])}
                for call in given.get("tool_calls") or ()
            ]
        except (KeyError, IndexError, TypeError, AttributeError) as e:
            raise AgentError(f"{self._where} did not answer with a chat completion: check --base-url.") from e
        content = given.get("content") or given.get("refusal")
        message: Message = {"role": "assistant", "content": content if isinstance(content, str) else None}
        if calls:
            message["tool_calls"] = calls
        return message

    def _explain(self, error: Any) -> AgentError:
        """A refusal as one sentence: the user's mistake or the server's."""
        status, reason = error.status_code, self._reason(error)
        if status in (401, 403):
            return UsageError(f"{self._where} refused the key (HTTP {status}): check OPENAI_API_KEY.")
        if status == 404:
            return UsageError(f"{self._where} has no model {self.name!r} (HTTP 404): check --model and --base-url.")
        if status == 429:
            return AgentError(f"{self._where} refuses more requests for now (HTTP 429: {reason}).")
        if status >= 500 or status in TRANSIENT:
            return AgentError(f"{self._where} is failing (HTTP {status}: {reason}).")
        return AgentError(f"{self._where} refused the request (HTTP {status}: {reason}).")

    def _reason(self, error: Any) -> str:
        """The server's own words, short, on one line, without the key."""
        body = error.body if isinstance(error.body, dict) else {}
        words = " ".join(str(body.get("message") or "no reason given").split())
        return self._without_key(words)[:LONGEST_REASON].rstrip(".")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[redacted]") if self._key else text


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


def called(function: Any) -> dict[str, str]:
    """Name and arguments of a call; some servers give the arguments as an object."""
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps({} if arguments is None else arguments)
    return {"name": str(function["name"]), "arguments": text}


def function(tool: ToolSchema) -> dict[str, Any]:
    described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": True}
    return {"type": "function", "function": described}


def tokens_used(body: Any) -> int | None:
    """Tokens in and out, where the endpoint says."""
    usage = body.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and total >= 0 else None


def transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in TRANSIENT and error.code != "insufficient_quota"
    return isinstance(error, openai.APIConnectionError)


def wait(state: RetryCallState) -> float:
    """Seconds until the next try: what the server asks for, else exponential with full jitter."""
    import tenacity

    error = state.outcome.exception() if state.outcome else None
    response = getattr(error, "response", None)
    asked = response.headers.get("retry-after") if response is not None else None
    try:
        return max(FIRST_WAIT / 5, float(asked or ""))
    except ValueError:
        return FIRST_WAIT / 2 + tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)(state)
