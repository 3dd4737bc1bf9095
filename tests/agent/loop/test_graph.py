"""The real loop on a deterministic model and a small world."""

from __future__ import annotations

import json

import pytest

from agent.loop import graph, search_end
from agent.loop.graph import Context
from agent.loop.progress import LineWatch
from agent.models.base import Reply
from agent.models.embedded import Embedded
from agent.models.endpoint.faults import Outage
from agent.trace.trace import Trace, read_trace
from agent.turn.calls import MAX_CALLS
from agent.verdict.next_finalist import MOST_SPOILT
from tests.agent.fake_actions import BEST, SPACE, FakeActions, objective
from tests.agent.scripted import Scripted, calls, words

MEASURE = calls(("run_benchmark", {"configs": [BEST]}))


def play(tmp_path, model, limits=None, price=None, alone=True, **world):
    """The final state, the actions and the events of one run; `alone`: the planner takes no model's place."""
    tmp_path.mkdir(exist_ok=True)
    wanted = objective(**(limits or {})).model_copy(update={"model": model.name, "price": price, "alone": alone})
    actions = FakeActions(wanted, tmp_path / "ledger", **world)
    trace = Trace(tmp_path / "run.jsonl")
    trace.once("header", "run", lambda: {"schema_version": 1})
    said: list[str] = []
    context = Context(wanted, model, actions, trace, "run", "run.jsonl", lambda: 1.0, LineWatch(said.append))
    state = graph.build().invoke(graph.start(context), {"recursion_limit": 300}, context=context)
    trace.close()
    return state, actions, read_trace(tmp_path / "run.jsonl").events


def answers(state):
    return [json.loads(m["content"]) for m in state["messages"] if m["role"] == "tool"]


def test_the_embedded_model_finds_the_best_config_and_proves_it(tmp_path):
    state, actions, events = play(tmp_path, Embedded())
    outcome = state["outcome"]
    assert outcome["best"]["config"] == BEST
    assert outcome["proven"]
    assert outcome["evaluations"] == len(actions.measured()) == len(SPACE) - 1
    assert [e.type for e in events][:3] == ["header", "decision", "model_request"]
    assert [e.type for e in events][-2:] == ["verify", "end"]
    assert {
        "query_history",
        "suggest_configs",
        "compile_kernel",
        "run_benchmark",
        "check_correctness",
        "roofline_report",
    } == {e.body["name"] for e in events if e.type == "tool_call"}


@pytest.mark.parametrize("most", [1, 3, 8, 9, 15])
def test_not_one_evaluation_more_than_allowed(tmp_path, most):
    state, actions, _ = play(tmp_path, Embedded(), {"max_evals": most})
    assert len(actions.measured()) == most == state["outcome"]["evaluations"]


def test_the_report_names_the_first_equivalent_baseline_and_not_the_ceiling(tmp_path):
    state, _, _ = play(tmp_path, Scripted(MEASURE))
    outcome = state["outcome"]
    assert [(b["name"], b["equivalent"]) for b in outcome["baselines"]] == [("cublas", False), ("unfused", True)]
    assert "over unfused" in outcome["why"]
    assert outcome["best"]["ms"] == 0.2
    assert outcome["best"]["tflops"] == pytest.approx(1000)
    assert outcome["best"]["share_of_roofline"] == pytest.approx(0.75)


@pytest.mark.parametrize(("baseline_ms", "proven"), [(0.19, False), (0.2, False), (0.201, False), (0.21, True)])
def test_proven_means_the_whole_interval_lies_above_one(tmp_path, baseline_ms, proven):
    state, _, _ = play(tmp_path, Scripted(MEASURE), baseline_ms=baseline_ms)
    assert state["outcome"]["proven"] is proven


def test_a_failed_proof_falls_to_the_next_finalist(tmp_path):
    model = Scripted(calls(("run_benchmark", {"configs": SPACE[:6]})))
    state, actions, _ = play(tmp_path, model, verdicts=["correctness", "correct"], baseline_ms=0.4)
    assert state["outcome"]["best"]["config"] == actions.finalists(3)["finalists"][1]
    assert state["outcome"]["proven"]


