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
