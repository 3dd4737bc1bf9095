"""What is rendered of a run, from what the harness and its planner recorded."""

from __future__ import annotations

import json

from agent.cli.show import show
from agent.export.pages.run_page import export
from agent.export.reader import read_story
from agent.loop.outcome import SHOWN_PARAMETERS, effects_in, importance_in, list_shares
from agent.models.base import ToolSchema, call_tool
from agent.trace.trace import read_trace
from tests.agent.fake_actions import ONE_CONFIGS, TOOLS
from tests.agent.trace.large import example

SCHEMAS = [ToolSchema(name, name, ONE_CONFIGS, declared) for name, declared in TOOLS.items()]


def asked(number, result, name="suggest_configs"):
    call = {**call_tool(name, {}), "id": f"t{number}"}
    answer = {"role": "tool", "tool_call_id": f"t{number}", "content": json.dumps(result)}
    return [{"role": "assistant", "content": None, "tool_calls": [call]}, answer]


def test_the_effects_are_those_of_the_planners_last_answer_that_tells_them():
    told = [
        *asked(0, {"effects": {"measured": {"BLOCK_M": 0.9}, "predicted": {}}, "importance": {"BLOCK_K": 0.1}}),
        *asked(1, {"effects": {"measured": {"num_stages": 0.2}, "predicted": {"BLOCK_M x num_stages": 0.5}}}),
        *asked(2, {"proposals": [], "stop": True}),
        *asked(3, {"effects": {"measured": {"num_warps": 1.0}}}, "query_history"),
        {"role": "user", "content": '{"effects": {"measured": {"num_warps": 1.0}}}'},
    ]
    assert list(effects_in(told, SCHEMAS).items()) == [("BLOCK_M x num_stages", 0.5), ("num_stages", 0.2)]
    assert importance_in(told, SCHEMAS) == {"BLOCK_K": 0.1}
    assert effects_in(told[-3:], SCHEMAS) == {}


def test_only_the_parameters_that_explain_something_are_printed():
    assert list_shares({"BLOCK_M": 0.62, "num_warps": 0.144, "FLATTEN": 0.004}) == "BLOCK_M 62%, num_warps 14%"
    assert list_shares({"FLATTEN": 0.004}) == "no parameter by itself"
    assert list_shares({f"p{i}": 0.1 for i in range(9)}).count("%") == SHOWN_PARAMETERS


def test_a_real_runs_report_and_page_print_what_matters():
    story = read_story(read_trace(example()))
    suggested = [call.result for turn in story.turns for call in turn.calls if call.name == "suggest_configs"]
    assert story.outcome.importance == suggested[-1]["importance"]
    said = list_shares(story.outcome.importance)
    assert f"importance {said}: how much" in show(story, "t.jsonl")
    assert said in export(story)