def test_every_finalist_within_noise_is_tried_until_one_is_proven(tmp_path):
    near = [{"tile": tile, "warps": 4} for tile in (128, 64)]  # 0.2 and 0.264 ms, and between them:
    model = Scripted(
        calls(("run_benchmark", {"configs": [*near, {"tile": 128, "warps": 8}, {"tile": 128, "warps": 2}]}))
    )
    state, actions, _ = play(tmp_path, model, compiled_ms=0.2)
    assert [name for _, name in actions.calls].count("prove") == 2, "those within noise, and no others"
    assert (state["outcome"]["verdict"], state["outcome"]["against"]) == ("level", "compiled")
    assert state["outcome"]["best"]["config"] == BEST


def test_no_more_finalists_come_through_than_the_objective_allows(tmp_path):
    configs = [{"tile": 128, "warps": warps} for warps in (4, 8, 2)]
    limits = {"max_finalists": 1}

    def model():
        return Scripted(calls(("run_benchmark", {"configs": configs})))

    _, actions, _ = play(tmp_path / "level", model(), limits, compiled_ms=0.2)
    assert [name for _, name in actions.calls].count("prove") == 1
    _, actions, _ = play(tmp_path / "wrong", model(), limits, verdicts=["correctness", "correct"], compiled_ms=0.2)
    assert [name for _, name in actions.calls].count("prove") == 2, "one that is wrong does not count"


def test_a_sitting_that_our_machinery_spoils_is_not_repeated_for_ever(tmp_path):
    model = Scripted(calls(("run_benchmark", {"configs": SPACE[:12]})))
    state, actions, _ = play(tmp_path, model, verdicts=["infrastructure"] * 12)
    assert [name for _, name in actions.calls].count("prove") == MOST_SPOILT
    assert state["outcome"]["infrastructure"]


def test_a_correct_but_slower_winner_is_not_followed_by_another_try(tmp_path):
    model = Scripted(calls(("run_benchmark", {"configs": SPACE[:6]})))
    state, actions, _ = play(tmp_path, model, baseline_ms=0.1)
    assert [name for _, name in actions.calls].count("prove") == 1
    assert not state["outcome"]["proven"]


def test_no_finalist_passes(tmp_path):
    model = Scripted(calls(("run_benchmark", {"configs": SPACE[:6]})))
    state, _, _ = play(tmp_path, model, verdicts=["correctness", "timeout", "runtime"] * 2)
    outcome = state["outcome"]
    assert (outcome["proven"], outcome["best"], outcome["infrastructure"]) == (False, None, False)
    assert "correctness: made to fail" in outcome["why"]
    state, _, _ = play(tmp_path / "other", model := Scripted(MEASURE), verdicts=["infrastructure"])
    assert state["outcome"]["infrastructure"], model.name


def test_a_claim_that_was_never_measured_is_worth_nothing(tmp_path):
    state, _, _ = play(tmp_path, Scripted(*[words("I reached 5000 TFLOP/s with tile=7.")] * 3), {"max_model_calls": 2})
    outcome = state["outcome"]
    assert (outcome["best"], outcome["proven"], outcome["why"]) == (None, False, "no config was measured correctly")
    assert "5000" not in json.dumps(outcome)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (("run_benchmark", '{"configs": [}'), "arguments"),
        (("run_benchmark", "[1, 2]"), "arguments"),
        (("run_benchmark", "7"), "arguments"),
        (("run_benchmark", '{"configs": NaN}'), "arguments"),
        (("delete_everything", {}), "unknown tool"),
    ],
)
def test_a_wrong_call_is_answered_and_the_run_goes_on(tmp_path, call, error):
    state, actions, _ = play(tmp_path, Scripted(calls(call), MEASURE))
    assert answers(state)[0]["error"] == error
    assert state["outcome"]["proven"]
    assert len(actions.measured()) == 1


