"""Weak models behind a real server, at the wheel of the real tools on a recorded space: what they write is repaired or
quoted, what they are shown of the budget is what is charged, and the planner helps where they stand still."""

from __future__ import annotations

import io
import json

import pytest

from agent.cli.commands import main
from agent.goal.objective import Limits, Objective
from agent.loop.actions import LiveActions
from agent.loop.progress import Watch
from agent.loop.run import begin
from agent.trace.trace import read_trace
from evals.agents.game_session import open_game_session
from evals.contest.disguise import disguise
from evals.contest.game import Game
from evals.contest.ledger import Ledger, Referee
from evals.tasks.worlds import open_recorded_session
from tests.agent.answers import completion, tool_call
from tests.agent.fake_actions import BEST
from tests.agent.follower import counted, read_answer
from tests.evals.contest.test_counting import InProcess
from tools.harness.landscapes.named import named_landscape
from tools.session.budget import reserve_of

LANDSCAPE = named_landscape("rms_norm-32768x4096-fp16-h200")
SPACE = [entry.config for entry in LANDSCAPE.correct()]
DONE = completion({"content": "The search is over."})
FIRST_MESSAGE_TOKENS = 4500


@pytest.fixture
def wheel(server, tmp_path):
    """A function: a run in which the server gives `answers` in turn, and then concludes for ever. Returns the answers
    of the tools, the outcome and the referee's ledger."""

    def play(*answers, max_evals=12, alone=True, landscape=LANDSCAPE, variant="plain"):
        server.answers = [*answers, DONE]
        briefing, names = disguise(landscape, variant, 0)
        ledger = Ledger("m", landscape.name, landscape.name, landscape.file, variant, 0, max_evals)
        game = Game(briefing, 0, max_evals, InProcess(Referee(landscape, ledger, names), names is not None))
        kernel, limits = briefing.kernel or briefing.name, Limits(max_evals=max_evals)
        objective = Objective(goal="", kernel=kernel, device="recorded", model="m", alone=alone, limits=limits)

        def open_(objective, memory, run_id, watch):
            session = open_game_session(game, run_id, tmp_path / "memory.db")
            session.budget.reserve = 0 if objective.alone else reserve_of(max_evals)
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
        (measure({"configs": [{**SPACE[0], "family": SPACE[0]["family"].upper()}]}), "was taken as"),
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
    _, outcome, ledger = wheel(*[again] * 4, max_evals=16, alone=False)
    told = [body["messages"][-1]["content"] for _, _, body in server.asked]
    assert "this call was made before" in told[2]
    assert "One more turn like it" in told[3]
    assert "it is your turn again" in told[4]
    assert "3 turns in a row brought nothing new (run_benchmark repeated)" in outcome.takeover
    assert 9 <= outcome.evaluations == len(ledger.rows) <= 16


def test_words_in_the_place_of_calls_are_answered(wheel, server):
    wheel(
        completion({"content": "Let me first compile a few configs."}),
        completion({"content": '<tool_call>{"name": "run_benchmark", "arguments": {"configs": []}}</tool_call>'}),
        measure({"configs": [SPACE[0]]}),
    )
    told = [body["messages"][-1]["content"] for _, _, body in server.asked]
    assert "announced an action" in told[1]
    assert "lacks a tool parser" in told[2]


def left_in(body):
    """What a request says is left: the first one in its briefing, the others after the tools' answers."""
    text = body["messages"][-1]["content"]
    return json.loads(text)["budget"] if len(body["messages"]) == 2 else json.loads(text.partition("Left: ")[2])


def test_three_different_slips_are_no_standstill(wheel, server):
    empty = completion({"content": ""})
    _, outcome, _ = wheel(
        empty, tool_call("{}", "nonsense"), measure('{"configs": [}'), measure({"configs": SPACE[:1]})
    )
    told = [body["messages"][-1]["content"] for _, _, body in server.asked]
    assert not any("One more turn like it" in text for text in told)
    assert (outcome.evaluations, outcome.takeover) == (1, "")


def test_what_a_conclusion_leaves_is_told_or_spent_by_the_planner(wheel):
    _, alone, _ = wheel(measure({"configs": SPACE[:1]}))
    assert (alone.evaluations, alone.evaluations_left) == (1, 11)
    _, helped, ledger = wheel(measure({"configs": SPACE[:1]}), alone=False)
    assert helped.evaluations == len(ledger.rows) > 1
    assert helped.evaluations + helped.evaluations_left == 12
    assert "the model concluded" in helped.stopped


