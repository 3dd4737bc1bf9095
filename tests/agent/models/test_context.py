"""What of a conversation is shown: bounded, stable at its beginning, and true to the records."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from agent.models.base import ToolSchema
from agent.models.context import RESULT_CHARS, TURN_CHARS, digest, estimate, fitted, shown
from tests.agent.fake_actions import ONE_CONFIGS, TOOLS, done

HEAD = [{"role": "system", "content": "rules"}, {"role": "user", "content": "{}"}]
SCHEMAS = [ToolSchema(name, name, ONE_CONFIGS, declared) for name, declared in TOOLS.items()]
CONFIGS = [{"tile": tile, "warps": warps} for tile in range(16, 4096, 16) for warps in (1, 2, 4, 8)]


def turn(number, calls, left=True):
    """An assistant's message with `calls` (name, arguments, result), the answers, and what is left."""
    asked = [
        {"id": f"t{number:04d}c{i:03d}", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}}
        for i, (n, a, _) in enumerate(calls)
    ]
    answered = [
        {"role": "tool", "tool_call_id": c["id"], "content": json.dumps(r)}
        for c, (_, _, r) in zip(asked, calls, strict=True)
    ]
    said = {"role": "assistant", "content": "next", "tool_calls": asked}
    return [said, *answered, *([{"role": "user", "content": f"Left: {number}"}] if left else [])]


def bench(number, size=8):
    configs = CONFIGS[number * size : (number + 1) * size]
    rows = [{"config": c, "status": "correct", "ms": 0.2 + c["tile"] / 1e4 + c["warps"] / 1e3} for c in configs]
    rows[0] = {"config": configs[0], "status": "compile", "reason": "out of shared memory"}
    return turn(number, [("run_benchmark", {"configs": configs}, {"results": rows, "evaluations_left": 9})])


def conversation(turns, size=8):
    return HEAD + [message for number in range(turns) for message in bench(number, size)]


def test_tokens_are_flat_after_turn_five():
    sizes = [estimate(conversation(turns), SCHEMAS) for turns in range(101)]
    assert max(sizes[6:]) <= 1.25 * max(sizes[:6])
    assert max(sizes[50:]) <= 1.05 * max(sizes[6:20])


def test_a_model_that_says_and_asks_too_much_cannot_outgrow_the_context():
    messages = list(HEAD)
    for number in range(8):
        rows = [{"config": config, "status": "correct"} for config in CONFIGS[:300]]
        messages += turn(number, [("compile_kernel", {"configs": CONFIGS[:300]}, {"results": rows})] * 16)
        messages[-18] = {**messages[-18], "content": "blah " * 10_000}
    assert len(json.dumps(shown(messages, SCHEMAS))) < 6 * 1.4 * TURN_CHARS


def test_a_request_begins_as_the_one_before_it_until_the_digest_grows():
    requests = [shown(conversation(turns), SCHEMAS) for turns in range(40)]
    kept = [later[: len(earlier)] == earlier for earlier, later in pairwise(requests)]
    assert all(request[:1] == HEAD[:1] for request in requests)
    assert sum(kept) >= 2 * len(kept) // 3 - 2
    assert not all(kept)


def test_every_call_that_is_shown_has_its_answer_and_no_role_follows_itself():
    for turns in range(12):
        messages = shown(conversation(turns), SCHEMAS)
        asked = [c["id"] for m in messages for c in m.get("tool_calls") or ()]
        assert asked == [m["tool_call_id"] for m in messages if m["role"] == "tool"]
        roles = [m["role"] for m in messages]
        assert roles[:2] == ["system", "user"]
        assert not any(pair in (["user", "user"], ["tool", "user"]) for pair in (roles[i : i + 2] for i in range(99)))
        if turns:
            assert messages[-1]["content"].endswith(f"Left: {turns - 1}")


def test_the_digest_is_computed_from_results_and_not_from_words():
    calls = [
        done("run_benchmark", {}, {"results": [{"config": {"tile": 16, "warps": 1}, "status": "correct", "ms": 0.3}]}),
        done("run_benchmark", {}, {"results": [{"config": {"tile": 32, "warps": 1}, "status": "correct", "ms": 0.2}]}),
        done(
            "run_benchmark", {}, {"results": [{"config": {"tile": 64, "warps": 1}, "status": "compile", "reason": "x"}]}
        ),
        done("compile_kernel", {}, {"results": [{"config": {"tile": 128, "warps": 1}, "status": "correct"}]}),
        done("suggest_configs", {}, {"proposals": [], "stop": True, "why": "no gain"}),
        done("query_history", {"question": "best"}, {"rows": [1, 2]}),
        done("query_history", {"question": "worst"}, {"error": "arguments"}),
    ]
    found = digest(calls, 4)
    assert found["measured"] == 2
    assert [row["ms"] for row in found["fastest"]] == [0.2, 0.3]
    assert found["least_ms_by_field"] == {"tile": {"32": 0.2, "16": 0.3}}
    assert found["failed"] == [{"why": "compile: x", "times": 1, "example": {"tile": 64, "warps": 1}}]
    assert found["compiled_not_measured"] == [{"tile": 128, "warps": 1}]
    assert found["planner"] == {"stop": True, "why": "no gain"}
    assert list(found["memory"]) == ["best"]


def test_results_too_long_keep_the_fastest_and_say_so():
    rows = [{"config": c, "status": "correct", "ms": 1.0 + i % 97, "note": "x" * 90} for i, c in enumerate(CONFIGS)]
    text = fitted(json.dumps({"results": rows, "best": {"ms": 1.0}, "evaluations_left": 3}), RESULT_CHARS)
    answer = json.loads(text)
    assert len(text) <= RESULT_CHARS
    assert answer["evaluations_left"] == 3
    assert answer["rows_not_shown"] + len(answer["results"]) == len(rows)
    assert max(r["ms"] for r in answer["results"]) <= 1.0 + len(answer["results"]) // 10 + 1


@pytest.mark.parametrize("arguments", ["{", "", "[1]", "nonsense", '{"a": NaN}'])
def test_arguments_that_are_no_json_are_not_sent_back(arguments):
    messages = HEAD + turn(0, [("f", {}, {"error": "arguments"})])
    messages[2]["tool_calls"][0]["function"]["arguments"] = arguments
    (call,) = shown(messages, SCHEMAS)[2]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {}


def test_what_is_shown_is_a_pure_function_of_the_conversation():
    messages = conversation(17)
    before = json.dumps(messages)
    assert json.dumps(shown(messages, SCHEMAS)) == json.dumps(shown(json.loads(before), SCHEMAS))
    assert json.dumps(messages) == before