def test_a_flood_of_calls_is_cut_and_the_model_is_told(tmp_path):
    model = Scripted(calls(*[("query_history", {"question": str(i)}) for i in range(500)]), MEASURE)
    state, actions, _ = play(tmp_path, model)
    assert [name for _, name in actions.calls].count("query_history") == MAX_CALLS
    assert "484 were left out" in model.heard[1][-1]["content"]
    assert state["outcome"]["proven"]


@pytest.mark.parametrize(
    "stuck",
    [
        [MEASURE] * 50,
        [words(None), words(""), words(" ")],
        [words("I reached 5000 TFLOP/s with tile=7.")] * 3,
        [calls(("run_benchmark", '{"configs": [}'))] * 3,
        [calls(("delete_everything", {}))] * 3,
        [calls(("query_history", {"question": str(i)})) for i in range(50)],
    ],
    ids=["the same call", "empty", "claims", "malformed", "unknown tool", "nothing measured"],
)
def test_where_a_model_gets_nowhere_the_embedded_planner_takes_over_and_says_so(tmp_path, stuck):
    state, actions, events = play(tmp_path, Scripted(*stuck), alone=False)
    outcome = state["outcome"]
    assert outcome["best"]["config"] == BEST
    assert len(actions.measured()) == len(SPACE) - 1
    assert "turns in a row" in outcome["takeover"]
    assert "the embedded planner had taken over, because" in outcome["stopped"]
    decided = [e.body["takeover"] for e in events if e.type == "decision" and e.body.get("takeover")]
    assert 1 <= len(decided) <= search_end.MOST_TAKEOVERS
    assert decided[0] in outcome["takeover"]


def test_the_planner_plays_one_batch_and_hands_back_and_the_model_was_warned(tmp_path):
    after = calls(("run_benchmark", {"configs": [SPACE[-1]]}))
    model = Scripted(*[words(None)] * 3, after, words("done"), words("done"))
    state, _, events = play(tmp_path, model, {"max_evals": 20}, alone=False)
    assert "One more turn like it, and the embedded planner takes over" in model.heard[2][-1]["content"]
    back = model.heard[3][-1]["content"]
    assert "it is your turn again" in back
    left = json.loads(back.partition("Left: ")[2])
    assert left["evaluations"] == 8, "the planner measured a batch of eight, and four are kept for it"
    speakers = [e.body["model"] for e in events if e.type == "model_response"]
    assert speakers[:8] == [*["scripted"] * 3, *["embedded"] * 4, "scripted"]
    assert state["outcome"]["evaluations"] == 20, "the planner spends what the model left"
    assert "the model concluded with" in state["outcome"]["stopped"]


def test_three_different_slips_are_no_standing_still(tmp_path):
    slips = [words(None), calls(("nonsense", {})), calls(("run_benchmark", '{"configs": [}')), (words("a"), "length")]
    state, _, _ = play(tmp_path, Scripted(*slips, MEASURE), {"max_evals": 5}, alone=False)
    assert "turns in a row" not in state["outcome"]["takeover"]


def test_words_that_announce_are_asked_for_the_call_as_often_as_they_come(tmp_path):
    model = Scripted(words("Let me run the benchmark."), MEASURE, words("Next I will measure others."), MEASURE)
    play(tmp_path, model)
    for place in (1, 3):
        assert "announced an action" in model.heard[place][-1]["content"]


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "run_benchmark", "arguments": {}}</tool_call>',
        "[TOOL_CALLS] [...]",
        "run_benchmark(configs=[])",
    ],
)
def test_a_call_written_as_text_is_no_conclusion(tmp_path, text):
    model = Scripted(words(text), MEASURE)
    play(tmp_path, model)
    assert "lacks a tool parser" in model.heard[1][-1]["content"]


