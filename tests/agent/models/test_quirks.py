"""Each way in which a provider is known to refuse an unwary client, by servers on loopback that refuse in its words.

A server checks every request of a run of many turns, also of its resume and of a fork: what it refuses is the test's
failure. Where the refusals come from: docs/MODELS.md, "Quirks of providers"."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent.loop.progress import LineWatch, Watch
from agent.loop.run import begin, resume
from agent.models.base import ToolSchema
from agent.models.context import DIGEST
from agent.models.endpoint.openai_chat import OpenAIChat
from agent.models.providers.history import NO_WORDS, STAND_IN
from agent.replay.fork import fork
from agent.trace.trace import read_trace
from tests.agent.answers import completion, failure
from tests.agent.fake_actions import SPACE, objective
from tests.agent.models.test_openai_chat import ASK, KEY, TOOLS
from tests.agent.replay.elsewhere import opener

OK = completion({"content": "ok"})
TURNS = 6
"""More than are shown in full: the first ones go into the digest."""
SKIP = "skip_thought_signature_validator"


def measure(number, ids=("abc",), **fields):
    """An answer that measures one config for each id."""
    calls = []
    for place, name in enumerate(ids):
        config = SPACE[(3 * number + place) % (len(SPACE) - 4)]
        function = {"name": "run_benchmark", "arguments": json.dumps({"configs": [config]})}
        calls.append({**({"id": name} if name is not None else {}), "type": "function", "function": function})
    return {"content": None, "tool_calls": calls, **fields}


def tool_turns(body):
    return [m for m in body["messages"] if m["role"] == "assistant" and m.get("tool_calls")]


class Gemini:
    """Wants the signature of the first call of each message back, as it gave it, or its own word for none."""

    def __init__(self):
        self.made = set()

    def refusal(self, body):
        for message in tool_turns(body):
            extra = message["tool_calls"][0].get("extra_content", {})
            given = extra.get("google", {}).get("thought_signature")
            if given is None:
                return self.error("Function call is missing a thought_signature in functionCall parts.")
            if given not in self.made | {SKIP}:
                return self.error("Corrupted thought signature.")
        return None

    def error(self, words):
        return 400, {}, json.dumps([{"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}])

    def answer(self, number):
        said = measure(number, ("function-call-1", "function-call-2"))
        self.made.add(f"signature {number}")
        said["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": f"signature {number}"}}
        return said

    def kept(self, body):
        return [m["tool_calls"][0]["extra_content"]["google"]["thought_signature"] for m in tool_turns(body)]


class Thinker:
    """Wants the reasoning of every message with tool calls back (DeepSeek's and Moonshot's words); sometimes it gives
    none."""

    def __init__(self, words, empty=True):
        self.words, self.empty, self.made = words, empty, {}

    def refusal(self, body):
        if all(m.get("reasoning_content") for m in tool_turns(body)):
            return None
        return failure(400, self.words, type="invalid_request_error")

    def answer(self, number):
        thought = "" if self.empty and number % 3 == 2 else f"thought {number} " * 400
        return measure(number, reasoning_content=thought)

    def kept(self, body):
        return [m["reasoning_content"] for m in tool_turns(body)]


class Mistral:
    """Wants ids of nine letters and digits, each once and answered, no fields that it does not know, and neither
    ``max_completion_tokens`` nor ``stream_options``; it repeats or leaves out ids itself."""

    known = frozenset(
        {"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_tokens", "reasoning_effort", "stream"}
    )

    def refusal(self, body):
        for name in set(body) - self.known:
            return self.forbidden("body", name)
        for place, message in enumerate(body["messages"]):
            for name in set(message) - {"role", "content", "tool_calls", "tool_call_id"}:
                return self.forbidden("body", "messages", place, message["role"], name)
            for call in message.get("tool_calls", ()):
                for name in set(call) - {"id", "type", "function"}:
                    return self.forbidden("body", "messages", place, "assistant", "tool_calls", 0, name)
        ids = [call["id"] for message in tool_turns(body) for call in message["tool_calls"]]
        answered = [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"]
        for name in ids:
            if not re.fullmatch("[a-zA-Z0-9]{9}", name):
                return failure(400, f"Tool call id was {name} but must be a-z, A-Z, 0-9, with a length of 9.")
        if len(set(ids)) < len(ids) or ids != answered:
            return failure(400, "Not the same number of function calls and responses")
        return None

    def forbidden(self, *place):
        found = {"type": "extra_forbidden", "loc": place, "msg": "Extra inputs are not permitted", "input": "role"}
        error = {"object": "error", "message": {"detail": [found]}, "type": "invalid_request_error", "code": None}
        return 422, {}, json.dumps(error)

    def answer(self, number):
        return measure(number, [("same", "same"), (None, None), ("", "call_1740241912345")][number % 3])

    def kept(self, body):
        return [call["id"] for message in tool_turns(body) for call in message["tool_calls"]]


class Anthropic:
    """Anthropic's compatible endpoint: no empty words, and one system message at the beginning."""

    def refusal(self, body):
        for place, message in enumerate(body["messages"]):
            if message["role"] == "assistant" and not message.get("tool_calls") and not message["content"]:
                return failure(400, f"messages.{place}: all messages must have non-empty content")
        return None

    def answer(self, number):
        return {"content": ""} if number == 1 else measure(number, ("toolu_01", "toolu_02"))

    def kept(self, body):
        return [message["content"] for message in body["messages"] if message["role"] == "assistant"]


