"""How hard a model thinks: read, carried in the objective, sent where it is taken, said where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import agent
from agent.campaign.plan import Campaign
from agent.cli.commands import main
from agent.errors import UsageError
from agent.loop.progress import Watch
from agent.models.effort import EFFORTS, read_effort
from agent.models.endpoint.openai_chat import OpenAIChat
from agent.replay.fork import fork
from agent.trace.trace import read_trace
from evals.contest.run_files import fingerprint
from tests.agent.answers import completion, failure, tool_call
from tests.agent.fake_actions import BEST
from tests.agent.models.test_openai_chat import ASK, KEY, TOOLS
from tests.agent.replay.elsewhere import opener

OK = completion({"content": "ok"})


def test_where_an_effort_is_read_from(monkeypatch):
    assert read_effort(None) is None
    monkeypatch.setenv("AUTOKERNEL_EFFORT", " High ")
    assert read_effort(None) == "high"
    assert read_effort("low") == "low"
    monkeypatch.setenv("AUTOKERNEL_EFFORT", "hard")
    with pytest.raises(UsageError, match="take one of none, minimal, low, medium, high, xhigh, max"):
        read_effort(None)


@pytest.mark.parametrize("effort", [None, *EFFORTS])
def test_it_is_sent_as_it_was_given(server, effort):
    server.answers = [OK]
    assert OpenAIChat("m", KEY, server.url, effort=effort).respond(ASK, TOOLS, 20).notices == ()
    assert server.asked[0][2].get("reasoning_effort") == effort


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "words",
    [
        "Unrecognized request argument supplied: reasoning_effort",
        "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: 'low'.",
        'reasoning_effort "medium" was provided, but model m does not support reasoning effort',
        "Thinking level is not supported for this model.",
    ],
)
def test_a_model_that_refuses_it_goes_on_without_and_says_so_once(server, words, status):
    server.answers = [failure(status, words), OK]
    model = OpenAIChat("m", KEY, server.url, "openai", effort="none")
    first, second = model.respond(ASK, TOOLS, 20), model.respond(ASK, TOOLS, 20)
    assert words[:40] in first.notices[0]
    assert first.notices[0].endswith("going on without reasoning_effort")
    assert second.notices == ()
    sent = [asked[2] for asked in server.asked]
    assert ["reasoning_effort" in body for body in sent] == [True, False, False]
    assert {**sent[1], "reasoning_effort": "none"} == sent[0], "nothing else was given up"


def test_a_run_carries_it_in_its_objective_and_a_fork_may_change_it(small_world, capsys, server, tmp_path):
    server.answers = [tool_call({"configs": [BEST]}), OK]
    small_world()
    command = ["fused TFLOPS", "--model", "m", "--base-url", server.url, "--effort", "xhigh", "--json"]
    assert main([*command, "--max-model-calls", "2"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["objective"]["effort"] == "xhigh"
    assert [asked[2]["reasoning_effort"] for asked in server.asked] == ["xhigh", "xhigh"]
    record = read_trace(Path(outcome["trace"]))
    for effort in (None, "low"):
        server.asked.clear()
        fork(record, 2, watch=Watch(), effort=effort, open_=opener(tmp_path / str(effort)))
        assert server.asked[0][2]["reasoning_effort"] == (effort or "xhigh")


def test_the_embedded_planner_says_that_it_has_none(small_world, capsys, monkeypatch):
    small_world()
    assert main(["fused TFLOPS", "--effort", "high"]) == 0
    assert capsys.readouterr().err.count("the embedded planner has no reasoning effort") == 1


def test_a_word_that_is_none_is_refused(capsys, monkeypatch):
    assert main(["fused TFLOPS", "--effort", "hard"]) == 2
    assert "--effort" in capsys.readouterr().err
    monkeypatch.setenv("AUTOKERNEL_EFFORT", "hard")
    assert main(["fused TFLOPS"]) == 2
    assert "AUTOKERNEL_EFFORT take one of" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no effort 'harder'"):
        agent.optimise("fused TFLOPS", effort="harder")


def test_a_campaign_and_a_contest_know_whose_effort_it_was(monkeypatch):
    layer = {"kernel": "fused_matmul", "shape": "64x64x64"}
    plain, hard = (
        Campaign.model_validate({"name": "c", "model": "m", "effort": effort, "problem": [layer]}).jobs()[0]
        for effort in (None, "high")
    )
    assert hard.objective(5, 5.0).effort == "high"
    assert plain.run_id(1) != hard.run_id(1)
    before = fingerprint("model:m")
    monkeypatch.setenv("AUTOKERNEL_EFFORT", "high")
    assert fingerprint("model:m") != before