def test_a_repeated_call_is_told_that_it_repeats(tmp_path):
    state, _, _ = play(tmp_path, Scripted(MEASURE, MEASURE))
    assert ["repeats" in a for a in answers(state)] == [False, True]


def test_a_name_and_arguments_are_corrected_on_the_way_in(tmp_path):
    text = f"```json\n{{'configs': [{json.dumps(BEST)},]}}\n```"
    state, actions, _ = play(tmp_path, Scripted(calls(("functions.run_benchmark", text))))
    assert actions.measured() == [json.dumps(BEST)]
    assert "functions.run_benchmark was taken as run_benchmark" in answers(state)[0]["repaired"]
    (call,) = state["messages"][2]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"configs": [BEST]}


def test_a_reserve_is_kept_for_the_planner_and_spent_by_it(tmp_path):
    every = [calls(("run_benchmark", {"configs": [c]})) for c in SPACE[:20]]
    model = Scripted(*every)
    state, _, events = play(tmp_path, model, {"max_evals": 20}, alone=False)
    told = json.loads(model.heard[0][1]["content"])["budget"]
    assert (told["evaluations"], told["more_for_proposals_of_suggest_configs"]) == (16, 4)
    assert state["outcome"]["evaluations"] == 20
    measured_by = [e.body["model"] for e in events if e.type == "model_response"]
    assert measured_by[-1] == "embedded"


def test_who_measures_what_the_planner_proposes_has_the_reserve_too(tmp_path):
    model = Scripted(calls(("suggest_configs", {"count": 20})), calls(("run_benchmark", {"configs": SPACE[:20]})))
    state, _, _ = play(tmp_path, model, {"max_evals": 20}, alone=False)
    left = [json.loads(m[-1]["content"].partition("Left: ")[2]) for m in model.heard[1:3]]
    assert (left[0]["evaluations"], left[0]["more_for_proposals_of_suggest_configs"]) == (16, 4)
    assert (left[1]["evaluations"], left[1].get("more_for_proposals_of_suggest_configs")) == (0, None)
    assert state["outcome"]["evaluations"] == 20


def test_who_asks_the_planner_and_measures_other_configs_leaves_it_the_reserve(tmp_path):
    one_by_one = [calls(("run_benchmark", {"configs": [c]})) for c in reversed(SPACE)]
    state, _, events = play(
        tmp_path, Scripted(calls(("suggest_configs", {"count": 1})), *one_by_one), {"max_evals": 20}, alone=False
    )
    measured_by = [e.body["model"] for e in events if e.type == "model_response"]
    assert measured_by[-1] == "embedded"
    assert state["outcome"]["evaluations"] == 20


def test_a_model_that_measures_in_the_last_turn_it_has_for_it_keeps_the_wheel(tmp_path):
    looks = [calls(("query_history", {"question": str(i)})) for i in range(search_end.IDLE - 1)]
    state, _, _ = play(tmp_path, Scripted(*looks, MEASURE, words("done"), words("done")))
    assert (state["outcome"]["takeover"], state["outcome"]["evaluations"]) == ("", 1)


def test_a_model_that_recovers_in_time_keeps_the_wheel(tmp_path):
    model = Scripted(words(None), calls(("nonsense", {})), MEASURE, words("done"), words("done"))
    state, _, _ = play(tmp_path, model)
    assert (state["outcome"]["takeover"], state["outcome"]["evaluations"]) == ("", 1)
    assert "Call a tool" in model.heard[1][-1]["content"]


def test_a_claim_is_answered_with_a_demand_for_evidence(tmp_path):
    model = Scripted(words("I reached 5000 TFLOP/s."), MEASURE)
    play(tmp_path, model)
    assert "Nothing has been measured" in model.heard[1][-1]["content"]


