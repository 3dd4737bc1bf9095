"""The tool around the planner."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from agent.models.embedded import MOST_BARREN, next_move
from kernels.gemm.space import GemmConfig
from tests.agent.fake_actions import done
from tests.tools.planner.problems import H200, SPEC, SQUARE, STRANGE, StrangeProblem, measured, ms, strange, task
from tools import suggest_configs
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.planner.propose import Proposal
from tools.session.budget import Budget
from tools.session.task import Task

pytestmark = pytest.mark.compile
BATCHES, ONE_BY_ONE = SimpleNamespace(parallel=True), SimpleNamespace(parallel=False)


class FakeSession:
    """The part of a session that the tool reads: a real task and real results."""

    def __init__(self, seen=None, pool=BATCHES):
        self.pool = pool
        self.task, self.compiled, self.checked, self.measured = task(), {}, {}, seen or {}
        self.seeds, self.near_problems, self.planner, self.space = [], [], None, SPEC.space(SQUARE, H200)
        self.declined, self.budget = set(), Budget()


def test_tool_answers_small_json():
    args = suggest_configs.arguments(SPEC)(count=8)
    answer = suggest_configs.run(FakeSession(), args, "call")
    assert set(answer) == {"proposals", "stop", "why"}
    assert [set(p) for p in answer["proposals"]] == [{"config", "predicted_ms", "uncertainty", "reason"}] * 8
    assert all(GemmConfig.model_validate(p["config"]) for p in answer["proposals"])
    assert max(len(p["reason"]) for p in answer["proposals"]) < 260


@pytest.mark.parametrize(("odds", "told"), [(0.9, False), (0.3, True)])
def test_a_proposal_that_may_not_work_says_so(odds, told):
    config = SPEC.space(SQUARE, H200)[0]
    assert ("may_fail" in suggest_configs.row(Proposal(config, 0.1, 0.01, odds, "a reason"))) is told


def test_what_the_user_declined_is_not_proposed_again():
    session = FakeSession()
    first = suggest_configs.run(session, suggest_configs.SuggestConfigs(count=8), "call")["proposals"]
    session.declined = {GemmConfig.model_validate(p["config"]) for p in first}
    again = suggest_configs.run(session, suggest_configs.SuggestConfigs(count=8), "call")["proposals"]
    assert not [p for p in again if p["config"] in [q["config"] for q in first]]


def test_tool_reports_effects_once_there_is_evidence():
    space = SPEC.space(SQUARE, H200)
    seen = {c: measured(c, ms(c)) for c in space[::40]}
    answer = suggest_configs.run(FakeSession(seen), suggest_configs.SuggestConfigs(count=1), "call")
    assert set(answer["effects"]) == {"measured", "predicted"}
    assert any(answer["effects"].values())
    for effects in answer["effects"].values():
        assert len(effects) <= suggest_configs.TOP_EFFECTS
        assert {p for name in effects for p in name.split(" x ")} <= set(GemmConfig.model_fields)


def test_batches_are_for_a_pool_that_compiles_them_in_parallel(tmp_path):
    compilers = LocalCompilePool(H200, cache=tmp_path)
    compilers.close()
    counts = []
    for pool in (compilers, ONE_BY_ONE):
        session = FakeSession({c: strange(c) for c in STRANGE[::60]}, pool)
        session.task, session.space = Task(SPEC, StrangeProblem(), H200), STRANGE
        answer = suggest_configs.run(session, suggest_configs.SuggestConfigs(count=6), "call")
        assert len(answer["proposals"]) == 6
        counts.append(answer.get("ask_again_after"))
    assert counts == [None, 1]


@pytest.mark.parametrize("bad", [{"count": 0}, {"count": 33}, {"count": 2.5}, {"number": 3}])
def test_tool_refuses_other_arguments(bad):
    with pytest.raises(ValidationError):
        suggest_configs.arguments(SPEC).model_validate(bad)


def asked(**more):
    rows = [{"config": {"BLOCK": i}} for i in range(6)]
    return done("suggest_configs", {"count": 6}, {"proposals": rows, "stop": False, **more})


def test_the_embedded_model_tries_as_many_as_the_planner_says():
    for more, count in (({}, 6), ({"ask_again_after": 2}, 2)):
        _, (call,) = next_move([asked(**more)], 40)
        assert [c["BLOCK"] for c in json.loads(call["function"]["arguments"])["configs"]] == list(range(count))


def test_the_embedded_model_gives_up_after_many_failures_however_they_were_batched():
    def compiled(count):
        rows = [{"config": {"BLOCK": i}, "status": "compile"} for i in range(count)]
        return done("compile_kernel", {}, {"results": rows})

    asked = [next_move([compiled(1)], 40, at_once=n)[1][0]["function"]["arguments"] for n in (1, 4, 10, 100)]
    assert [json.loads(a)["count"] for a in asked] == [8, 8, 10, 12]
    assert next_move([compiled(1)] * (MOST_BARREN - 1), 40)[1][0]["function"]["name"] == "suggest_configs"
    assert next_move([compiled(1)] * MOST_BARREN, 40)[1] == []
    assert next_move([compiled(6)] * (MOST_BARREN // 6), 40)[1] == []
