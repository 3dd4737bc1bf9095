"""Answers of a Chat Completions server: (status, headers, text)."""

from __future__ import annotations

import json


def completion(message, finish="stop", usage=True):
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    body["choices"] = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]
    if usage:
        body["usage"] = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    return 200, {}, json.dumps(body)


def tool_call(arguments, name="run_benchmark"):
    call = {"id": "abc", "type": "function", "function": {"name": name, "arguments": arguments}}
    return completion({"content": None, "tool_calls": [call]})


def failure(status, message="no reason", headers=None, **more):
    return status, headers or {}, json.dumps({"error": {"message": message, **more}})


COUNTED = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}


def response(*items, usage=COUNTED, **more):
    """A whole answer of the Responses API. An item that is text is a message."""
    output = [spoken(item) if isinstance(item, str) else item for item in items]
    body = {"id": "resp_x", "object": "response", "created_at": 1, "model": "m", "status": "completed", "error": None}
    body |= {"output": output, "usage": usage, **more}
    return 200, {}, json.dumps(body)


def spoken(text, number=0):
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [part]}


def function_call(arguments, name="run_benchmark", call_id="call_1", number=0):
    """`arguments` that are text go out as they are."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    called = {"type": "function_call", "id": f"fc_{number}", "call_id": call_id, "name": name, "arguments": text}
    return {**called, "status": "completed"}


def thought(number=0, secret="gAAAA-opaque"):
    return {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": secret}


def streamed(answer, empty_end=False):
    """`answer` (a whole response) as server-sent events, with signs of life between; the last one may hold no
    output."""
    status, _, text = answer
    body = json.loads(text)
    begun = {**body, "status": "in_progress", "output": [], "usage": None}
    events = [{"type": "response.created", "response": begun}, {"type": "keepalive"}]
    for place, item in enumerate(body["output"]):
        started = {**item, "encrypted_content": "gAAAA-half"} if item["type"] == "reasoning" else item
        events.append({"type": "response.output_item.added", "output_index": place, "item": started})
        events.append({"type": "response.output_item.done", "output_index": place, "item": item})
    last = {**body, "output": []} if empty_end else body
    kind = body["status"] if body["status"] in ("completed", "incomplete", "failed") else "completed"
    events.append({"type": f"response.{kind}", "response": last})
    return status, {"content-type": "text/event-stream"}, sse(*events)


def sse(*events):
    lines = (f"event: {e['type']}\ndata: {json.dumps({**e, 'sequence_number': n})}\n\n" for n, e in enumerate(events))
    return ": a comment\n\n" + "".join(lines)
