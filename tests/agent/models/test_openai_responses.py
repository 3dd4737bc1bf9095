"""The Responses API, through the real client and a real server: what is sent, what is kept, what is made of it."""

from __future__ import annotations

import json
import time

import pytest

from agent.errors import AgentError, UsageError
from agent.models.base import OUTPUT
from agent.models.context import estimate
from agent.models.endpoint.client import REASONED_TOKENS, REPLY_TOKENS
from agent.models.endpoint.faults import OtherApi, Outage
from agent.models.endpoint.openai_chat import OpenAIChat
from agent.models.endpoint.openai_responses import ENCRYPTED, OPTIONAL, OpenAIResponses
from agent.models.endpoint.response_items import input_items
from agent.models.waiting import Waiting
from agent.turn.calls import number_calls
from tests.agent.answers import completion, failure, function_call, response, spoken, sse, streamed, thought
from tests.agent.models.test_openai_chat import ASK, KEY, TOOLS

OK = response("ok")
RESULT = json.dumps({"results": []})


def ask(server, *answers, messages=ASK, seconds=20.0, **more):
    server.answers = list(answers)
    return OpenAIResponses("m", KEY, server.url, **more).respond(messages, TOOLS, seconds)


def answered(message, turn=0):
    """The message as the loop keeps it, and an answer to each of its calls."""
    kept, _ = number_calls(message, turn)
    calls = kept.get("tool_calls", ())
    return [kept, *({"role": "tool", "tool_call_id": c["id"], "content": RESULT} for c in calls)]


def talked(*items, turn=0):
    """A conversation in which the model answered with `items`."""
    from agent.models.endpoint.response_items import message_of

    return [*ASK, *answered(message_of([spoken(i) if isinstance(i, str) else i for i in items], "m")[0], turn)]


def test_what_is_sent(server):
    reply = ask(server, streamed(OK))
    path, headers, body = server.asked[0]
    assert path == "/v1/responses"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (body["model"], body["instructions"]) == ("m", "s")
    assert body["input"] == [{"type": "message", "role": "user", "content": "u"}]
    assert (body["store"], body["stream"], body["include"]) == (False, True, [ENCRYPTED])
    assert (body["parallel_tool_calls"], body["tool_choice"]) == (True, "auto")
    assert body["max_output_tokens"] == REASONED_TOKENS
    (tool,) = body["tools"]
    given = {name: getattr(TOOLS[0], name) for name in ("name", "description", "parameters")}
    assert tool == {"type": "function", "strict": True, **given}
    assert "reasoning" not in body
    assert (reply.message["content"], reply.usage, reply.finish) == ("ok", 12, "")


def test_the_length_of_an_answer_is_bounded_by_what_is_left(server):
    server.answers = [OK]
    OpenAIResponses("m", KEY, server.url).respond(ASK, TOOLS, 20, 300)
    assert server.asked[0][2]["max_output_tokens"] == 300


def test_an_effort_is_sent_and_given_up_if_the_model_takes_none(server):
    refusal = failure(400, "Unsupported parameter: 'reasoning.effort' is not supported.", param="reasoning.effort")
    reply = ask(server, refusal, OK, effort="high")
    assert server.asked[0][2]["reasoning"] == {"effort": "high"}
    assert "reasoning" not in server.asked[1][2]
    assert "going on with the model's own effort" in reply.notices[0]


@pytest.mark.parametrize("form", ["streamed", "empty end", "whole"])
def test_items_are_kept_as_they_came_and_go_back_with_their_outputs(server, form):
    odd = {"type": "program", "id": "pr_1", "state": {"deep": [1, None]}}
    items = [thought(1), odd, function_call({"configs": []}, number=1), thought(2), spoken("and", 2)]
    batch = {"configs": [{"tile": tile, "warps": 4} for tile in (16, 32)]}  # Chat Completions sees it as a table
    items.append(function_call(batch, call_id="call_2", number=2))
    whole = response(*items)
    message = ask(server, whole if form == "whole" else streamed(whole, empty_end=form == "empty end")).message
    assert message[OUTPUT] == {"model": "m", "items": items}
    assert message["content"] == "and"
    conversation = [*ASK, *answered(message)]
    ask(server, OK, messages=conversation)
    sent = server.asked[-1][2]["input"]
    assert sent[1:7] == items
    assert [i["call_id"] for i in sent[7:]] == ["call_1", "call_2"]
    assert {i["type"] for i in sent[7:]} == {"function_call_output"}


