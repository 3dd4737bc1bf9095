"""Chat Completions, at OpenAI or any server that speaks its protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from agent.errors import UsageError
from agent.models.apis import PATHS
from agent.models.base import Message, Reply, ToolSchema
from agent.models.endpoint import chat_stream
from agent.models.endpoint.client import OPENAI, Endpoint, text_of
from agent.models.endpoint.faults import Outage, misread, words_of
from agent.models.endpoint.usage import Usage
from agent.models.providers.history import address
from agent.models.providers.profile import PROFILES, profile_at, profile_of_answer
from agent.models.providers.refusals import adapt
from agent.models.waiting import Waiting

STREAM = re.compile(r"\bstream(ing|_options)?\b")
"""A refusal in these words is about streaming."""


class OpenAIChat(Endpoint):
    """A model by name behind a base URL."""

    api = "chat"

    def __init__(
        self,
        name: str,
        key: str | None,
        base_url: str | None,
        endpoint: str | None = None,
        notify: Callable[[str], None] = lambda line: None,
        effort: str | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        """Raises UsageError where the key is missing, or the URL or the endpoint's name is none."""
        super().__init__(name, key, base_url, notify, effort, waiting)
        self.streams = True
        if endpoint is not None and endpoint not in PROFILES:
            raise UsageError(f"There is no endpoint {endpoint!r}: --endpoint takes one of {', '.join(PROFILES)}.")
        self._profile = PROFILES[endpoint] if endpoint else profile_at(base_url or OPENAI)
        self._known = endpoint is not None or self._profile.name != "compatible"
        if effort is not None and not self._profile.effort:
            self._untold.append(f"{self._where} takes no reasoning effort: --effort {effort} changes nothing there")

    def _send(
        self, messages: list[Message], tools: list[ToolSchema], tokens: int, timeout: Any
    ) -> AbstractContextManager[Any]:
        fields: dict[str, Any] = self._profile.fields(tools, tokens, self._effort)
        if self.streams:
            usage = {"stream_options": {"include_usage": True}} if self._profile.stream_options else {}
            fields |= {"stream": True, **usage}
        return self._client.chat.completions.with_streaming_response.create(
            model=self.name,
            messages=address(messages, self._profile),  # type: ignore[arg-type]
            timeout=timeout,
            **fields,
        )

    def _give_up(self, error: Exception, messages: list[Message]) -> str | None:
        if getattr(error, "status_code", None) not in (400, 422) or misread(error):
            return None
        words = words_of(error)
        asks_usage = self._profile.stream_options and "stream_options" in words.lower()
        about_streams = not asks_usage and STREAM.search(words.lower())
        found = None if self.streams and about_streams else adapt(self._profile, words, self._effort)
        if found is None and self.streams:  # named, or all that is left to change
            self.streams = False
            return self._refused(error, "without streaming")
        if found is None:
            return None
        self._profile, change = found
        self._known = True  # what was learnt is worth more than the profile of the first answer
        return self._refused(error, change)

    def _met_with(self, headers: Mapping[str, str], body: Any) -> None:
        if not self._known:
            self._known = True
            found = profile_of_answer(headers, body)
            self._profile = found if found is not None else self._profile

    def _parse(self, text: str) -> Any:
        return chat_stream.assembled(text) if chat_stream.looks_like_stream(text) else json.loads(text)

    def _reply(self, body: Any, seconds: float, notices: tuple[str, ...]) -> Reply:
        """The answer in the loop's form. Tool calls count, whatever the finish reason says."""
        try:
            choice = body["choices"][0]
            given = choice["message"]
            calls = [called(call) for call in given.get("tool_calls") or ()]
            finish = choice.get("finish_reason")
            refusal = given.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError) as e:
            if isinstance(body, dict) and body.get("object") == "response":
                raise Outage(
                    f"{self._where} answered {PATHS['chat']} with a response of the Responses API: use --api responses."
                ) from e
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
            reasoning_tokens=used.reasoning,
            cost=used.cost(self._price),
            finish="length" if finish == "length" else "refusal" if refused and not calls else "",
            notices=notices,
        )


def called(call: Any) -> dict[str, Any]:
    """A tool call; some servers give the arguments as an object. What Gemini signs a call with goes back to it."""
    function = call["function"]
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps({} if arguments is None else arguments)
    named = {"name": str(function["name"]), "arguments": text}
    found: dict[str, Any] = {"id": str(call.get("id") or ""), "type": "function", "function": named}
    return {**found, "extra_content": call["extra_content"]} if call.get("extra_content") else found
