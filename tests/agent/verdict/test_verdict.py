"""What a run says of its result: proven, level or slower, over which baseline, and beside which better proof."""

from __future__ import annotations

import json

import pytest

from agent.cli.result_panel import print_result
from agent.errors import PROVEN, UNPROVEN, UsageError
from agent.goal.goal_targets import resolve_rival
from agent.goal.objective import Objective
from agent.loop.outcome import Outcome, outcome_of, render
from agent.loop.run import Ended
from agent.verdict.judgement import FIRST_BASELINE
from tests.agent.fake_actions import SETTING, baseline

RIVALS = {"unfused": True, "compiled": True, "cublas": False}


def proof(unfused, compiled=None, ms=0.2, config=None, status="correct"):
    rows = [baseline("unfused", "PyTorch eager", unfused * ms, ms)]
    rows += [baseline("compiled", "torch.compile", compiled * ms, ms)] if compiled else []
    about = {"config": config or {"tile": 64}, "status": status, "reason": "", "ms": ms, "ci_ms": (ms, ms)}
    return about | {"comparisons": rows, "how": "a sitting"}


def outcome(*proofs, against=(), **more):
    objective = Objective(goal="g", kernel="fused_matmul", against=against)
    return outcome_of(
        objective,
        SETTING,
        proofs,
        run_id="r",
        trace="t",
        stop="done",
        evaluations=1,
        tokens=0,
        turns=1,
        seconds=1,
        **more,
    )


@pytest.mark.parametrize(
    ("sitting", "verdict", "said"),
    [
        (
            proof(1.206, 1.05),
            "proven",
            "PROVEN: 1.050x [1.040, 1.060] over compiled, the strongest of unfused and compiled",
        ),
        (proof(1.206, 0.981), "slower", "NOT PROVEN: slower than compiled, 0.981x [0.971, 0.991]"),
        (proof(1.206, 1.002), "level", "NOT PROVEN: level with compiled, 1.002x [0.992, 1.012]"),
        (proof(1.25), "proven", "PROVEN: 1.250x [1.240, 1.260] over unfused"),
    ],
)
def test_the_headline_names_the_strongest_baseline(sitting, verdict, said, capsys):
    found = outcome(sitting)
    assert found.headline() == said
    assert (found.proven, found.verdict) == (verdict == "proven", verdict)
    assert print_result(Ended(found, SETTING), True) == (PROVEN if verdict == "proven" else UNPROVEN)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["proven"], printed["verdict"], printed["against"]) == (found.proven, verdict, found.against)
    assert Outcome.model_validate(printed) == found


def test_a_narrower_verdict_says_so_and_names_what_it_leaves_out():
    found = outcome(proof(1.206, 0.981), against=("unfused",))
    assert (found.proven, found.against) == (True, "unfused")
    assert "judged against unfused alone, as asked" in found.why
    assert "not judged: 0.981x [0.971, 0.991] over compiled" in found.why


@pytest.mark.parametrize("word", ["torch.compile", "compiled", "Torch  Compile"])
def test_against_takes_a_baselines_name_or_the_words_of_a_goal(word):
    assert resolve_rival(word, "fused_matmul", RIVALS) == "compiled"


@pytest.mark.parametrize("word", ["cublas", "cudnn", "", "--"])
def test_against_refuses_what_is_no_rival(word):
    with pytest.raises(UsageError, match="--against takes unfused, compiled"):
        resolve_rival(word, "fused_matmul", RIVALS)


def test_of_several_finalists_the_proven_one_is_the_result_else_the_closest():
    slow, close, won = (proof(1.2, r, config={"tile": t}) for r, t in ((0.97, 16), (0.999, 32), (1.05, 64)))
    assert outcome(slow, close, won).best.config == {"tile": 64}
    unproven = outcome(close, slow)
    assert (unproven.best.config, unproven.verdict) == ({"tile": 32}, "level")


def test_a_later_finalist_is_judged_by_the_wider_interval_that_its_rows_show():
    won = proof(1.2, 1.0105)
    assert outcome(won).proven
    later = outcome(proof(1.2, 0.999), won)
    assert not later.proven
    assert next(row for row in later.baselines if row.name == "compiled").ci[0] < 1


def test_a_better_earlier_proof_is_shown_beside_a_worse_new_one():
    earlier = {"run": "old", "at": "2026-01-01T00:00:00Z", "config": {"tile": 8}, "ms": 0.19, "against": "compiled"}
    earlier |= {"ratio": 1.224, "ci": (1.21, 1.238)}
    worse = outcome(proof(1.3, 1.206), earlier=earlier)
    assert worse.proven
    assert "better     1.224x [1.210, 1.238] over compiled, 0.1900 ms, proven by run old: tile=8" in render(
        worse, SETTING, ""
    )
    assert outcome(proof(1.3, 0.9), earlier=earlier).earlier is not None
    assert outcome(proof(1.4, 1.3), earlier=earlier).earlier is None


def test_a_run_of_the_first_rule_is_judged_as_it_was():
    found = outcome(proof(1.206, 0.981), rule=FIRST_BASELINE)
    assert (found.proven, found.verdict) == (True, None)
    assert found.why == "1.206x [1.196, 1.216] over unfused: the interval lies above 1"
    assert "no other baseline was judged" in found.headline()
