"""The real client against a real server on loopback that misbehaves on demand."""

from __future__ import annotations

import socket
import time

import pytest

from agent.errors import AgentError, UsageError
from agent.models.base import ToolSchema, done_calls, parse_arguments
from agent.models.choose import load_model, model_name
from agent.models.openai_chat import OpenAIChat
from tests.agent.answers import completion, failure, tool_call

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


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_a_usage_error_at_once_and_never_shown(server, status):
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as refused:
        ask(server, failure(status, f"Incorrect API key provided: {KEY}"))
    assert KEY not in str(refused.value)
    assert len(server.asked) == 1


def test_an_unknown_model_is_a_usage_error_at_once(server):
    with pytest.raises(UsageError, match="no model 'm'"):
        ask(server, failure(404, "The model does not exist"))
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_transient_failure_is_tried_again(server, status):
    assert ask(server, failure(status), failure(status), completion({"content": "ok"})).message["content"] == "ok"
    assert len(server.asked) == 3


def test_retry_after_is_honoured(server):
    began = time.monotonic()
    ask(server, failure(429, headers={"retry-after": "1.5"}), completion({"content": "ok"}))
    assert 1.5 <= time.monotonic() - began < 5


def test_retry_after_beyond_the_deadline_ends_at_once(server):
    began = time.monotonic()
    with pytest.raises(AgentError, match="429"):
        ask(server, failure(429, "slow down", headers={"retry-after": "3600"}))
    assert time.monotonic() - began < 3
    assert len(server.asked) == 1


def test_a_spent_quota_is_not_retried(server):
    with pytest.raises(AgentError, match="You exceeded your quota"):
        ask(server, failure(429, "You exceeded your quota.", code="insufficient_quota"))
    assert len(server.asked) == 1


def test_a_server_that_keeps_failing_ends_within_the_deadline(server):
    began = time.monotonic()
    with pytest.raises(AgentError, match="HTTP 503: overloaded") as failed:
        ask(server, failure(503, "overloaded"), seconds=3)
    assert time.monotonic() - began < 4
    assert failed.value.exit_code == 1
    assert len(server.asked) > 1


def test_a_hang_ends_within_the_deadline(server):
    began = time.monotonic()
    with pytest.raises(AgentError, match="did not answer"):
        ask(server, (200, {"hang": 8}, None), seconds=2)
    assert time.monotonic() - began < 5


def test_a_refused_connection_ends_within_the_deadline():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(AgentError, match=f"Cannot reach 127.0.0.1:{port}") as failed:
        OpenAIChat("m", KEY, f"http://127.0.0.1:{port}/v1").respond(ASK, TOOLS, 3)
    assert time.monotonic() - began < 4
    assert failed.value.exit_code == 1


def test_a_dropped_connection_is_tried_again(server):
    cut = (200, {"content-length": "5000"}, '{"choices": [')
    with pytest.raises(AgentError):
        ask(server, cut, seconds=2)
    assert len(server.asked) > 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"content-type": "text/html"}, "<html>hello</html>"),
        (200, {}, "{}"),
        (200, {}, "[]"),
        (200, {}, "null"),
        (200, {}, '{"choices": []}'),
        (200, {}, '{"choices": [{"message": null}]}'),
        (200, {}, '{"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}'),
        (200, {"content-type": "text/event-stream"}, 'data: {"choices": []}\n\n'),
        (400, {}, '{"error": {"message": "strict is not supported"}}'),
        (400, {"content-type": "text/html"}, "<html>"),
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
    done = list(done_calls([message, {"role": "tool", "tool_call_id": "1", "content": '{"error": "x"}'}]))
    assert [(d.name, d.arguments, d.result) for d in done] == [("f", {}, {"error": "x"})]