def test_null_fields_do_not_go_back(server):
    message = ask(server, response({**thought(1), "status": None, "content": None}, spoken("x"))).message
    assert message[OUTPUT]["items"][0] == thought(1)


def test_several_messages_are_read_as_one_and_go_back_apart(server):
    message = ask(server, response(spoken("one", 1), spoken("two", 2))).message
    assert message["content"] == "one\ntwo"
    sent = input_items([*ASK, *answered(message)], "m")
    assert [item["id"] for item in sent[1:]] == ["msg_1", "msg_2"]


def test_a_call_never_goes_without_its_output():
    calls = [function_call({}, call_id=f"call_{i}", number=i) for i in range(20)]
    conversation = talked(thought(1), *calls, thought(2))
    sent = input_items(conversation, "m")
    asked = [item["call_id"] for item in sent if item["type"] == "function_call"]
    assert len(asked) == 16, "the loop runs no more of one message"
    assert asked == [item["call_id"] for item in sent if item["type"] == "function_call_output"]
    assert [item["id"] for item in sent if item["type"] == "reasoning"] == ["rs_1"]
    without_last = input_items(conversation[:-1], "m")
    assert sum(item["type"] == "function_call" for item in without_last) == 15


@pytest.mark.parametrize("call_ids", [("same", "same"), ("", "")])
def test_calls_of_one_id_or_of_none_are_told_apart(call_ids):
    sent = input_items(talked(*(function_call({}, call_id=c, number=n) for n, c in enumerate(call_ids))), "m")
    asked = [item["call_id"] for item in sent if item["type"] == "function_call"]
    assert len(set(asked)) == 2
    assert asked == [item["call_id"] for item in sent if item["type"] == "function_call_output"]


