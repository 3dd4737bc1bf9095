"""A variant that was made and not measured is named, with the reason why the search ended."""

from __future__ import annotations

import json

from agent.models.base import ToolSchema
from agent.verdict.unmeasured_variants import describe_unmeasured, unmeasured_variants
from tests.agent.verdict.test_verdict import outcome
from tools.declaration import Declaration

TOOLS = [
    ToolSchema("edit_kernel", "", {}, Declaration("", activity="compile")),
    ToolSchema("run_benchmark", "", {}, Declaration("", activity="measure", returns="measurements")),
]


def messages(*answers):
    found = []
    for i, (name, answer) in enumerate(answers):
        call = {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        found += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{i}", "content": json.dumps(answer)},
        ]
    return found


def made(name, **more):
    return "edit_kernel", {"fence": "passed", "variant": name, "next": "measure it", **more}


def test_what_was_measured_refused_or_wrong_is_not_named():
    measured = ("run_benchmark", {"results": [{"config": {"edit": "aa T=1"}, "status": "runtime"}]})
    wrong = ("edit_kernel", {"fence": "passed", "variant": "cc"})
    refused = ("edit_kernel", {"fence": "refused", "why": "imports"})
    rewrites = {"variants": [{"variant": "dd", "configs": [{}]}, {"variant": "ee", "configs": []}], "left_out": {}}
    shown = ("edit_kernel", {"functions": {}, "variants": ["ff"]})
    said = messages(made("aa"), made("bb"), measured, wrong, refused, ("edit_kernel", rewrites), shown)
    assert unmeasured_variants(said, TOOLS) == ["bb", "dd"]


def test_the_sentence_says_why():
    assert describe_unmeasured(["bb"], "the time is used up (50 s)") == (
        "variant bb was made and not measured: the time is used up (50 s)"
    )
    assert describe_unmeasured(["bb", "dd"], "x") == "the variants bb, dd were made and not measured: x"


def test_a_recorded_device_measures_none_and_misses_none():
    assert outcome(unmeasured=["bb"]).unmeasured == []
