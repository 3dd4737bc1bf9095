"""Targets are judged by the final sitting: a proven win that misses one stays proven and ends with another code."""

from __future__ import annotations

import json

import pytest

from agent.cli.result_panel import print_result
from agent.errors import PROVEN, UNPROVEN
from agent.goal.objective import Objective, Target
from agent.goal.target_verdict import judge_target
from agent.loop.outcome import outcome_of, render
from agent.loop.run import Ended
from tests.agent.fake_actions import SETTING

FLOPS = 10**12


def row(name, title, speedup, ci, equivalent=True, missing=None):
    ms = speedup and speedup * 1.0
    return {"name": name, "title": title, "equivalent": equivalent, "ms": ms, "speedup": speedup, "ci": ci} | {
        "missing": missing
    }


SETTING = SETTING.model_copy(update={"flops": FLOPS, "bytes": 10**9, "floor_ms": 0.8, "metric": "tflops"})
PROOF = {
    "status": "correct",
    "config": {},
    "ms": 1.0,
    "ci_ms": (0.98, 1.02),
    "joules": 0.5,
    "ci_joules": (0.49, 0.51),
    "how": "",
    "reason": "",
    "comparisons": [
        row("unfused", "eager", 1.5, (1.4, 1.6)),
        row("cublas", "a @ b", 1.0, (0.97, 1.03), equivalent=False),
        row("compiled", "torch.compile", None, None, missing="no GPU"),
    ],
}


def outcome(*targets, notices=(), proofs=(PROOF,)):
    objective = Objective(goal="g", kernel="fused_matmul", targets=targets, notices=notices)
    return outcome_of(
        objective,
        SETTING,
        proofs,
        run_id="r",
        trace="t.jsonl",
        stop="done",
        evaluations=1,
        tokens=0,
        turns=1,
        seconds=1,
    )


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target(words="970 tflops", kind="metric", metric="tflops", value=970), True),
        (Target(words="1000 tflops", kind="metric", metric="tflops", value=1000), False),
        (Target(words="1.1 ms", kind="metric", metric="latency", value=1.1), True),
        (Target(words="1.01 ms", kind="metric", metric="latency", value=1.01), False),
        (Target(words="900 gb/s", kind="metric", metric="gbps", value=900), True),
        (Target(words="600 mj", kind="metric", metric="joules", value=600), True),
        (Target(words="500 mj", kind="metric", metric="joules", value=500), False),
        (Target(words="1.9 tflops/w", kind="metric", metric="tflops_per_watt", value=1.9), True),
        (Target(words="75 % of peak", kind="roofline", value=0.75), True),
        (Target(words="80 % of peak", kind="roofline", value=0.8), False),
        (Target(words="1.3x faster than eager", kind="baseline", baseline="unfused", value=1.3), True),
        (Target(words="1.5x faster than eager", kind="baseline", baseline="unfused", value=1.5), False),
        (Target(words="beat cublas", kind="baseline", baseline="cublas", value=1.0), False),
        (Target(words="faster than torch.compile", kind="baseline", baseline="compiled", value=1.0), False),
    ],
    ids=lambda value: value.words if isinstance(value, Target) else "",
)
def test_a_target_is_met_if_the_whole_interval_reaches_it(target, met):
    found = outcome(target)
    assert [result.met for result in found.targets] == [met]
    assert found.proven
    assert found.satisfied is met
    assert ("not reached" in found.headline()) is not met
    assert f"target     {target.words}: " in render(found, SETTING, "replay")


def test_without_a_proof_no_target_is_met():
    target = Target(words="1 tflops", kind="metric", metric="tflops", value=1)
    [result] = outcome(target, proofs=()).targets
    assert (result.met, result.value) == (False, None)
    assert result.describe() == "1 tflops: not reached, it was not measured"


def test_without_hardware_facts_no_share_of_the_peak_is_met():
    blind = SETTING.model_copy(update={"floor_ms": None})
    assert not judge_target(Target(words="1 %", kind="roofline", value=0.01), blind, PROOF, ()).met


@pytest.mark.parametrize(("wanted", "code"), [(900, PROVEN), (1100, UNPROVEN)])
def test_the_exit_code_says_whether_the_targets_were_reached(wanted, code, capsys):
    found = outcome(Target(words=f"{wanted} tflops", kind="metric", metric="tflops", value=wanted), notices=("a note",))
    assert print_result(Ended(found, SETTING), True) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["proven"]
    assert printed["targets"][0]["met"] is (code == PROVEN)
    assert printed["notices"] == ["a note"]
    assert print_result(Ended(found, SETTING), False) == code
    assert "note       a note" in capsys.readouterr().out