def test_text_and_json_tell_what_was_left(small_world, server, capsys):
    small_world()
    server.answers = [measure({"configs": [BEST]}), DONE]
    command = ["fused TFLOPS", "--model", "m", "--base-url", server.url, "--max-evals", "60", "--cold"]
    assert main([*command, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["evaluations_left"] == 60 - outcome["evaluations"] > 0
    assert main(command) == 0
    assert f"evaluations ({outcome['evaluations_left']} left)" in capsys.readouterr().out


def test_a_fifth_is_kept_for_the_planner(wheel, server):
    machine_codes = {e.compiled.fingerprint: e.config for e in LANDSCAPE.correct()}
    batches = [list(machine_codes.values())[n : n + 8] for n in (0, 8, 16)]
    _, outcome, ledger = wheel(*[measure({"configs": batch}) for batch in batches], max_evals=30, alone=False)
    told = [left_in(body) for _, _, body in server.asked[:4]]
    assert [t["evaluations"] for t in told] == [24, 16, 8, 0]
    assert {t["more_for_proposals_of_suggest_configs"] for t in told} == {6}
    assert 24 < outcome.evaluations == len(ledger.rows) <= 30


def test_the_reserve_is_for_what_the_planner_proposes_to_the_model_too(wheel, server):
    def accept(body):
        rows = read_answer(body, body["messages"][-1]["content"].partition("\n\nLeft: ")[0])["proposals"]
        return measure({"configs": [row["config"] for row in rows]})

    _, _, ledger = wheel(tool_call('{"count": 12}', "suggest_configs"), accept, alone=False)
    before, after = (left_in(body) for _, _, body in server.asked[1:3])
    assert (before["evaluations"], before["more_for_proposals_of_suggest_configs"]) == (8, 4)
    assert after["evaluations"] + after.get("more_for_proposals_of_suggest_configs", 0) < 4
    assert len(ledger.rows) <= 12


def test_a_no_goes_on_with_other_configs(small_world, server, monkeypatch, capsys):
    small_world()
    server.answers = [measure({"configs": [{**BEST, "tile": 256}]}), measure({"configs": [BEST]}), DONE]
    monkeypatch.setattr("sys.stdin", io.StringIO("no\nyes\n" + "no\n" * 50))
    assert main(["fused TFLOPS", "--model", "m", "--base-url", server.url, "--approve", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["evaluations"], outcome["best"]["config"]) == (1, BEST)
    assert "the user refused this batch; propose other configs" in server.asked[1][2]["messages"][-1]["content"]


@pytest.mark.parametrize("name", ["rms_norm-32768x4096-fp16-h200", "fused_matmul-4096x4096x4096-fp16-h200"])
def test_the_first_message_is_short(server, tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    landscape = named_landscape(name)
    server.answers = [DONE]

    def open_(objective, memory, run_id, watch):
        session = open_recorded_session(landscape, tmp_path / "memory.db", run_id, 20, 0)
        ids = session.ids
        session.memory.start_run(run_id, "", {}, "m", ids.environment, ids.problem, {})
        return LiveActions(session)

    limits = Limits(max_evals=20)
    objective = Objective(goal="", kernel=landscape.kernel, device="recorded", model="m", alone=True, limits=limits)
    begin(objective, None, server.url, Watch(), open_=open_)
    _, _, body = server.asked[0]
    assert json.loads(counted(body, "")[2])["usage"]["prompt_tokens"] < FIRST_MESSAGE_TOKENS


def test_nothing_is_said_of_what_a_renamed_space_hides(server, wheel):
    """Neither what it is nor what it is not: the kernel, its problem and the GPU have no facts."""
    landscape = named_landscape("fused_matmul-16384x4096x1024-bf16-h200")
    wheel(landscape=landscape, variant="renamed")
    _, _, first = server.asked[0]
    system = first["messages"][0]["content"]
    facts, _ = json.JSONDecoder().raw_decode(system, system.index("{", system.index("(data)")))
    assert facts["problem"] == {}
    assert facts["device"] == {"name": "unknown", "kind": "recorded"}
    assert not {"flops", "least_bytes", "roofline_floor_ms", "bound"} & facts.keys()
    schema = next(t for t in first["tools"] if t["function"]["name"] == "run_benchmark")
    told = json.dumps([first["messages"], schema])
    fields = [*landscape.correct()[0].config]
    assert not [word for word in ("fp16", "bf16", "H200", "matmul", "16384", *fields) if word in told]
