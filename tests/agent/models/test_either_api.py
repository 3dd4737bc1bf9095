"""Which API a model is asked through: chosen, found out, remembered."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from agent.campaign.plan import Campaign
from agent.errors import AgentError, UsageError
from agent.models.base import OUTPUT
from agent.models.choose import api_name, load_model
from agent.models.endpoint.either_api import EitherApi, is_openai
from agent.models.endpoint.openai_chat import OpenAIChat
from agent.models.endpoint.openai_responses import OpenAIResponses
from evals.commands.commands import cli
from evals.contest.run_files import fingerprint
from tests.agent.answers import completion, failure, response
from tests.agent.models.test_openai_chat import ASK, KEY, TOOLS
from tests.agent.openai_rule import RULE

RULED = failure(400, RULE.format(model="m"), type="invalid_request_error", param="reasoning_effort")
NOWHERE = failure(404, "Not Found")
CHAT, RESPONSES = completion({"content": "by chat"}), response("by responses")


@pytest.fixture
def model(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return load_model("m", server.url)


def paths(server):
    return [path.removeprefix("/v1/") for path, _, _ in server.asked]


def test_openais_own_host_is_asked_through_responses(monkeypatch):
    assert is_openai(None)
    assert is_openai("https://api.openai.com/v1")
    assert is_openai("https://eu.api.openai.com/v1")
    assert not is_openai("https://api.openai.com.example.org/v1")
    assert not is_openai("http://127.0.0.1:8000/v1")


@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_that_names_the_other_api_switches_once_and_for_good(server, model, status):
    server.answers = [(status, *RULED[1:]), RESPONSES]
    first, second = model.respond(ASK, TOOLS, 20), model.respond(ASK, TOOLS, 20)
    assert paths(server) == ["chat/completions", "responses", "responses"]
    (notice,) = first.notices
    assert notice.endswith("does not take this model's tools on /v1/chat/completions: going on with /v1/responses")
    assert (second.notices, second.message["content"]) == ((), "by responses")


def test_a_refusal_with_many_words_before_the_name_switches_too(server, model):
    server.answers = [failure(400, f"{'So many words. ' * 40} Use /v1/responses."), RESPONSES]
    assert model.respond(ASK, TOOLS, 20).message["content"] == "by responses"


def test_a_server_without_responses_is_asked_through_chat_completions(server, monkeypatch):
    monkeypatch.setattr("agent.models.endpoint.either_api.is_openai", lambda url: True)
    server.answers = [NOWHERE, CHAT]
    model = load_model("m", server.url)
    reply = model.respond(ASK, TOOLS, 20)
    model.respond(ASK, TOOLS, 20)
    assert paths(server) == ["responses", "chat/completions", "chat/completions"]
    assert "has no /v1/responses: going on with /v1/chat/completions" in reply.notices[0]


def test_a_404_of_a_path_that_answered_is_about_something_else(server, monkeypatch):
    monkeypatch.setattr("agent.models.endpoint.either_api.is_openai", lambda url: True)
    server.answers = [RESPONSES, NOWHERE]
    model = load_model("m", server.url)
    model.respond(ASK, TOOLS, 20)
    with pytest.raises(UsageError, match="no model 'm'"):
        model.respond(ASK, TOOLS, 20)
    assert paths(server) == ["responses", "responses"]


def test_an_unknown_model_is_not_looked_for_through_the_other_api(server, model):
    server.answers = [failure(404, "The model `m` does not exist", code="model_not_found")]
    with pytest.raises(UsageError, match="no model 'm'"):
        model.respond(ASK, TOOLS, 20)
    assert paths(server) == ["chat/completions"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_that_speaks_neither_is_one_sentence(server, model, status):
    server.answers = [(status, *NOWHERE[1:])]
    said = rf"neither /v1/chat/completions nor /v1/responses.*HTTP {status}, HTTP {status}\): check --base-url"
    with pytest.raises(UsageError, match=said):
        model.respond(ASK, TOOLS, 20)
    assert len(server.asked) == 2


def test_a_server_that_sends_from_one_to_the_other_is_one_sentence(server, model):
    server.answers = [RULED, failure(400, "Use /v1/chat/completions instead.")]
    with pytest.raises(UsageError, match="refuses the model 'm' through both APIs") as failed:
        model.respond(ASK, TOOLS, 20)
    assert "use --api" not in str(failed.value), "neither of them helps"
    assert len(server.asked) == 2


def test_an_effort_reaches_both_apis(server):
    server.answers = [RULED, RESPONSES]
    assert "going on with /v1/responses" in load_model("m", server.url, effort="low").respond(ASK, TOOLS, 20).notices[0]
    assert server.asked[0][2]["reasoning_effort"] == "low"
    assert server.asked[1][2]["reasoning"] == {"effort": "low"}


def test_a_campaign_and_a_contest_know_the_api(monkeypatch):
    layer = {"kernel": "fused_matmul", "shape": "64x64x64"}
    plain, named = (
        Campaign.model_validate({"name": "c", "model": "m", "problem": [layer], **more}).jobs()[0]
        for more in ({}, {"api": "responses"})
    )
    assert named.objective(5, 5.0).api == "responses"
    assert plain.run_id(1) != named.run_id(1), "a run that failed by one API does not go on by it"
    before = fingerprint("model:m")
    monkeypatch.setenv("AUTOKERNEL_API", "responses")
    assert fingerprint("model:m") != before


@pytest.mark.parametrize("option", [["--api", "chat"], ["--effort", "low"], ["--base-url", "http://127.0.0.1:1/v1"]])
@pytest.mark.parametrize("command", ["run", "tasks"])
def test_the_evals_refuse_an_option_for_a_model_that_nobody_chose(command, option):
    ran = CliRunner().invoke(cli, [command, *option])
    assert ran.exit_code == 2
    assert f"{option[0]} is for a language model, and none is chosen: add --model NAME" in ran.output


def test_half_of_responses_is_one_sentence(server, model):
    server.answers = [RULED, CHAT]
    with pytest.raises(AgentError, match="answered /v1/responses with a chat completion") as failed:
        model.respond(ASK, TOOLS, 20)
    assert failed.value.exit_code == 1


def test_the_switch_is_remembered_in_the_conversation(server):
    server.answers = [RESPONSES]
    kept = {"role": "assistant", "content": "x", OUTPUT: {"model": "m", "items": []}}
    reply = load_model("m", server.url).respond([*ASK, kept], TOOLS, 20)
    assert paths(server) == ["responses"]
    assert reply.notices == ()
    server.answers = [CHAT]
    load_model("other", server.url).respond([*ASK, kept], TOOLS, 20)
    assert paths(server)[1:] == ["chat/completions"], "what one model spoke says nothing of another"


def test_a_choice_is_kept_and_its_refusal_names_the_option(server, monkeypatch):
    chat, responses = load_model("m", server.url, api="chat"), load_model("m", server.url, api="responses")
    assert isinstance(chat, OpenAIChat)
    assert isinstance(responses, OpenAIResponses)
    assert isinstance(load_model("m", server.url), EitherApi)
    server.answers = [RULED]
    with pytest.raises(UsageError, match="use --api responses or --api auto") as failed:
        chat.respond(ASK, TOOLS, 20)
    assert failed.value.exit_code == 2
    server.answers = [NOWHERE]
    with pytest.raises(UsageError, match=r"no /v1/responses \(HTTP 404\): check --model, --base-url and --api"):
        responses.respond(ASK, TOOLS, 20)


def test_which_api(monkeypatch):
    assert api_name(None, "m") == "auto"
    monkeypatch.setenv("AUTOKERNEL_API", "chat")
    assert api_name(None, "m") == "chat"
    assert api_name("responses", "m") == "responses"
    monkeypatch.setenv("AUTOKERNEL_API", "soap")
    with pytest.raises(UsageError, match="AUTOKERNEL_API take one of auto, responses, chat"):
        api_name(None, "m")
    with pytest.raises(UsageError, match="add --model"):
        api_name("chat", "embedded")


def test_the_key_goes_through_neither(server, model):
    server.answers = [(400, {}, json.dumps({"error": {"message": f"{KEY}: use /v1/responses"}})), RESPONSES]
    assert KEY not in str(model.respond(ASK, TOOLS, 20).notices)
