"""What an endpoint takes: known, found out, or learnt from its refusals."""

from __future__ import annotations

import json

import pytest

from agent.errors import AgentError, UsageError
from agent.models.endpoint.client import REPLY_TOKENS
from agent.models.endpoint.openai_chat import OpenAIChat
from agent.models.providers.profile import PROFILES, profile_at, profile_of_answer
from tests.agent.answers import completion, failure
from tests.agent.models.test_openai_chat import ASK, KEY, TOOLS

OK = completion({"content": "ok"})
OPTIONAL = {"tool_choice", "parallel_tool_calls", "max_tokens", "max_completion_tokens"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.moonshot.ai/v1", "moonshot"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "gemini"),
        ("https://api.anthropic.com/v1/", "anthropic"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://127.0.0.1:8000/v1", "compatible"),
    ],
)
def test_a_profile_by_address(url, name):
    assert profile_at(url).name == name


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ({"x-litellm-version": "1.80"}, {}, "litellm"),
        ({"server": "llama.cpp"}, {}, "llama.cpp"),
        ({}, {"system_fingerprint": "fp_ollama"}, "ollama"),
        ({"server": "uvicorn"}, {"prompt_logprobs": None}, "vllm"),
    ],
)
def test_a_profile_by_the_first_answer(headers, body, name):
    assert profile_of_answer(headers, body).name == name
    assert profile_of_answer({"server": "nginx"}, {"choices": []}) is None
    assert profile_of_answer({}, ["no", "object"]) is None


def sent(server, number):
    body = server.asked[number][2]
    return {name for name in OPTIONAL if name in body}, body["tools"][0]["function"].get("strict", False)


def test_what_is_sent_follows_the_profile(server):
    server.answers = [OK]
    for number, (name, profile) in enumerate(PROFILES.items()):
        OpenAIChat("m", KEY, server.url, name).respond(ASK, TOOLS, 20)
        fields, strict = sent(server, number)
        assert strict is profile.strict
        assert ("tool_choice" in fields) is profile.tool_choice
        assert ("parallel_tool_calls" in fields) is profile.parallel_tool_calls
        assert fields - {"tool_choice", "parallel_tool_calls"} == {profile.token_limit}
        assert server.asked[number][2][profile.token_limit] == REPLY_TOKENS


def test_an_endpoint_that_is_found_out_is_served_its_way(server):
    server.answers = [(200, {"x-litellm-version": "1"}, OK[2]), OK]
    model = OpenAIChat("m", KEY, server.url)
    for _ in range(2):
        model.respond(ASK, TOOLS, 20)
    assert "parallel_tool_calls" not in sent(server, 0)[0]
    assert "parallel_tool_calls" in sent(server, 1)[0]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("Unknown parameter: 'tools[0].function.strict'.", "strict"),
        ("Unsupported parameter: parallel_tool_calls is not supported with this model.", "parallel_tool_calls"),
        ("tool_choice: Extra inputs are not permitted", "tool_choice"),
        ("max_completion_tokens is not a valid field", "max_completion_tokens"),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_field_is_given_up_with_a_notice_and_for_good(server, words, field, status):
    server.answers = [failure(status, words), OK, OK]
    model = OpenAIChat("m", KEY, server.url, "openai")
    first, second = model.respond(ASK, TOOLS, 20), model.respond(ASK, TOOLS, 20)
    (notice,) = first.notices
    assert f"going on without {field}" in notice
    assert second.notices == ()
    for number in (1, 2):
        fields, strict = sent(server, number)
        assert field not in fields
        assert strict is (field != "strict")
    assert len(server.asked) == 3


def test_the_token_field_is_swapped_where_the_server_asks_for_the_other(server):
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.answers = [failure(400, words), OK]
    OpenAIChat("m", KEY, server.url, "vllm").respond(ASK, TOOLS, 20)
    assert "max_completion_tokens" in sent(server, 1)[0]


def test_a_reply_too_long_for_the_context_is_left_to_the_server(server):
    words = "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096."
    server.answers = [failure(400, words), OK]
    OpenAIChat("m", KEY, server.url, "vllm").respond(ASK, TOOLS, 20)
    assert not sent(server, 1)[0] & {"max_tokens", "max_completion_tokens"}


