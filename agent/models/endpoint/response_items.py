"""The conversation as the Responses API's input items, and output items as an assistant's message.

An answer's output items (reasoning, words, calls, and whatever a server adds) are kept on the message and go back as
they came, in their order. Four things may change on the way: a call that the loop has not answered is left out, because
a call needs its output; so is reasoning that leads to nothing, because a server refuses it; arguments and words that
the context shortened are sent shortened. A message without output items (the planner's, or one from Chat Completions)
is written as the items that say the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from agent.models.base import OUTPUT, Message
from agent.models.context import WORDS_CHARS, clipped

JSON = dict[str, Any]


def input_items(messages: Sequence[Message], model: str, refused: Collection[str] = ()) -> list[JSON]:
    """The items of all messages but the system's. Output items of another model, and those named in `refused` (by
    :func:`name_of`), are left out: their words and calls are sent without the reasoning."""
    answered = {message["tool_call_id"] for message in messages if message["role"] == "tool"}
    sent = dict[str, str]()
    """The loop's id of a call → the id that the server gave it."""
    found = list[JSON]()
    for message in messages:
        if message["role"] == "assistant":
            items = output_items(message)
            if not accepted(message, model, refused):
                items = plain_items(message)
            found += without_idle_reasoning(list(said(items, message, answered, sent)))
        elif message["role"] == "tool":
            if message["tool_call_id"] in sent:
                call_id = sent[message["tool_call_id"]]
                found.append({"type": "function_call_output", "call_id": call_id, "output": message["content"]})
        elif message["role"] != "system":
            found.append({"type": "message", "role": message["role"], "content": message["content"]})
    return found


def output_items(message: Message) -> list[JSON]:
    """The output items that a message holds; none if it did not come through the Responses API."""
    kept = message.get(OUTPUT)
    return list(kept["items"]) if isinstance(kept, dict) else []


def accepted(message: Message, model: str, refused: Collection[str]) -> bool:
    """Whether a message's output items can be sent: `model` made them, the server has not refused them, and their
    reasoning is there to be read (a server that stores nothing knows none by its id)."""
    items = output_items(message)
    if not items or message[OUTPUT].get("model") != model:
        return False
    readable = (i.get("encrypted_content") or i.get("content") for i in items if i.get("type") == "reasoning")
    return all(readable) and not any(name_of(item) in refused for item in items)


def name_of(item: JSON) -> str:
    """What tells an item from all others: its id, or what it holds."""
    return str(item.get("id") or json.dumps(item, sort_keys=True))


def plain_items(message: Message) -> list[JSON]:
    """A message's words and calls as items."""
    content = message.get("content")
    items: list[JSON] = [{"type": "message", "role": "assistant", "content": content}] if content else []
    for call in message.get("tool_calls") or ():
        items.append({"type": "function_call", "call_id": call["id"], "name": call["function"]["name"]})
    return items


def said(items: Sequence[JSON], message: Message, answered: Collection[str], sent: dict[str, str]) -> Iterator[JSON]:
    """`items` as they are sent; `sent` learns the calls among them. The loop's n-th call is the n-th of `items`."""
    calls = iter(message.get("tool_calls") or ())
    used = set(sent.values())
    share = WORDS_CHARS // max(1, sum(item.get("type") == "message" for item in items))
    for item in items:
        if item.get("type") == "function_call":
            call = next(calls, None)
            if call is None or call["id"] not in answered:
                continue
            given = str(item.get("call_id") or "")
            call_id = call["id"] if given in used or not given else given
            sent[call["id"]] = call_id
            used.add(call_id)
            yield {**item, "call_id": call_id, "arguments": call["function"]["arguments"]}
        elif item.get("type") == "message":
            yield shortened(item, share)
        elif not item.get("call_id"):  # a call of another kind, which nobody answers
            yield item


def shortened(item: JSON, limit: int) -> JSON:
    """An assistant's message item with at most `limit` characters of words."""
    content = item.get("content")
    if isinstance(content, str):
        return {**item, "content": clipped(content, limit)}
    if not isinstance(content, list) or sum(len(words_in(part)) for part in content) <= limit:
        return item
    share = limit // len(content)
    return {
        **item,
        "content": [
            {**part, **{name: clipped(part[name], share) for name in ("text", "refusal") if name in part}}
            for part in content
            if words_in(part)
        ],
    }


def without_idle_reasoning(items: list[JSON]) -> list[JSON]:
    """`items` without the reasoning at their end, which led to nothing that is sent."""
    while items and items[-1].get("type") == "reasoning":
        items = items[:-1]
    return items


def words_in(part: Any) -> str:
    """The text or the refusal of a content part."""
    found = (part.get("text") or part.get("refusal")) if isinstance(part, dict) else ""
    return found if isinstance(found, str) else ""


def message_of(items: Sequence[JSON], model: str) -> tuple[Message, bool]:
    """The assistant's message that output items make, and whether it refuses. Fields that are null are left out: no
    server wants them back."""
    kept = [{name: value for name, value in item.items() if value is not None} for item in items]
    words, calls, refuses = list[str](), list[JSON](), False
    for item in kept:
        if item.get("type") == "message":
            content = item.get("content")
            parts = content if isinstance(content, list) else [{"type": "output_text", "text": content}]
            words.append("".join(map(words_in, parts)))
            refuses |= any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)
        elif item.get("type") == "function_call":
            calls.append(called(item))
    message: Message = {"role": "assistant", "content": "\n".join(filter(None, words)) or None}
    if calls:
        message["tool_calls"] = calls
    return {**message, OUTPUT: {"model": model, "items": kept}}, refuses


def called(item: JSON) -> JSON:
    """A function call as the loop reads it; some servers give the arguments as an object."""
    arguments = item.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps({} if arguments is None else arguments)
    function = {"name": str(item["name"]), "arguments": text}
    return {"id": str(item.get("call_id") or ""), "type": "function", "function": function}
