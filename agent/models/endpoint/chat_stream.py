"""A completion that came as a stream of server-sent events although none was asked for, put together again."""

from __future__ import annotations

import json
from typing import Any


def looks_like_stream(text: str) -> bool:
    return text.lstrip().startswith(("data:", "event:", ": "))


def assembled(text: str) -> dict[str, Any]:
    """The completion that the ``data:`` lines of `text` add up to. Raises ValueError, KeyError, TypeError or
    AttributeError for what is no such stream."""
    content, calls, finish, usage = "", dict[int, dict[str, str]](), None, None
    seen = ended = False
    for line in text.splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        ended |= data == "[DONE]"
        if not data or data == "[DONE]":
            continue
        chunk = json.loads(data)
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices", ())[:1]:
            seen, delta = True, choice.get("delta") or choice.get("message") or {}
            content += delta.get("content") or ""
            finish = choice.get("finish_reason") or finish
            for piece in delta.get("tool_calls") or ():
                call = calls.setdefault(int(piece.get("index") or 0), {"name": "", "arguments": ""})
                function = piece.get("function") or {}
                call["name"] += function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
    if not seen or not (ended or finish):
        raise ValueError("the stream broke off")
    message: dict[str, Any] = {"role": "assistant", "content": content or None}
    if calls:
        message["tool_calls"] = [{"function": calls[index]} for index in sorted(calls)]
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}
