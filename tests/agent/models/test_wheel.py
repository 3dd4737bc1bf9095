"""Weak models behind a real server, at the wheel of the real tools on a recorded space: what they write is repaired or
quoted, what they are shown of the budget is what is charged, and the planner helps where they stand still."""

from __future__ import annotations

import json

import pytest

from agent.goal.objective import Limits, Objective
from agent.loop.actions import LiveActions
from agent.loop.progress import Watch
from agent.loop.run import begin
from agent.trace.trace import read_trace
from evals.contest.disguise import disguise
from evals.contest.game import Game
from evals.contest.game_session import open_game_session
from evals.contest.ledger import Ledger, Referee
from tests.agent.answers import completion, tool_call
from tests.evals.contest.test_counting import InProcess
from tools.harness.landscapes.named import named_landscape

LANDSCAPE = named_landscape("rms_norm-32768x4096-fp16-h200")
SPACE = [entry.config for entry in LANDSCAPE.correct()]
DONE = completion({"content": "The search is over."})


@pytest.fixture
def wheel(server, tmp_path):
    """A function: a run in which the server gives `answers` in turn, and then concludes for ever. Returns the answers
    of the tools, the outcome and the referee's ledger."""

    def play(*answers, max_evals=12, alone=True):
        server.answers = [*answers, DONE]
        briefing, names = disguise(LANDSCAPE, "plain", 0)
        ledger = Ledger("m", LANDSCAPE.name, LANDSCAPE.name, LANDSCAPE.file, "plain", 0, max_evals)
        game = Game(briefing, 0, max_evals, InProcess(Referee(LANDSCAPE, ledger, names), names is not None))
        limits = Limits(max_evals=max_evals)
        objective = Objective(goal="", kernel="rms_norm", device="recorded", model="m", alone=alone, limits=limits)

        def open_(objective, memory, run_id, watch):
            session = open_game_session(game, run_id, tmp_path / "memory.db")
            ids = session.ids
            session.memory.start_run(run_id, "", {}, "m", ids.environment, ids.problem, {})
            return LiveActions(session)

        ended = begin(objective, None, server.url, Watch(), open_=open_)
        events = read_trace(tmp_path / "data" / "triton-autokernel" / "traces" / f"{ended.outcome.run}.jsonl").events
        results = [e.body["result"] for e in events if e.type == "tool_result"]
        return results, ended.outcome, ledger

    return play


def measure(arguments):
    return tool_call(arguments if isinstance(arguments, str) else json.dumps(arguments))


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (measure({"configs": [{k: str(v) for k, v in SPACE[0].items()}]}), "was taken as"),
        (measure({"configs": json.dumps(SPACE[:1])}), "a JSON text was read"),
        (measure({"configs": SPACE[0]}), "one config was taken as a list"),
        (measure(f"```json\n{json.dumps({'configs': SPACE[:1]})}\n```"), "code fence"),
        (measure(str({"configs": SPACE[:1]})), "Python's quotes"),
        (measure(json.dumps({"configs": SPACE[:1]})[:-1] + ",}"), "trailing comma"),
        (measure(json.dumps(SPACE[:1])), "a bare list"),
        (tool_call(json.dumps({"configs": SPACE[:1]}), "functions.run_benchmark"), "was taken as run_benchmark"),
    ],
)
def test_a_call_with_one_meaning_runs_and_says_what_was_repaired(wheel, answer, note):
    (result,), _, ledger = wheel(answer)
    assert [row["config"] for row in result["results"]] == SPACE[:1]
    assert note in " ".join(result["repaired"])
    assert len(ledger.rows) == 1


def test_good_rows_run_and_the_others_are_quoted_and_cost_nothing(wheel):
    lacking = dict(list(SPACE[1].items())[:-1])
    unheard = {**SPACE[2], next(iter(SPACE[2])): "a lot"}
    (result,), _, ledger = wheel(measure({"configs": [lacking, SPACE[0], unheard]}))
    assert [row["config"] for row in result["results"]] == SPACE[:1]
    assert "missing: give every field" in result["not_run"][0]
    assert "got 'a lot' (text)" in result["not_run"][1]
    assert (len(ledger.rows), result["evaluations_left"]) == (1, 11)


def test_what_is_shown_is_charged_and_every_refusal_names_what_exists(wheel, server):
    fields = {name: sorted({c[name] for c in SPACE}, key=str) for name in SPACE[0]}
    absent = next(
        {**c, name: value}
        for c in SPACE
        for name, values in fields.items()
        for value in values
        if {**c, name: value} not in [e.config for e in LANDSCAPE.entries.values()]
    )
    results, _, ledger = wheel(
        measure({"configs": [absent, SPACE[0]]}),
        measure({"configs": [SPACE[0]]}),
        tool_call(json.dumps({"configs": SPACE[1:4]}), "check_correctness"),
        tool_call(json.dumps({"configs": [absent, *SPACE[4:6]]}), "compile_kernel"),
    )
    assert [r["evaluations_left"] for r in results] == [11, 11, 11, 11]
    assert len(ledger.rows) == 1
    refused = results[0]["results"][0]
    assert refused["status"] == "constraints"
    assert "the nearest configs that exist change:" in refused["reason"]
    assert "the nearest configs that exist change:" in results[3]["results"][0]["reason"]
    shown = [body["messages"][-1]["content"] for _, _, body in server.asked[1:]]
    left = [json.JSONDecoder().raw_decode(text.partition("Left: ")[2])[0]["evaluations"] for text in shown[:4]]
    assert left == [11, 11, 11, 11]


def test_a_repeated_call_and_a_standstill_are_told_and_the_planner_hands_back(wheel, server):
    again = measure({"configs": [SPACE[0]]})
    _, outcome, ledger = wheel(*[again] * 4, alone=False)
    told = [body["messages"][-1]["content"] for _, _, body in server.asked]
    assert "this call was made before" in told[2]
    assert "One more turn like it" in told[3]
    assert "it is your turn again" in told[4]
    assert "3 turns in a row brought nothing new (run_benchmark repeated)" in outcome.takeover
    assert outcome.evaluations == len(ledger.rows) == 12


def test_words_in_the_place_of_calls_are_answered(wheel, server):
    wheel(
        completion({"content": "Let me first compile a few configs."}),
        completion({"content": '<tool_call>{"name": "run_benchmark", "arguments": {"configs": []}}</tool_call>'}),
        measure({"configs": [SPACE[0]]}),
    )
    told = [body["messages"][-1]["content"] for _, _, body in server.asked]
    assert "announced an action" in told[1]
    assert "lacks a tool parser" in told[2]
