"""Arguments as models write them: what has one meaning is repaired, the rest is quoted, nothing is filled in."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Literal

import pytest

from agent.models.base import read_arguments
from kernels.spec import Config
from tools import compile_kernel, query_history, roofline_report, run_benchmark, suggest_configs
from tools.calling.field_defaults import fill_defaults
from tools.calling.repair import repair
from tools.declaration import Declaration
from tools.registry import Tool


class Kernel(Config):
    family: Literal["loop", "tma"]
    BLOCK: Literal[16, 32]
    num_warps: Literal[1, 4]
    FLATTEN: Literal[False, True] = False


SPEC = SimpleNamespace(config_type=Kernel)
CONFIGS = run_benchmark.arguments(SPEC)
GOOD = {"family": "loop", "BLOCK": 16, "num_warps": 4, "FLATTEN": False}


def configs_of(arguments):
    found = repair(CONFIGS, arguments)
    return None if found.parsed is None else [c.model_dump() for c in found.parsed.configs], found


@pytest.mark.parametrize(
    "given",
    [
        {"configs": GOOD},
        {"configs": json.dumps([GOOD])},
        {"configs": [json.dumps(GOOD)]},
        {"configs": [{**GOOD, "num_warps": "4"}]},
        {"configs": [{**GOOD, "num_warps": 4.0}]},
        {"configs": [{**GOOD, "family": "Loop"}]},
        {"configs": [{**GOOD, "FLATTEN": "False"}]},
        {"configs": [{**GOOD, "FLATTEN": 0}]},
        {"configs": [{"config": GOOD, "predicted_ms": 0.1, "reason": "a proposal as it was given"}]},
        {"configs": [{"family": "loop", "block": 16, "num_warps": 4, "flatten": False}]},
        {"configs": {"columns": list(GOOD), "rows": [list(GOOD.values())]}},
        {"config": GOOD},
        {"Configs": [GOOD]},
        GOOD,
    ],
)
def test_what_has_one_meaning_is_repaired(given):
    made, found = configs_of(given)
    assert made == [GOOD]
    assert found.problems == []
    assert found.notes or "rows" in str(given)


def test_a_text_is_no_repair_where_the_schema_asks_for_one():
    found = repair(compile_kernel.arguments(SPEC), {"configs": json.dumps([GOOD])})
    assert [c.model_dump() for c in found.parsed.configs] == [GOOD]
    assert found.notes == []


def test_what_is_right_is_not_touched():
    made, found = configs_of({"configs": [GOOD]})
    assert (made, found.notes, found.problems) == ([GOOD], [], [])


def test_the_good_rows_of_a_batch_run_and_the_others_are_quoted_with_value_and_type():
    bad = [
        {**GOOD, "num_warps": 3},
        {**GOOD, "num_warps": True},
        {k: v for k, v in GOOD.items() if k != "FLATTEN"},
        {**GOOD, "colour": "red"},
        "eight warps",
        None,
    ]
    made, found = configs_of({"configs": [bad[0], GOOD, *bad[1:]]})
    assert made == [GOOD]
    assert found.problems == [
        "configs.0: num_warps is one of 1, 4, got 3 (number)",
        "configs.2: num_warps is one of 1, 4, got True (boolean)",
        "configs.3: FLATTEN missing: give every field",
        "configs.4: colour is no field, got 'red' (text)",
        "configs.5: a config is an object of fields, got 'eight warps' (text)",
        "configs.6: a config is an object of fields, got None (null)",
    ]


def test_configs_beyond_one_call_are_left_out_and_counted():
    made, found = configs_of({"configs": [GOOD] * 40})
    assert len(made) == 32
    assert found.problems == ["configs: 8 configs beyond the 32 of one call were left out"]


@pytest.mark.parametrize("given", [{}, {"configs": []}, {"configs": 7}, {"configs": "all of them"}, {"configs": [{}]}])
def test_where_nothing_can_run_the_answer_says_why(given):
    tool = Tool("compile_kernel", "", CONFIGS, lambda *_: pytest.fail("it ran"), Declaration())
    answer = tool.call(None, given, "call")
    assert answer["error"] == "arguments"
    assert answer["problems"]


def test_other_arguments_are_repaired_too():
    assert repair(suggest_configs.arguments(SPEC), {"count": "8"}).parsed.count == 8
    asked = repair(query_history.arguments(SPEC), {"question": "Effect", "parameter": "block", "limit": 3.0})
    assert (asked.parsed.question, asked.parsed.parameter, asked.parsed.limit) == ("effect", "BLOCK", 3)
    assert repair(roofline_report.arguments(SPEC), {"config": [GOOD]}).parsed.config == Kernel(**GOOD)
    assert repair(roofline_report.arguments(SPEC), {"config": None}).parsed.config is None
    refused = repair(suggest_configs.arguments(SPEC), {"count": "many"})
    assert (refused.parsed, refused.problems) == (
        None,
        ["count: it must be a whole number, got 'many' (text)"],
    )


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('{"a": [1, 2]}', ""),
        ('```json\n{"a": [1, 2]}\n```', "code fence"),
        ('{"a": [1, 2,],}', "trailing comma"),
        ("{'a': [1, 2]}", "Python's quotes"),
        (json.dumps('{"a": [1, 2]}'), "in a text once more"),
    ],
)
def test_a_calls_text_is_read_as_it_was_meant(text, note):
    arguments, problem, notes = read_arguments(text)
    assert (arguments, problem) == ({"a": [1, 2]}, None)
    assert note in " ".join(notes)
    assert bool(note) == bool(notes)


def test_commas_in_texts_stay():
    assert read_arguments('{"a": "x,]", "b": ["y,}",],}')[0] == {"a": "x,]", "b": ["y,}"]}


@pytest.mark.parametrize("text", ["{", "run it", '{"a": NaN}', "{'a': nan}", "[" * 100_000, "__import__('os')", "7"])
def test_what_has_no_one_meaning_is_refused(text):
    assert read_arguments(text)[1]


def test_fields_with_a_default_are_filled_in_for_callers_that_may_leave_them_out():
    short = {"family": "loop", "block": 16, "num_warps": 4}
    given = {"configs": json.dumps([short, {**GOOD, "FLATTEN": True}, {"BLOCK": 16}, {"other": 1}, 3])}
    rows = fill_defaults(CONFIGS, given)["configs"]
    assert rows == [short | {"FLATTEN": False}, GOOD | {"FLATTEN": True}, {"BLOCK": 16, "FLATTEN": False},
                    {"other": 1}, 3]  # fmt: skip
    assert "family, num_warps missing" in repair(CONFIGS, {"configs": rows}).problems[0]
    one = roofline_report.arguments(SPEC)
    assert fill_defaults(one, {"config": json.dumps(short)})["config"] == short | {"FLATTEN": False}
    assert fill_defaults(one, {"config": ""}) == {"config": ""}
    assert fill_defaults(one, {}) == {}
