"""The real client against a real server on loopback that misbehaves on demand."""

from __future__ import annotations

import pytest

from agent.errors import AgentError, UsageError
from agent.models.base import ToolSchema, done_calls, parse_arguments
from agent.models.choose import load_model, model_name
from agent.models.endpoint.openai_chat import OpenAIChat
from tests.agent.answers import completion, tool_call

KEY = "sk-test-0123456789"
TOOLS = [ToolSchema("run_benchmark", "measures", {"type": "object", "properties": {}, "additionalProperties": False})]
ASK = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]


def ask(server, *answers, seconds=20.0, key=KEY):
    server.answers = list(answers)
    return OpenAIChat("m", key, server.url).respond(ASK, TOOLS, seconds)


def test_an_answer_in_words(server):
    reply = ask(server, completion({"content": "done"}))
    assert reply.message == {"role": "assistant", "content": "done"}
    assert reply.usage == 12
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["messages"]) == ("m", ASK)
    assert body["tools"][0]["function"]["strict"] is True
    assert body["tools"][0]["function"]["parameters"] == TOOLS[0].parameters


@pytest.mark.parametrize("arguments", ['{"a": 1}', {"a": 1}])
def test_tool_calls_count_whatever_the_finish_reason(server, arguments):
    reply = ask(server, tool_call(arguments))
    (call,) = reply.message["tool_calls"]
    assert parse_arguments(call["function"]["arguments"]) == ({"a": 1}, None)


@pytest.mark.parametrize("arguments", ["{", "[]", "nonsense", '{"a": NaN}', "null", "[" * 100000])
def test_malformed_arguments_are_kept_for_the_loop_to_answer(server, arguments):
    (call,) = ask(server, tool_call(arguments)).message["tool_calls"]
    assert parse_arguments(call["function"]["arguments"])[1]


def test_no_arguments_are_an_empty_object(server):
    for arguments in ("", None, {}):
        (call,) = ask(server, tool_call(arguments)).message["tool_calls"]
        assert parse_arguments(call["function"]["arguments"]) == ({}, None)


def test_usage_may_be_missing(server):
    assert ask(server, completion({"content": "x"}, usage=False)).usage is None


def test_a_refusal_is_words(server):
    assert ask(server, completion({"content": None, "refusal": "I will not."})).message["content"] == "I will not."


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, "{}"),
        (200, {}, "[]"),
        (200, {}, "null"),
        (200, {}, '{"choices": []}'),
        (200, {}, '{"choices": [{"message": null}]}'),
        (200, {}, '{"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}'),
        (418, {}, "[1]"),
    ],
)
def test_what_is_no_chat_completion_is_one_sentence(server, answer):
    with pytest.raises(AgentError) as failed:
        ask(server, answer)
    assert failed.value.exit_code == 1
    assert "\n" not in str(failed.value)
    assert len(server.asked) == 1


def test_a_model_needs_a_key_or_a_server_of_ones_own():
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        OpenAIChat("m", None, None)
    OpenAIChat("m", None, "http://127.0.0.1:1/v1")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://[", "http://a b", "http://h:notaport"])
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(UsageError):
        OpenAIChat("m", KEY, url)


@pytest.mark.parametrize("key", ["schlüssel-123", "two\nlines-123"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key):
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as refused:
        OpenAIChat("m", key, None)
    assert key not in str(refused.value)


def test_which_model_decides(monkeypatch):
    assert model_name(None, None) == "embedded"
    assert load_model("embedded", None).name == "embedded"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert model_name(None, None) == "embedded"
    monkeypatch.setenv("AUTOKERNEL_MODEL", "some-model")
    assert model_name(None, None) == "some-model"
    assert model_name("embedded", None) == "embedded"
    assert load_model("some-model", None).name == "some-model"
    monkeypatch.delenv("AUTOKERNEL_MODEL")
    with pytest.raises(UsageError, match="--model"):
        model_name(None, "http://127.0.0.1:1")


def test_calls_without_an_answer_are_not_done():
    message = {"role": "assistant", "content": None, "tool_calls": []}
    message["tool_calls"] = [{"id": str(i), "function": {"name": "f", "arguments": "{"}} for i in range(2)]
    done = list(done_calls([message, {"role": "tool", "tool_call_id": "1", "content": '{"error": "x"}'}], []))
    assert [(d.name, d.arguments, d.result) for d in done] == [("f", {}, {"error": "x"})]
