"""A Responses answer that comes as server-sent events, put together.

The last event holds the whole answer. An item is taken from its own ``response.output_item.done`` event if there was
one: OpenAI promises a complete ``encrypted_content`` there, and some servers leave the last event's output empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from agent.models.endpoint.retries import Garbled, Reported

LAST = ("response.completed", "response.incomplete", "response.failed")
ENDED = re.compile(rb'^data:.*"type"\s*:\s*"(response\.(completed|incomplete|failed)|error)"|^data:\s*\[DONE\]', re.M)


class Ending:
    """Finds the last event while the answer comes: some servers keep the connection open after it."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, part: bytes) -> bool:
        lines, newline, rest = (self._rest + part).rpartition(b"\n")
        self._rest = rest if newline else self._rest + part
        return bool(newline) and ENDED.search(lines) is not None


def assembled_response(text: str) -> dict[str, Any]:
    """The ``response`` that the events of `text` add up to. Raises Reported for a failure that they report, Garbled if
    the last event is missing, ValueError, KeyError, TypeError or AttributeError for what is no such stream."""
    items = dict[int, Any]()
    for event in events(text):
        kind = event.get("type")
        if kind == "response.output_item.done":
            items[int(event["output_index"])] = event["item"]
        elif kind == "error" or (kind is None and isinstance(event.get("error"), dict)):
            told = event["error"] if isinstance(event.get("error"), dict) else event
            raise Reported(str(told.get("code") or told.get("type") or "error"), str(told.get("message") or ""))
        elif kind in LAST:
            response: dict[str, Any] = event["response"]
            output = dict(enumerate(response.get("output") or ())) | items
            return {**response, "output": [output[place] for place in sorted(output)]}
        elif "choices" in event:
            return event  # a piece of a chat completion: the caller says so
    raise Garbled("the answer broke off before its last event")


def events(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of the ``data:`` lines."""
    for line in text.splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if data and data != "[DONE]":
            event = json.loads(data)
            if not isinstance(event, dict):
                raise TypeError("an event is an object")
            yield event
