"""The real loop on a deterministic model and a small world."""

from __future__ import annotations

import json

import pytest

from agent import graph
from agent.graph import Context
from agent.models.embedded import Embedded
from agent.trace import Trace, read_trace
from tests.agent.fake_hands import BEST, SPACE, FakeHands, objective
from tests.agent.scripted import Scripted, calls, words

MEASURE = calls(("run_benchmark", {"configs": [BEST]}))


def play(tmp_path, model, limits=None, **world):
    """The final state, the hands and the events of one run."""
    tmp_path.mkdir(exist_ok=True)
    wanted = objective(**(limits or {}))
    hands = FakeHands(wanted, tmp_path / "ledger", **world)
    trace = Trace(tmp_path / "run.jsonl")
    trace.once("header", "run", lambda: {"schema_version": 1})
    said: list[str] = []
    context = Context(wanted, model, hands, trace, "run", "run.jsonl", lambda: 1.0, said.append)
    state = graph.build().invoke(graph.start(context), {"recursion_limit": 300}, context=context)
    trace.close()
    return state, hands, read_trace(tmp_path / "run.jsonl").events


def answers(state):
    return [json.loads(m["content"]) for m in state["messages"] if m["role"] == "tool"]


def test_the_embedded_model_finds_the_best_config_and_proves_it(tmp_path):
    state, hands, events = play(tmp_path, Embedded())
    outcome = state["outcome"]
    assert outcome["best"]["config"] == BEST
    assert outcome["proven"]
    assert outcome["evaluations"] == len(hands.measured()) == len(SPACE) - 1
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
    state, hands, _ = play(tmp_path, Embedded(), {"max_evals": most})
    assert len(hands.measured()) == most == state["outcome"]["evaluations"]


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
    state, hands, _ = play(tmp_path, model, verdicts=["correctness", "correct"], baseline_ms=0.4)
    assert state["outcome"]["best"]["config"] == hands.finalists(3)[1]
    assert state["outcome"]["proven"]


def test_a_correct_but_slower_winner_is_not_followed_by_another_try(tmp_path):
    model = Scripted(calls(("run_benchmark", {"configs": SPACE[:6]})))
    state, hands, _ = play(tmp_path, model, baseline_ms=0.1)
    assert [name for _, name in hands.calls].count("prove") == 1
    assert not state["outcome"]["proven"]


def test_no_finalist_passes(tmp_path):
    model = Scripted(calls(("run_benchmark", {"configs": SPACE[:6]})))
    state, _, _ = play(tmp_path, model, verdicts=["correctness", "timeout", "runtime"])
    outcome = state["outcome"]
    assert (outcome["proven"], outcome["best"], outcome["infrastructure"]) == (False, None, False)
    assert "correctness: made to fail" in outcome["why"]
    state, _, _ = play(tmp_path / "other", model := Scripted(MEASURE), verdicts=["infrastructure"])
    assert state["outcome"]["infrastructure"], model.name


def test_a_claim_that_was_never_measured_is_worth_nothing(tmp_path):
    state, _, _ = play(tmp_path, Scripted(words("I reached 5000 TFLOP/s with tile=7.")))
    outcome = state["outcome"]
    assert (outcome["best"], outcome["proven"], outcome["why"]) == (None, False, "no config was measured correctly")
    assert "5000" not in json.dumps(outcome)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (("run_benchmark", '{"configs": [}'), "arguments"),
        (("run_benchmark", "[1, 2]"), "arguments"),
        (("run_benchmark", '{"configs": NaN}'), "arguments"),
        (("delete_everything", {}), "unknown tool"),
    ],
)
def test_a_wrong_call_is_answered_and_the_run_goes_on(tmp_path, call, error):
    state, hands, _ = play(tmp_path, Scripted(calls(call), MEASURE))
    assert answers(state)[0]["error"] == error
    assert state["outcome"]["proven"]
    assert len(hands.measured()) == 1


def test_a_flood_of_calls_is_cut(tmp_path):
    state, hands, _ = play(tmp_path, Scripted(calls(*[("query_history", {"question": str(i)}) for i in range(500)])))
    assert len(hands.calls) == graph.MAX_CALLS
    assert len(answers(state)) == 500


def test_the_same_call_over_and_over_ends_the_search(tmp_path):
    state, _, _ = play(tmp_path, Scripted(*[MEASURE] * 50))
    assert "nothing new" in state["outcome"]["stopped"]
    assert state["outcome"]["turns"] == 1 + graph.FRUITLESS
    assert state["outcome"]["proven"]


def test_empty_messages_are_nudged_and_then_end_the_search(tmp_path):
    model = Scripted(words(None), MEASURE, words(""), words(""), words(None))
    state, _, _ = play(tmp_path, model)
    assert state["outcome"]["turns"] == 5
    assert "nothing new" in state["outcome"]["stopped"]
    assert model.heard[1][-1]["role"] == "user"


def test_limits_on_tokens_turns_and_time_end_the_search(tmp_path):
    fresh = [calls(("query_history", {"question": str(i)})) for i in range(50)]
    state, _, _ = play(tmp_path / "a", Scripted(*fresh), {"max_tokens": 35})
    assert (state["outcome"]["turns"], state["outcome"]["tokens"]) == (4, 40)
    state, _, _ = play(tmp_path / "b", Scripted(*fresh, usage=None), {"max_tokens": 35})
    assert state["outcome"]["turns"] == 1
    state, _, _ = play(tmp_path / "c", Scripted(*fresh), {"max_model_calls": 5})
    assert state["outcome"]["turns"] == 5
    state, _, _ = play(tmp_path / "d", Scripted(*fresh), seconds=0.0)
    assert state["outcome"]["turns"] == 0
    assert "time is used up" in state["outcome"]["stopped"]


def test_after_the_last_evaluation_a_model_may_conclude_but_not_go_on_for_ever(tmp_path):
    fresh = [calls(("query_history", {"question": str(i)})) for i in range(50)]
    state, _, _ = play(tmp_path, Scripted(MEASURE, *fresh), {"max_evals": 1})
    assert state["outcome"]["turns"] == 1 + graph.CLOSING
    assert "evaluations are used up" in state["outcome"]["stopped"]


def test_ids_are_unique_though_the_endpoint_repeats_its_own(tmp_path):
    one = calls(("query_history", {"question": "a"}), ("query_history", {"question": "b"}))
    state, _, events = play(tmp_path, Scripted(one, MEASURE))
    asked = [call["id"] for m in state["messages"] for call in m.get("tool_calls") or ()]
    answered = [m["tool_call_id"] for m in state["messages"] if m["role"] == "tool"]
    assert asked == answered == ["t0000c000", "t0000c001", "t0001c000"]
    assert [e.key for e in events if e.type == "tool_result"] == asked