def test_a_model_that_ends_early_is_asked_once_whether_it_means_it(tmp_path):
    model = Scripted(MEASURE, words("enough"), words("enough"))
    state, _, _ = play(tmp_path, model)
    assert "39 of 40 evaluations are left" in model.heard[2][-1]["content"]
    stopped = "the model concluded with 39 evaluations left"
    assert (state["outcome"]["turns"], state["outcome"]["stopped"]) == (3, stopped)
    told_to_stop = Scripted(MEASURE, calls(("suggest_configs", {"count": 1})), words("enough"))
    state, _, _ = play(tmp_path / "b", told_to_stop, {"max_evals": 1})
    assert state["outcome"]["turns"] == 3


def test_every_turn_says_what_is_left(tmp_path):
    model = Scripted(MEASURE, MEASURE)
    play(tmp_path, model, {"max_evals": 7, "max_model_calls": 9, "max_tokens": 90_000})
    said = json.loads(model.heard[1][-1]["content"].partition("Left: ")[2])
    assert said == {"evaluations": 6, "seconds": 600, "model_calls": 8, "tokens": 89_990}


@pytest.mark.parametrize(("finish", "says"), [("length", "cut off"), ("refusal", "no step towards the goal")])
def test_a_reply_cut_off_or_a_refusal_is_no_conclusion(tmp_path, finish, says):
    model = Scripted(MEASURE, (words("I would rather"), finish), words("done"), words("done"))
    state, _, _ = play(tmp_path, model)
    assert says in model.heard[2][-1]["content"]
    assert state["outcome"]["turns"] == 4


FRESH = [calls(("query_history", {"question": str(i)}), ("run_benchmark", {"configs": [SPACE[i]]})) for i in range(20)]


@pytest.mark.parametrize("most", [1, 5_000, 9_000, 20_000])
def test_not_one_token_more_than_allowed(tmp_path, most):
    model = Scripted(*FRESH, usage=1500, prompt_tokens=1400)
    state, _, _ = play(tmp_path, model, {"max_tokens": most})
    assert state["outcome"]["tokens"] <= most
    assert "tokens are used up" in state["outcome"]["stopped"]
    assert (state["outcome"]["turns"] > 2) == (most > 5_000)


def test_tokens_that_an_endpoint_does_not_count_are_estimated(tmp_path):
    state, _, _ = play(tmp_path, Scripted(*FRESH, usage=None), {"max_tokens": 9_000})
    assert 1_000 < state["outcome"]["tokens"] <= 9_000


def test_not_one_cent_more_than_allowed(tmp_path):
    model = Scripted(*FRESH, usage=1500, prompt_tokens=1400, cost=0.0015)
    state, _, _ = play(tmp_path, model, {"max_cost": 0.01}, price=(1.0, 1.0, 1.0))
    assert 0.004 < state["outcome"]["cost"] <= 0.01
    assert "money is used up" in state["outcome"]["stopped"]
    assert state["outcome"]["best"] is not None


def test_money_is_counted_by_estimate_where_an_endpoint_counts_no_tokens(tmp_path):
    state, _, _ = play(tmp_path, Scripted(*FRESH, usage=None), {"max_cost": 0.01}, price=(1.0, 1.0, 1.0))
    assert 0.002 < state["outcome"]["cost"] <= 0.01


def test_an_answer_is_only_as_long_as_the_budget_pays_for(tmp_path):
    model = Scripted(*FRESH, usage=1500, prompt_tokens=1400)
    play(tmp_path, model, {"max_tokens": 9_000})
    assert all(allowed is not None and 0 < allowed < 9_000 for allowed in model.allowed)
    free = Scripted(MEASURE)
    play(tmp_path / "b", free)
    assert set(free.allowed) == {None}


def test_limits_on_model_calls_and_time_end_the_search(tmp_path):
    state, _, _ = play(tmp_path / "c", Scripted(*FRESH), {"max_model_calls": 5})
    assert state["outcome"]["turns"] == 5
    assert state["outcome"]["best"] is not None
    state, _, _ = play(tmp_path / "d", Scripted(*FRESH), seconds=0.0)
    assert state["outcome"]["turns"] == 0
    assert "time is used up" in state["outcome"]["stopped"]


