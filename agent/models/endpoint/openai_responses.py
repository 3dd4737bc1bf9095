"""The Responses API (``/v1/responses``), at OpenAI or any server that speaks it.

Each request holds the whole conversation, and the server is asked to store nothing (``store: false``). Reasoning comes
back encrypted (``include``) and is sent again with the words and calls that it led to. The answer is streamed, so that
a model that thinks for minutes can be told from a server that hangs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from agent.models.apis import PATHS
from agent.models.base import Message, Reply, ToolSchema
from agent.models.endpoint import chat_stream
from agent.models.endpoint.client import REASONED_TOKENS, Endpoint
from agent.models.endpoint.faults import Outage, misread, words_of
from agent.models.endpoint.response_items import accepted, input_items, message_of, name_of, output_items
from agent.models.endpoint.response_stream import Ending, assembled_response
from agent.models.endpoint.retries import Reported
from agent.models.endpoint.usage import Usage
from agent.models.providers.refusals import EFFORT, LIMIT
from agent.models.waiting import Waiting

if TYPE_CHECKING:
    import openai

ENCRYPTED = "reasoning.encrypted_content"
BLAME = re.compile(
    r"encrypted[ _]content.*(verif|decrypt|invalid|mismatch|parse)|of type 'reasoning'|'reasoning' item"
    r"|reasoning items?\b|item with id|'rs_"
)
"""A refusal in these words is about the items of earlier turns."""
TOO_LONG = "context_length_exceeded"
OPTIONAL = (
    "prompt_cache_key",
    "include",
    "parallel_tool_calls",
    "tool_choice",
    "strict",
    "reasoning",
    "max_output_tokens",
)
"""Fields in the order in which they are given up if a server does not say which one it refuses."""
NAMED = (*OPTIONAL, "store", "stream")
"""Fields that are given up if a server names them."""
SPOKEN = {"reasoning": EFFORT, "max_output_tokens": LIMIT, "stream": re.compile(r"\bstreaming\b")}
"""Fields that servers also name by other words."""
REMOVED = frozenset({"organization_mismatch", "end_user_mismatch", "model_mismatch"})
"""Reasons for which a server leaves reasoning out by itself that a user should know."""


class OpenAIResponses(Endpoint):
    """A model by name behind a base URL."""

    api = "responses"
    streams = True

    def __init__(
        self,
        name: str,
        key: str | None,
        base_url: str | None,
        notify: Callable[[str], None] = lambda line: None,
        effort: str | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        super().__init__(name, key, base_url, notify, effort, waiting)
        if effort is None and self._waiting.reply_tokens is None:
            self._most = REASONED_TOKENS  # most models of this API reason by default
        self._fields = {*NAMED}
        self._maker = name
        """The model whose reasoning is sent; empty if the server refuses all of it."""
        self._refused_items = set[str]()
        self._told = set[str]()

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        self._untold += self._foreign(messages)
        return super().respond(messages, tools, seconds, tokens)

    def _send(
        self, messages: list[Message], tools: list[ToolSchema], tokens: int, timeout: Any
    ) -> AbstractContextManager[Any]:
        system = next((message["content"] for message in messages if message["role"] == "system"), "")
        described = [self._described(tool) for tool in tools]
        optional: dict[str, Any] = {
            "store": False,
            "stream": True,
            "include": [ENCRYPTED],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "max_output_tokens": tokens,
            "prompt_cache_key": cache_key(system, described),
        }
        if self._effort is not None:
            optional["reasoning"] = {"effort": self._effort}
        fields: dict[str, Any] = {name: value for name, value in optional.items() if name in self._fields}
        return self._client.responses.with_streaming_response.create(
            model=self.name,
            instructions=system,
            input=input_items(messages, self._maker, self._refused_items),  # type: ignore[arg-type]
            tools=described,  # type: ignore[arg-type]
            timeout=timeout,
            **fields,
        )

    def _described(self, tool: ToolSchema) -> dict[str, Any]:
        described = {"type": "function", "name": tool.name, "description": tool.description}
        # Without the field a tool is strict here, unlike in Chat Completions.
        strict = {"strict": True} if "strict" in self._fields else {}
        return {**described, "parameters": tool.parameters, **strict}

    def _check_api(self, error: openai.APIStatusError) -> None:
        if not blames_items(error):  # an item that is not found is a 404 too
            super()._check_api(error)

    def _give_up(self, error: Exception, messages: list[Message]) -> str | None:
        """Reasoning that the server does not accept, else the field that it names, else the one that fewest know."""
        status, words = getattr(error, "status_code", 400), words_of(error)
        code, param = str(getattr(error, "code", "") or ""), str(getattr(error, "param", "") or "")
        if status in (400, 404, 422) and blames_items(error):
            kept = {name_of(item) for m in messages if self._sent(m) for item in output_items(m)}
            if kept and self._refused_items:
                self._maker = ""
                return f"{self._where} does not accept the reasoning of its own answers: going on without any"
            if kept:
                self._refused_items = kept
                return (
                    f"{self._where} no longer accepts the reasoning of earlier turns (another key or model?): "
                    "going on without it"
                )
        if status not in (400, 422) or isinstance(error, Reported) or misread(error) or code == TOO_LONG:
            return None
        sent = [name for name in NAMED if name in self._fields and (name != "reasoning" or self._effort)]
        named = [name for name in sent if is_named(name, words, param)]
        field = next((name for name in (*named, *(name for name in OPTIONAL if name in sent))), None)
        if field is None:
            return None
        self._fields.discard(field)
        return self._refused(error, "with the model's own effort" if field == "reasoning" else f"without {field}")

    def _sent(self, message: Message) -> bool:
        return accepted(message, self._maker, self._refused_items)

    def _foreign(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """A notice, once, that another model's reasoning is not sent."""
        models = {str(m["output"].get("model")) for m in messages if output_items(m)} - {self.name}
        if not models or "foreign" in self._told:
            return ()
        self._told.add("foreign")
        return (f"the reasoning of {', '.join(sorted(models))} is not sent to {self.name}",)

    def _ending(self) -> Callable[[bytes], bool]:
        return Ending()

    def _parse(self, text: str) -> Any:
        body = assembled_response(text) if chat_stream.looks_like_stream(text) else json.loads(text)
        error = body.get("error") if isinstance(body, dict) else None
        if isinstance(error, dict) and not body.get("output"):
            raise Reported(str(error.get("code") or error.get("type") or "error"), str(error.get("message") or ""))
        return body

    def _reply(self, body: Any, seconds: float, notices: tuple[str, ...]) -> Reply:
        """The answer in the loop's form. Tool calls count, whatever the status says."""
        if isinstance(body, dict) and "choices" in body:
            raise Outage(f"{self._where} answered {PATHS['responses']} with a chat completion: use --api chat.")
        try:
            message, refuses = message_of(body["output"], self.name)
            status = body.get("status") or "completed"
        except (KeyError, TypeError, AttributeError) as e:
            raise Outage(f"{self._where} did not answer with a response: check --base-url and --api.") from e
        if status not in ("completed", "incomplete"):
            raise Outage(f"{self._where} ended its answer as {str(status)[:40]!r}: resume the run to ask again.")
        used = Usage(body.get("usage"))
        why = (body.get("incomplete_details") or {}).get("reason") if status == "incomplete" else ""
        finish = "" if message.get("tool_calls") else "refusal" if refuses or why == "content_filter" else ""
        return Reply(
            message,
            used.total,
            seconds,
            prompt_tokens=used.prompt,
            cached_tokens=used.cached,
            reasoning_tokens=used.reasoning,
            cost=used.cost(self._price),
            finish="length" if status == "incomplete" and why != "content_filter" else finish,
            notices=(*notices, *self._removed(body)),
        )

    def _removed(self, body: dict[str, Any]) -> tuple[str, ...]:
        """A notice, once for each reason, that the server left reasoning of earlier turns out by itself."""
        changes = body.get("input_transformations")
        given = {str(c.get("reason")) for c in changes if isinstance(c, dict)} if isinstance(changes, list) else set()
        new = sorted((given & REMOVED) - self._told)
        self._told |= set(new)
        return tuple(f"{self._where} left out the reasoning of earlier turns ({reason})" for reason in new)


def blames_items(error: Any) -> bool:
    """Whether a refusal is about the items of earlier turns."""
    code, param = error.code, str(getattr(error, "param", None) or "")
    if code == "invalid_encrypted_content" or (code != TOO_LONG and re.match(r"input\b", param)):
        return True
    return BLAME.search(words_of(error).lower()) is not None


def is_named(field: str, words: str, param: str) -> bool:
    """Whether a refusal is about `field`: by its `param` (``tools[0].strict``) or its words. A field whose name is an
    English word counts only in quotes."""
    if field in re.split(r"[.\[\]]+", param):
        return True
    if field == "include" and "encrypted content is not supported" in words.lower():
        return True  # OpenAI's words for a model that does not reason
    if field in SPOKEN and SPOKEN[field].search(words.lower()):
        return True
    return re.search(rf"\b{field}\b" if "_" in field else rf"['\"`.\]]{field}['\"`]", words) is not None


def cache_key(system: str, tools: list[dict[str, Any]]) -> str:
    """The same for all requests that begin alike: it brings them to the machine that has their beginning cached."""
    text = json.dumps([system, tools], sort_keys=True)
    return f"autokernel-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:32]}"