DEEPSEEK = "The `reasoning_content` in the thinking mode must be passed back to the API."
MOONSHOT = "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2"
PROVIDERS = {
    "gemini": (Gemini, ["signature 0", "signature 1", "signature 2"]),
    "deepseek": (lambda: Thinker(DEEPSEEK), ["thought 0 " * 400, "thought 1 " * 400, STAND_IN]),
    "moonshot": (lambda: Thinker(MOONSHOT), ["thought 0 " * 400, "thought 1 " * 400, STAND_IN]),
    "mistral": (Mistral, ["t0000c000", "t0000c001", "t0001c000", "t0001c001", "t0002c000", "t0002c001"]),
    "anthropic": (Anthropic, [None, NO_WORDS, None]),
}
"""Each with what of the first three answers it must see again at the fourth request: reasoning is never cut."""


class Served:
    """A provider behind ``server``: checks each request, then answers; fails once at the request `broken`."""

    def __init__(self, server, provider, broken=None, first=0):
        self.provider, self.broken, self.refused, self.bodies, self.first = provider, broken, [], [], first
        server.answers = [self.respond]

    def respond(self, body):
        if len(self.bodies) == self.broken:
            self.broken = None
            return failure(418, "a break")
        refusal = self.provider.refusal(body)
        if refusal is not None:
            self.refused.append(refusal)
            return refusal
        self.bodies.append(body)
        return completion(self.provider.answer(self.first + len(self.bodies) - 1))


def goal(endpoint=None, model="m"):
    return objective(max_model_calls=TURNS).model_copy(update={"model": model, "endpoint": endpoint})


silent = Watch()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_run_its_resume_and_its_fork_are_never_refused(server, tmp_path, name):
    make, kept = PROVIDERS[name]
    served = Served(server, make(), broken=TURNS - 2)
    # Where nothing can be proven, nobody takes the model's place: the run stops and can be resumed.
    stopped = opener(tmp_path / "ledger", nothing_correct=True)
    with pytest.raises(Exception, match="HTTP 418"):
        begin(goal(name), None, server.url, silent, stopped, run_id="first")
    open_ = opener(tmp_path / "ledger")
    ended = resume("first", silent, open_)
    trace = Path(ended.outcome.trace)
    assert len(served.bodies) == TURNS, "nothing was asked twice"
    assert any(DIGEST in str(m["content"]) for m in served.bodies[-1]["messages"]), "older turns are in the digest"
    fork(read_trace(trace), TURNS - 1, watch=silent, say="Go on.", open_=opener(tmp_path / "forked"))
    assert len(served.bodies) > TURNS
    assert served.refused == []
    assert served.provider.kept(served.bodies[3]) == kept