def test_a_server_that_does_not_say_what_it_refuses_is_asked_for_less_and_less(server):
    server.answers = [failure(400, "Bad request")] * 6 + [OK]
    reply = OpenAIChat("m", KEY, server.url, "openai").respond(ASK, TOOLS, 20)
    assert len(reply.notices) == 6
    assert sent(server, 6) == (set(), False)
    assert set(server.asked[6][2]) == {"model", "messages", "tools"}


def test_a_server_that_refuses_everything_is_one_sentence(server):
    server.answers = [failure(400, "Bad request")]
    with pytest.raises(AgentError, match=r"refused the request \(HTTP 400: Bad request\)"):
        OpenAIChat("m", KEY, server.url, "openai").respond(ASK, TOOLS, 20)
    assert len(server.asked) == 7


def test_reasoning_goes_back_only_where_it_is_wanted(server):
    thought = [{"type": "reasoning.text", "text": "hm"}]
    server.answers = [completion({"content": "ok", "reasoning_details": thought, "reasoning_content": "hm"})]
    kept = OpenAIChat("m", KEY, server.url, "openrouter").respond(ASK, TOOLS, 20).message
    assert kept["reasoning_details"] == thought
    assert "reasoning_content" not in kept
    assert set(OpenAIChat("m", KEY, server.url, "vllm").respond(ASK, TOOLS, 20).message) == {"role", "content"}


def test_the_length_of_an_answer_is_bounded_by_what_is_left(server):
    server.answers = [OK]
    OpenAIChat("m", KEY, server.url, "vllm").respond(ASK, TOOLS, 20, 300)
    assert server.asked[0][2]["max_tokens"] == 300


def test_a_cut_off_reply_and_a_refusal_are_told_apart(server):
    model = OpenAIChat("m", KEY, server.url)
    server.answers = [completion({"content": "and then"}, finish="length")]
    assert model.respond(ASK, TOOLS, 20).finish == "length"
    server.answers = [completion({"content": None, "refusal": "No."})]
    assert model.respond(ASK, TOOLS, 20).finish == "refusal"
    server.answers = [completion({"content": ""}, finish="content_filter")]
    assert model.respond(ASK, TOOLS, 20).finish == "refusal"


def test_usage_is_read_in_full_and_priced(server, monkeypatch, tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text('{"m": [2, 0.5, 10]}')
    monkeypatch.setenv("AUTOKERNEL_PRICES", str(prices))
    body = json.loads(OK[2])
    body["usage"] = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 400}
    server.answers = [(200, {}, json.dumps(body))]
    reply = OpenAIChat("m", KEY, server.url).respond(ASK, TOOLS, 20)
    assert (reply.usage, reply.prompt_tokens, reply.cached_tokens) == (1100, 1000, 400)
    assert reply.cost == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)
    body["usage"]["prompt_tokens_details"]["cache_write_tokens"] = 600
    prices.write_text('{"m": [2, 0.5, 10, 2.5]}')
    server.answers = [(200, {}, json.dumps(body))]
    reply = OpenAIChat("m", KEY, server.url).respond(ASK, TOOLS, 20)
    assert reply.cost == pytest.approx((600 * 2.5 + 400 * 0.5 + 100 * 10) / 1e6)
    body["usage"]["cost"] = 0.05
    server.answers = [(200, {}, json.dumps(body))]
    assert OpenAIChat("m", KEY, server.url).respond(ASK, TOOLS, 20).cost == 0.05


@pytest.mark.parametrize("usage", [None, 7, [], {"total_tokens": "many"}, {"total_tokens": -1}, {"total_tokens": True}])
def test_usage_that_is_none_is_not_believed(server, usage):
    body = json.loads(OK[2])
    body["usage"] = usage
    server.answers = [(200, {}, json.dumps(body))]
    reply = OpenAIChat("m", KEY, server.url).respond(ASK, TOOLS, 20)
    assert (reply.usage, reply.cost) == (None, 0.0)


def test_an_endpoint_that_is_none_is_refused_with_the_list():
    with pytest.raises(UsageError, match="--endpoint takes one of openai, openrouter"):
        OpenAIChat("m", KEY, "http://127.0.0.1:1/v1", "bogus")
