"""A server with OpenAI's rule: ``/v1/chat/completions`` refuses function tools, ``/v1/responses`` takes them and is
strict about what comes back.

It plays the model by a function ``move(turn, body)``, which gives the output items of a turn: ``turn`` counts the
outputs that were sent back and the digest's turns, so that the same conversation gets the same answer. What was wrong
with a request is kept in `problems`, whatever the client makes of the refusal.
"""

from __future__ import annotations

import hashlib
import json
import threading

from tests.agent.answers import failure, response, streamed

RULE = (
    "Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
    "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
)
OURS = {
    "model", "instructions", "input", "tools", "store", "stream", "include", "parallel_tool_calls", "tool_choice",
    "max_output_tokens", "prompt_cache_key",
}  # fmt: skip


class OpenAIRule:
    """An answer for the ``server`` fixture: ``server.answers = [OpenAIRule(server, move)]``."""

    def __init__(self, server, move, streams=True):
        self.server, self.move, self.streams = server, move, streams
        self.problems: list[str] = []
        self.turns: dict[str, list[dict]] = {}
        """Digest of an input → the items that were given for it."""
        self.given: list[list[dict]] = []
        self.inputs: list[str] = []
        """Digests of the inputs answered, in order."""
        self.accounts = {"": set()}
        self._lock = threading.Lock()

    def __call__(self, body):
        path = next(path for path, _, asked in reversed(self.server.asked) if asked is body)
        with self._lock:
            if path.endswith("/chat/completions"):
                return failure(400, RULE.format(model=body["model"]), type="invalid_request_error", code=None)
            problem = self.wrong(body)
            if problem:
                self.problems.append(problem)
                return failure(400, problem, type="invalid_request_error", param="input")
            return self.answer(body)

    def answer(self, body):
        asked = digest(body["input"])
        self.inputs.append(asked)
        if asked not in self.turns:
            self.turns[asked] = self.move(body)
            self.given.append(self.turns[asked])
        items = self.turns[asked]
        hidden = sum(len(item.get("encrypted_content") or "") for item in items)
        prompt, said = len(json.dumps(body["input"])) // 4, len(json.dumps(items)) // 4
        usage = {"input_tokens": prompt, "output_tokens": said, "total_tokens": prompt + said}
        usage |= {"input_tokens_details": {"cached_tokens": prompt // 2, "cache_write_tokens": 0}}
        usage |= {"output_tokens_details": {"reasoning_tokens": hidden // 4}}
        whole = response(*items, usage=usage)
        return streamed(whole) if body.get("stream") and self.streams else whole

    def wrong(self, body):
        """What OpenAI would not take; empty if nothing."""
        if body.get("store") is not False or body.get("include") != ["reasoning.encrypted_content"]:
            return "Not stateless."
        if set(body) - OURS:
            return f"Unknown parameter: {sorted(set(body) - OURS)}."
        if not all(tool.get("strict") is True and "name" in tool for tool in body["tools"]):
            return "A tool is not strict."
        items = body["input"]
        return self.pairs(items) or self.order(items)

    def pairs(self, items):
        """Calls and outputs belong together, one to one, the call first."""
        open_, closed = set(), set()
        for item in items:
            if item.get("type") == "function_call":
                if item["call_id"] in open_ | closed:
                    return f"Duplicate call {item['call_id']}."
                open_.add(item["call_id"])
            elif item.get("type") == "function_call_output":
                if item["call_id"] not in open_:
                    return f"No tool call found for function call output with call_id {item['call_id']}."
                open_.remove(item["call_id"])
                closed.add(item["call_id"])
        return f"No tool output found for function call {sorted(open_)}." if open_ else ""

    def order(self, items):
        """The items of each answer come back whole, unchanged, once, in their order, and side by side."""
        ids = [item["id"] for item in items if "id" in item]
        if len(ids) != len(set(ids)):
            return "Duplicate item found."
        place = 0
        while place < len(items):
            if "id" not in items[place]:
                if items[place].get("role") == "assistant" or items[place].get("type") == "function_call":
                    return "An item lost its id."
                place += 1
                continue
            answer = next((given for given in self.given if given and given[0]["id"] == items[place]["id"]), None)
            if answer is None:
                return f"Item {items[place]['id']} was provided without what it follows."
            if items[place : place + len(answer)] != answer:
                return f"Item '{answer[0]['id']}' was provided without its required following item, or changed."
            place += len(answer)
        return ""


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def outputs(body):
    """What the tools answered, of what is shown, in order."""
    answers = [item["output"] for item in body["input"] if item.get("type") == "function_call_output"]
    return [json.JSONDecoder().raw_decode(text)[0] for text in answers]