def test_an_unknown_gateway_gets_the_reasoning_back_that_it_gives(server, tmp_path):
    served = Served(server, Thinker(MOONSHOT, empty=False))
    begin(goal(), None, server.url, silent, opener(tmp_path / "ledger"))
    assert (served.refused, len(served.bodies)) == ([], TURNS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gemini", ["with a stand-in for the signatures that earlier calls lack"]),
        ("deepseek", ["with reasoning_content on every turn with tool calls"]),
        ("mistral", ["without stream_options", "without extra_content"]),
    ],
)
def test_a_fork_of_another_models_run_is_refused_once_for_each_field_by_an_unknown_host(server, tmp_path, name, says):
    other = Served(server, Gemini() if name == "mistral" else Mistral())
    first = begin(goal(), None, server.url, silent, opener(tmp_path / "first"))
    copied = [] if name == "mistral" else ["without stream_options"]
    assert len(other.refused) == len(copied)
    served, said = Served(server, PROVIDERS[name][0](), first=TURNS), []
    told = {"model": "another", "base_url": server.url, "watch": LineWatch(said.append)}
    fork(read_trace(Path(first.outcome.trace)), 4, open_=opener(tmp_path / "second"), **told)
    assert [line.rpartition("going on ")[2] for line in said if "going on" in line] == [*copied, *says]
    assert len(served.refused) == len(says)
    assert all(body["stream"] for body in served.bodies), "no field was given up for another"
    assert len(served.bodies) == TURNS - 3


@pytest.mark.parametrize("place", [["body", "stream_options"], ["body", "stream_options", "include_usage"]])
def test_a_server_that_refuses_the_question_for_usage_still_streams(server, place):
    """Without a stream a long thought would have to come within ``--attempt-seconds``."""
    reply = ask(server, Mistral().forbidden(*place), OK)
    assert [notice.rpartition("going on ")[2] for notice in reply.notices] == ["without stream_options"]
    first, second = (body for _, _, body in server.asked)
    assert {name: first[name] for name in first if name != "stream_options"} == second
    assert second["stream"] is True
    ask(server, OK, endpoint="mistral")
    assert (len(server.asked), "stream_options" in server.asked[0][2]) == (1, False)


def ask(server, *answers, endpoint=None, messages=ASK, effort=None):
    server.asked.clear()
    server.answers = list(answers)
    return OpenAIChat("m", KEY, server.url, endpoint, effort=effort).respond(messages, TOOLS, 20)


def turn(**call):
    made = {"id": "t0000c000", "type": "function", "function": {"name": "f", "arguments": "{}"}, **call}
    said = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [made]}
    return [*ASK, said, {"role": "tool", "tool_call_id": "t0000c000", "content": "{}"}]


def test_a_signature_that_is_no_longer_accepted_is_replaced(server):
    extra = {"google": {"thought_signature": "of another key"}}
    reply = ask(server, failure(400, "Corrupted thought signature."), OK, messages=turn(extra_content=extra))
    assert "without the signatures of earlier calls" in reply.notices[0]
    (call,) = server.asked[1][2]["messages"][2]["tool_calls"]
    assert call["extra_content"]["google"]["thought_signature"] == SKIP


@pytest.mark.parametrize("name", ["openai", "anthropic", "mistral", "deepseek"])
def test_no_provider_is_sent_the_fields_of_another(server, name):
    ask(server, OK, endpoint=name, messages=turn(extra_content={"google": {"thought_signature": "s"}}))
    message = server.asked[0][2]["messages"][2]
    assert set(message["tool_calls"][0]) == {"id", "type", "function"}
    assert ("reasoning_content" in message) is (name == "deepseek")


def test_a_field_that_is_not_permitted_in_messages_is_left_out(server):
    found = {"type": "extra_forbidden", "loc": ["body", "messages", 2, "assistant", "reasoning_content"]}
    found |= {"msg": "Extra inputs are not permitted", "input": "hm"}
    refused = 422, {}, json.dumps({"object": "error", "message": {"detail": [found]}})
    reply = ask(server, refused, OK, messages=turn())
    assert "body.messages.2.assistant.reasoning_content: Extra inputs are not permitted" in reply.notices[0]
    assert server.asked[0][2]["messages"][2]["reasoning_content"] == "hm"
    assert "reasoning_content" not in server.asked[1][2]["messages"][2]


SYSTEM_REFUSED = [
    "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
    "role 'system' is not supported on this model",
    "System role not supported",
]
DEVELOPER_REFUSED = [
    "messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`",
    "Input tag 'developer' found using 'role' does not match any of the expected tags: 'user', 'assistant', 'tool'",
    "chat template rejected the request: Unexpected message role.",
]


@pytest.mark.parametrize("words", SYSTEM_REFUSED)
def test_a_server_that_wants_developer_for_system(server, words):
    def respond(body):
        return OK if body["messages"][0]["role"] == "developer" else failure(400, words)

    reply = ask(server, respond)
    assert "going on with the role developer in place of system" in reply.notices[0]
    assert [asked[2]["messages"][0]["role"] for asked in server.asked] == ["system", "developer"]
    assert server.asked[0][2].keys() == server.asked[1][2].keys(), "no field was given up for it"


