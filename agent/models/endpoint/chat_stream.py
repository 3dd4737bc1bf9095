"""A completion that came as a stream of server-sent events, put together again."""

from __future__ import annotations

import json
from typing import Any

from agent.models.endpoint.retries import Reported

OTHERS = ("reasoning_content", "reasoning_details", "refusal")
"""Fields of a message, beside words and calls, that come in pieces: texts or lists."""


def looks_like_stream(text: str) -> bool:
    return text.lstrip().startswith(("data:", "event:", ": "))


def assembled(text: str) -> dict[str, Any]:
    """The completion that the ``data:`` lines of `text` add up to. Raises ValueError, KeyError, TypeError or
    AttributeError for what is no such stream, Reported for a failure that the server reports in it."""
    content, calls, finish, usage = "", list[dict[str, Any]](), None, None
    others, places, about = dict[str, Any](), dict[int, int](), dict[str, Any]()
    seen = ended = False
    for line in text.splitlines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        ended |= data == "[DONE]"
        if not data or data == "[DONE]":
            continue
        chunk = json.loads(data)
        if isinstance(chunk.get("error"), dict):
            raise Reported(str(chunk["error"].get("code") or ""), str(chunk["error"].get("message") or chunk["error"]))
        about = {name: value for name, value in chunk.items() if name not in ("choices", "usage")} | about
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices", ())[:1]:
            seen, delta = True, choice.get("delta") or choice.get("message") or {}
            content += delta.get("content") or ""
            for name in OTHERS:
                if delta.get(name):
                    others[name] = others[name] + delta[name] if name in others else delta[name]
            finish = choice.get("finish_reason") or finish
            for piece in delta.get("tool_calls") or ():
                index, named = int(piece.get("index") or 0), piece.get("id")
                # Gemini gives every parallel call the index 0 and tells them apart by their ids.
                if index not in places or (named and named != calls[places[index]].get("id", named)):
                    places[index] = len(calls)
                    calls.append({"function": {"name": "", "arguments": ""}})
                call, function = calls[places[index]], piece.get("function") or {}
                call |= {name: piece[name] for name in ("id", "extra_content") if piece.get(name)}
                call["function"]["name"] += function.get("name") or ""
                call["function"]["arguments"] += function.get("arguments") or ""
    if not seen or not (ended or finish):
        raise ValueError("the stream broke off")
    message: dict[str, Any] = {"role": "assistant", "content": content or None}
    message |= others
    if calls:
        message["tool_calls"] = calls
    return {**about, "choices": [{"message": message, "finish_reason": finish}], "usage": usage}