def test_reasoning_that_led_to_nothing_stays_behind(server):
    cut = response(thought(1), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    reply = ask(server, streamed(cut))
    assert (reply.message["content"], reply.finish) == (None, "length")
    sent = input_items([*ASK, *answered(reply.message), {"role": "user", "content": "go on"}], "m")
    assert [item.get("role") for item in sent] == ["user", "user"]


def test_reasoning_that_no_server_can_read_stays_behind():
    blind = {**thought(1), "encrypted_content": ""}
    sent = input_items(talked(blind, function_call({})), "m")
    assert [item["type"] for item in sent] == ["message", "function_call", "function_call_output"]
    assert "id" not in sent[1]
    open_ = {"type": "reasoning", "id": "rs_9", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    assert input_items(talked(open_, function_call({})), "m")[1] == open_


def test_arguments_and_words_too_long_are_sent_shortened():
    from agent.models.context import TURN_CHARS, WORDS_CHARS, shown

    long = function_call({"configs": ["x" * 2 * TURN_CHARS]})
    conversation = shown(talked(thought(1), spoken("blah " * WORDS_CHARS, 1), long, function_call("{", number=2)), ())
    sent = input_items(conversation, "m")
    assert len(json.dumps(sent)) < TURN_CHARS
    assert [item["type"] for item in sent[1:5]] == ["reasoning", "message", "function_call", "function_call"]
    assert all(isinstance(json.loads(item["arguments"]), dict) for item in sent[3:5])


def test_a_refusal_an_unfinished_answer_and_a_filtered_one(server):
    no = {**spoken("", 1), "content": [{"type": "refusal", "refusal": "I will not."}]}
    reply = ask(server, streamed(response(no)))
    assert (reply.message["content"], reply.finish) == ("I will not.", "refusal")
    cut = response("and then", status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert ask(server, streamed(cut)).finish == "length"
    kept = response(status="incomplete", incomplete_details={"reason": "content_filter"})
    assert ask(server, streamed(kept)).finish == "refusal"
    called = response(function_call({}), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert ask(server, called).message["tool_calls"]


def test_usage_is_read_in_full_and_priced(server, monkeypatch, tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text('{"m": [2, 0.5, 10]}')
    monkeypatch.setenv("AUTOKERNEL_PRICES", str(prices))
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    usage |= {"input_tokens_details": {"cached_tokens": 400}, "output_tokens_details": {"reasoning_tokens": 64}}
    reply = ask(server, streamed(response("x", usage=usage)))
    counts = (reply.usage, reply.prompt_tokens, reply.cached_tokens, reply.reasoning_tokens)
    assert counts == (1100, 1000, 400, 64)
    assert reply.cost == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6), "reasoning is part of the answer"


def test_the_cache_key_is_the_same_while_the_beginning_is(server):
    server.answers = [OK]
    for _ in range(2):
        OpenAIResponses("m", KEY, server.url).respond(ASK, TOOLS, 20)
    other = [{"role": "system", "content": "t"}, ASK[1]]
    OpenAIResponses("m", KEY, server.url).respond(other, TOOLS, 20)
    first, second, third = (body["prompt_cache_key"] for _, _, body in server.asked)
    assert first == second != third
    assert len(first) <= 64


def test_an_estimate_counts_each_thing_once():
    plain = [ASK[0], ASK[1], {"role": "assistant", "content": "x" * 700}]
    kept = [*ASK, *answered({**plain[2], OUTPUT: {"model": "m", "items": [spoken("x" * 700)]}})]
    assert estimate(kept, TOOLS) <= estimate(plain, TOOLS) + 5
    thinking = [*ASK, {**plain[2], OUTPUT: {"model": "m", "items": [thought(1, "g" * 700), spoken("x" * 700)]}}]
    assert estimate(thinking, TOOLS) > estimate(plain, TOOLS) + 150


@pytest.mark.parametrize(
    ("words", "more", "field"),
    [
        ("Unknown parameter: 'prompt_cache_key'.", {}, "prompt_cache_key"),
        ("Encrypted content is not supported with this model.", {"param": "include"}, "include"),
        ("Encrypted content is not supported with this model.", {}, "include"),
        ("Unsupported value", {"param": "tools[0].strict"}, "strict"),
        ("('body', 'store'): Extra inputs are not permitted", {}, "store"),
        ("parallel_tool_calls is not supported", {}, "parallel_tool_calls"),
        ("Unknown parameter: 'max_output_tokens'", {}, "max_output_tokens"),
        ("Streaming is off: 'stream' must be false", {}, "stream"),
        ("Streaming is not supported for this model.", {}, "stream"),
    ],
)
def test_a_refused_field_is_given_up_with_a_notice_and_for_good(server, words, more, field):
    server.answers = [failure(400, words, **more), OK, OK]
    model = OpenAIResponses("m", KEY, server.url)
    first, second = model.respond(ASK, TOOLS, 20), model.respond(ASK, TOOLS, 20)
    (notice,) = first.notices
    assert notice.endswith(f"going on without {field}")
    assert second.notices == ()
    for _, _, body in server.asked[1:]:
        assert field not in body
        assert field not in body["tools"][0]
        assert ("strict" in body["tools"][0]) is (field != "strict")


@pytest.mark.parametrize(
    "words",
    [
        "max_output_tokens is too large: 32768. This model supports at most 16384 completion tokens.",
        "This model's maximum context length is 32768 tokens. However, you requested 33000 tokens.",
    ],
)
@pytest.mark.parametrize("make", [OpenAIResponses, OpenAIChat])
def test_an_answer_that_is_too_long_for_a_server_is_made_shorter_before_its_limit_is_given_up(server, make, words):
    server.answers = [failure(400, words), OK if make is OpenAIResponses else completion({"content": "ok"})]
    reply = make("m", KEY, server.url, effort="high").respond(ASK, TOOLS, 20)
    field = "max_output_tokens" if make is OpenAIResponses else "max_tokens"
    assert [body[field] for _, _, body in server.asked] == [REASONED_TOKENS, REPLY_TOKENS]
    assert [notice.endswith(f"going on with at most {REPLY_TOKENS} tokens an answer") for notice in reply.notices] == [
        True
    ]
    assert "reasoning_effort" in server.asked[1][2] or "reasoning" in server.asked[1][2], "nothing else is given up"


def test_a_budget_bounds_an_answer_and_reasoning_that_is_off_needs_no_room(server):
    server.answers = [OK]
    OpenAIResponses("m", KEY, server.url).respond(ASK, TOOLS, 20, tokens=100)
    OpenAIResponses("m", KEY, server.url, effort="none").respond(ASK, TOOLS, 20)
    assert [body["max_output_tokens"] for _, _, body in server.asked] == [100, REPLY_TOKENS]


def test_a_server_that_does_not_say_what_it_refuses_is_asked_for_less_and_less(server):
    reply = ask(server, *[failure(400, "Bad request")] * len(OPTIONAL), OK, effort="low")
    assert len(reply.notices) == len(OPTIONAL)
    body = server.asked[-1][2]
    assert set(body) == {"model", "instructions", "input", "tools", "store", "stream"}


def test_a_server_that_refuses_everything_is_one_sentence(server):
    with pytest.raises(AgentError, match=r"refused the request \(HTTP 400: Bad request\)"):
        ask(server, failure(400, "Bad request"), effort="low")
    assert len(server.asked) == len(OPTIONAL) + 1


REFUSALS = [
    failure(400, "The encrypted content gAAA...DQ== could not be verified.", code="invalid_encrypted_content"),
    failure(400, "Item 'rs_1' of type 'reasoning' was provided without its required following item.", param="input"),
    failure(400, "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'."),
    failure(400, "Invalid item.", param="input[1]"),
    failure(404, "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."),
    (200, {}, sse({"type": "error", "code": "invalid_encrypted_content", "message": "could not be verified"})),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_reasoning_that_is_no_longer_accepted_is_dropped_with_a_notice(server, refusal):
    conversation = talked(thought(1), function_call({}, number=1))
    server.answers = [refusal, response(thought(3), function_call({}, number=3, call_id="call_3")), OK]
    model = OpenAIResponses("m", KEY, server.url)
    reply = model.respond(conversation, TOOLS, 20)
    assert [n for n in reply.notices if "no longer accepts the reasoning of earlier turns" in n] == list(reply.notices)
    sent = server.asked[1][2]["input"]
    assert [item["type"] for item in sent] == ["message", "function_call", "function_call_output"]
    assert "id" not in sent[1]
    assert model.respond([*conversation, *answered(reply.message, 1)], TOOLS, 20).notices == ()
    kept = [item["id"] for item in server.asked[2][2]["input"] if "id" in item]
    assert kept == ["rs_3", "fc_3"], "what the new key or model thought is kept"


def test_a_server_that_refuses_the_reasoning_of_its_own_answers_gets_none_and_is_not_asked_twice_a_turn(server):
    def refuse(body):
        if any(item["type"] == "reasoning" for item in body["input"]):
            return REFUSALS[0]
        number = len(server.asked)
        return response(thought(number), function_call({}, number=number, call_id=f"call_{number}"))

    conversation, notices = talked(thought(0), function_call({}, number=0)), []
    server.answers = [refuse]
    model = OpenAIResponses("m", KEY, server.url)
    for turn in range(1, 5):
        reply = model.respond(conversation, TOOLS, 20)
        conversation += answered(reply.message, turn)
        notices += reply.notices
    assert len(server.asked) == 4 + 2
    assert "going on without it" in notices[0]
    assert "does not accept the reasoning of its own answers: going on without any" in notices[1]
    assert len(notices) == 2


def test_another_models_reasoning_is_not_sent_and_it_is_said_once(server):
    conversation = talked(thought(1), function_call({}, number=1))
    server.answers = [OK]
    model = OpenAIResponses("other", KEY, server.url)
    first, second = model.respond(conversation, TOOLS, 20), model.respond(conversation, TOOLS, 20)
    assert first.notices == ("the reasoning of m is not sent to other",)
    assert second.notices == ()
    assert not any("id" in item for item in server.asked[0][2]["input"])


def test_reasoning_that_the_server_left_out_is_said_once(server):
    change = {"id": "rs_1", "action": "removed", "type": "reasoning"}
    changes = [{**change, "reason": "model_mismatch"}, {**change, "reason": "turn_boundary"}]
    server.answers = [response("x", input_transformations=changes)]
    model = OpenAIResponses("m", KEY, server.url)
    assert "model_mismatch" in model.respond(ASK, TOOLS, 20).notices[0]
    assert model.respond(ASK, TOOLS, 20).notices == ()


def test_chat_completions_is_not_sent_what_responses_keeps(server):
    server.answers = [completion({"content": "ok"})]
    OpenAIChat("m", KEY, server.url).respond(talked(thought(1), function_call({})), TOOLS, 20)
    assert "gAAAA" not in json.dumps(server.asked[0][2])


def test_encrypted_content_is_in_no_message_to_the_user(server):
    secret = "gAAAAB" + "x" * 300
    with pytest.raises(Outage) as failed:
        ask(server, failure(413, f"cannot take {secret}"))
    assert "xxx" not in str(failed.value)


def test_an_answer_of_the_other_api_is_one_sentence(server):
    with pytest.raises(Outage, match=r"answered /v1/responses with a chat completion: use --api chat"):
        ask(server, completion({"content": "ok"}))
    chunk = {"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}
    with pytest.raises(Outage, match="with a chat completion: use --api chat"):
        ask(server, (200, {"content-type": "text/event-stream"}, f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"))
    server.answers = [OK]
    with pytest.raises(Outage, match="with a response of the Responses API: use --api responses"):
        OpenAIChat("m", KEY, server.url).respond(ASK, TOOLS, 20)


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, "{}"),
        (200, {}, "[]"),
        (200, {}, "null"),
        (200, {}, '{"output": null}'),
        (200, {}, '{"output": ["x"]}'),
        (200, {}, '{"output": [{"type": "function_call"}]}'),
        (200, {}, '{"output": [], "status": "queued"}'),
        (418, {}, "[1]"),
    ],
)
def test_what_is_no_response_is_one_sentence(server, answer):
    with pytest.raises(AgentError) as failed:
        ask(server, answer)
    assert failed.value.exit_code == 1
    assert "\n" not in str(failed.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize("words", ["This model is only supported in v1/chat/completions and not in v1/responses."])
@pytest.mark.parametrize("status", [400, 404])
def test_a_model_of_the_other_api_alone_is_a_mistake_that_names_the_option(server, words, status):
    with pytest.raises(OtherApi, match="use --api chat or --api auto") as failed:
        ask(server, failure(status, words))
    assert isinstance(failed.value, UsageError)


def failed_event(code, message="no luck"):
    error = {"code": code, "message": message}
    body = {"id": "r", "object": "response", "status": "failed", "error": error, "output": []}
    return 200, {}, sse({"type": "response.failed", "response": body})


@pytest.mark.parametrize("form", ["failed", "error", "body"])
def test_a_failure_inside_of_an_answer_is_tried_again_if_it_may_pass(server, form):
    def answer(code):
        if form == "failed":
            return failed_event(code)
        told = {"code": code, "message": "no luck"}
        return (200, {}, sse({"type": "error", **told})) if form == "error" else (200, {}, json.dumps({"error": told}))

    assert ask(server, answer("server_error"), OK).message["content"] == "ok"
    asked = len(server.asked)
    with pytest.raises(Outage, match=r"refused the request \(invalid_prompt: no luck\)"):
        ask(server, answer("invalid_prompt"))
    assert len(server.asked) == asked + 1


def test_a_slow_answer_that_lives_is_waited_for(raw_server):
    """Silence is limited, the whole answer is not but by the run's time."""
    text = streamed(response(thought(1), "thought it over"))[2].encode()

    def speak(connection, number):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(5):
            connection.sendall(b": keepalive\n\n")
            time.sleep(0.4)
        connection.sendall(text)
        time.sleep(20)  # the last event ends the answer, whether the connection ends or not

    began = time.monotonic()
    reply = OpenAIResponses("m", KEY, raw_server(speak), waiting=Waiting(attempt_seconds=0.8)).respond(ASK, TOOLS, 30)
    assert reply.message["content"] == "thought it over"
    assert 1.6 < time.monotonic() - began < 8
    assert len(raw_server.asked) == 1


def test_an_answer_that_falls_silent_is_asked_for_again(raw_server):
    text = streamed(OK)[2].encode()

    def speak(connection, number):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        if number == 1:
            time.sleep(20)
        connection.sendall(text)

    model = OpenAIResponses("m", KEY, raw_server(speak), waiting=Waiting(attempt_seconds=0.5))
    assert model.respond(ASK, TOOLS, 30).message["content"] == "ok"
    assert len(raw_server.asked) == 2


@pytest.mark.parametrize("wait", [0.05, 60.0])
def test_the_runs_time_ends_an_answer_that_lives_on(raw_server, wait):
    def speak(connection, number):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(100):
            connection.sendall(b": keepalive\n\n")
            time.sleep(wait)

    began = time.monotonic()
    with pytest.raises(Outage, match="did not end within") as failed:
        OpenAIResponses("m", KEY, raw_server(speak)).respond(ASK, TOOLS, 1.5)
    assert time.monotonic() - began < 4
    assert failed.value.out_of_time