@pytest.mark.parametrize("words", DEVELOPER_REFUSED)
def test_a_server_that_knows_no_developer_is_sent_system_and_one_that_knows_neither_the_rules_from_the_user(
    server, words
):
    def respond(body):
        return failure(400, words) if body["messages"][0]["role"] == "developer" else OK

    assert ask(server, respond).notices == ()
    assert [asked[2]["messages"][0]["role"] for asked in server.asked] == ["system"]

    def neither(body):
        role = body["messages"][0]["role"]
        return failure(400, words if role == "developer" else SYSTEM_REFUSED[2]) if role != "user" else OK

    reply = ask(server, neither)
    assert [notice.rpartition("going on ")[2] for notice in reply.notices] == [
        "with the role developer in place of system",
        "with the role user in place of developer",
    ]
    assert server.asked[-1][2]["messages"] == [{"role": "user", "content": "s\n\nu"}]


def test_a_model_without_parallel_tool_calls(server):
    words = "Unsupported parameter: 'parallel_tool_calls' is not supported with this model."
    refused = failure(400, words, param="parallel_tool_calls", code="unsupported_parameter")
    reply = ask(server, refused, OK, endpoint="openai", effort="high")
    assert "going on without parallel_tool_calls" in reply.notices[0]
    assert "parallel_tool_calls" in server.asked[0][2]
    assert "parallel_tool_calls" not in server.asked[1][2]
    assert server.asked[1][2]["reasoning_effort"] == "high"


def test_anthropics_endpoint_is_asked_for_nothing_that_it_ignores(server):
    reply = ask(server, OK, endpoint="anthropic", effort="high")
    (_, _, body), function = server.asked[0], server.asked[0][2]["tools"][0]["function"]
    assert "strict" not in function
    assert "reasoning_effort" not in body
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("auto", True)
    assert "takes no reasoning effort: --effort high changes nothing" in reply.notices[0]


def test_no_request_has_a_sampling_parameter(server):
    ask(server, OK, endpoint="openai", effort="low")
    sampling = {"temperature", "top_p", "top_k", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias"}
    assert not sampling & set(server.asked[0][2])


def test_a_refusal_that_asks_for_another_api_costs_one_request(server):
    words = "Function tools with reasoning_effort are not supported for m in /v1/chat/completions. Use /v1/responses"
    with pytest.raises(Exception, match="/v1/responses"):
        ask(server, failure(400, words), endpoint="openai", effort="high")
    assert len(server.asked) == 1


def test_an_empty_message_and_a_conversation_of_words_are_sent_with_words(server):
    messages = [*ASK, {"role": "assistant", "content": None}, {"role": "user", "content": "Go on."}]
    ask(server, OK, messages=messages)
    assert server.asked[0][2]["messages"][2] == {"role": "assistant", "content": NO_WORDS}


def delta(**fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def test_parallel_calls_of_a_stream_with_one_index_stay_apart_and_keep_their_signature(server):
    def piece(name, arguments, **more):
        return {"index": 0, "id": name, "function": {"name": "run_benchmark", "arguments": arguments}, **more}

    extra = {"google": {"thought_signature": "s"}}
    chunks = [
        delta(reasoning_content="first "),
        delta(reasoning_content="second"),
        delta(tool_calls=[piece("a", '{"x": ', extra_content=extra)]),
        delta(tool_calls=[{"index": 0, "id": "", "function": {"arguments": "1}"}}]),
        delta(tool_calls=[piece("b", '{"x": 2}')]),
    ]
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    message = ask(server, (200, {"content-type": "text/event-stream"}, text)).message
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"x": 1}', '{"x": 2}']
    assert message["tool_calls"][0]["extra_content"] == extra
    assert message["reasoning_content"] == "first second"


def test_the_schemas_of_tools_are_the_same_for_every_provider(server):
    """A prompt cache holds from turn to turn only if they are."""
    schema = ToolSchema("f", "d", {"type": "object", "properties": {}})
    server.answers = [OK]
    model = OpenAIChat("m", KEY, server.url, "deepseek")
    for _ in range(2):
        model.respond(ASK, [schema], 20)
    first, second = (json.dumps(asked[2]["tools"]) for asked in server.asked)
    assert first == second