def test_the_planner_is_not_stopped_by_a_limit_on_model_calls(tmp_path):
    state, actions, _ = play(tmp_path, Embedded(), {"max_model_calls": 1})
    assert len(actions.measured()) == len(SPACE) - 1
    assert state["outcome"]["proven"]


def test_after_the_last_evaluation_a_model_may_conclude_but_not_go_on_for_ever(tmp_path):
    fresh = [calls(("query_history", {"question": str(i)})) for i in range(50)]
    state, _, _ = play(tmp_path, Scripted(MEASURE, *fresh), {"max_evals": 1})
    assert state["outcome"]["turns"] == 1 + search_end.CLOSING
    assert "evaluations are used up" in state["outcome"]["stopped"]


class Silent:
    """Measures once; then its endpoint fails until the run's time is over."""

    name = "silent"

    def respond(self, messages, tools, seconds, tokens=None):
        if any(m["role"] == "assistant" for m in messages):
            error = Outage("The server is failing (HTTP 503).")
            error.out_of_time = True
            raise error
        return Reply(MEASURE, 10)


def test_time_that_runs_out_on_a_failing_endpoint_ends_in_a_proof_of_what_was_measured(tmp_path):
    state, _, events = play(tmp_path, Silent())
    assert state["outcome"]["proven"]
    assert "HTTP 503" in state["outcome"]["stopped"]
    assert [e.body["error"] for e in events if e.type == "model_response" and "error" in e.body]
    with pytest.raises(Outage):
        play(tmp_path / "b", Silent(), verdicts=["correct"], nothing_correct=True)


def test_ids_are_unique_though_the_endpoint_repeats_its_own(tmp_path):
    one = calls(("query_history", {"question": "a"}), ("query_history", {"question": "b"}))
    state, _, events = play(tmp_path, Scripted(one, MEASURE))
    asked = [call["id"] for m in state["messages"] for call in m.get("tool_calls") or ()]
    answered = [m["tool_call_id"] for m in state["messages"] if m["role"] == "tool"]
    assert asked == answered == ["t0000c000", "t0000c001", "t0001c000"]
    assert [e.key for e in events if e.type == "tool_result"] == asked


class Failing(Silent):
    """The same with all the time in the world."""

    def respond(self, messages, tools, seconds, tokens=None):
        if any(m["role"] == "assistant" for m in messages):
            raise Outage("The server is failing (HTTP 503).")
        return Reply(MEASURE, 10)


def test_an_outage_with_something_measured_ends_in_planner_and_proof(tmp_path):
    state, actions, _ = play(tmp_path, Failing(), alone=False)
    assert state["outcome"]["proven"]
    assert len(actions.measured()) == len(SPACE) - 1
    assert "HTTP 503" in state["outcome"]["takeover"]
    with pytest.raises(Outage):
        play(tmp_path / "b", Failing())


class Slow:
    """Thinks for 200 s by the clock it is given, and measures one config a turn."""

    name = "slow"

    def __init__(self):
        self.seconds, self.turn = [], 0

    def respond(self, messages, tools, seconds, tokens=None):
        self.seconds.append(seconds)
        self.turn += 1
        said = calls(("run_benchmark", {"configs": [SPACE[self.turn]]})) if self.turn < 19 else words("done")
        return Reply(said, 10, 200.0)


def test_a_model_of_200_s_a_turn_finishes_a_run(tmp_path):
    model = Slow()
    state, _, _ = play(tmp_path, model, {"max_seconds": 600, "max_model_seconds": 10_000})
    assert (model.turn, state["outcome"]["evaluations"]) == (20, 18), "it is asked once whether it means to end"
    assert [round(s) for s in model.seconds[:3]] == [10_000, 9_800, 9_600]
    short = Slow()
    state, _, _ = play(tmp_path / "b", short, {"max_model_seconds": 1_000})
    assert short.turn == 5
    assert "the model's time is used up (1000 s)" in state["outcome"]["stopped"]
