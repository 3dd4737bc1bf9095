"""The table of goals: none is tuned as something else in silence."""

from __future__ import annotations

import pytest

from agent.errors import UsageError
from agent.goal.early import named_device
from agent.goal.goal import Given
from agent.goal.request import understood
from tests.agent.goal.meaning import REFUSED, meaning, table

GOALS = {goal: said for section in table().values() for goal, said in section.items()}


@pytest.mark.parametrize(("goal", "said"), GOALS.items(), ids=list(GOALS))
def test_a_goal_means_what_the_table_says(goal, said):
    found = meaning(goal)
    if not said.startswith(REFUSED):
        assert found == said
        return
    assert found.startswith(REFUSED)
    assert said.removeprefix(REFUSED) in found
    assert "\n" not in found


def test_what_is_known_of_the_device_before_a_goal_is_read_is_what_it_means():
    """Words of other languages are not known then."""
    for goal, said in GOALS.items():
        if not said.startswith(REFUSED):
            assert named_device(None, goal) in ("auto", understood(goal, Given())[0].device), goal


@pytest.mark.parametrize("amount", ["90%", "90 % of the roofline", "80 tflops", "2.5x", "10 times"])
def test_an_amount_is_no_number_of_a_gpu(amount):
    assert named_device(None, f"fused matmul on this GPU {amount}") == "auto"


def test_the_table_is_large_and_most_of_it_is_understood():
    assert len(GOALS) >= 200
    assert sum(not said.startswith(REFUSED) for said in GOALS.values()) >= 130


def test_words_that_are_not_understood_are_left_out_if_the_user_says_so():
    objective, notices = understood("maximise fused TFLOPS for llama inference", Given(yes=True))
    assert objective.kernel == "fused_matmul"
    assert notices == ["these words of the goal were not understood and change nothing: llama, inference"]


@pytest.mark.parametrize(
    "goal",
    ["matmul not in fp16", "matmul without fp16", "matmul backward", "minimise matmul TFLOPS", "matmul fp16 bf16"],
)
def test_a_goal_that_may_mean_the_opposite_is_refused_in_any_case(goal):
    with pytest.raises(UsageError):
        understood(goal, Given(yes=True))


@pytest.mark.parametrize(
    ("kernel", "options", "problem"),
    [
        ("attention", ("causal=false", "GROUP=4", "D=64"), {"causal": False, "GROUP": 4, "D": 64}),
        ("fused_matmul", ("activation=gelu", "bias=yes", "dtype=bfloat16", "b-layout=col"), None),
        ("conv2d", ("stride=2", "padding=0"), {"stride": 2, "padding": 0}),
        ("rms_norm", ("eps=1e-5", "n=8192"), {"eps": 1e-5, "N": 8192}),
    ],
)
def test_every_option_of_a_kernel_can_be_given(kernel, options, problem):
    objective, notices = understood("", Given(kernel=kernel, options=options))
    assert notices == []
    assert objective.options == (
        problem or {"activation": "gelu", "bias": True, "dtype": "bf16", "b_layout": "col"}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("causal", "not NAME=VALUE"),
        ("causal=perhaps", "true or false"),
        ("window=64", "attention has no option window: it has dtype, causal"),
        ("dtype=fp8", "no dtype fp8"),
        ("GROUP=two", "whole number"),
        ("GROUP=3", "does not divide"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_sentence(option, says):
    with pytest.raises(UsageError, match=says):
        understood("attention", Given(options=(option,)))


def test_an_option_overrules_the_goal_with_a_notice():
    objective, notices = understood("causal attention", Given(options=("causal=false",)))
    assert objective.options == {"causal": False}
    assert notices == ["--option causal False overrules True in the goal"]


def test_the_largest_dimension_is_named():
    with pytest.raises(UsageError, match="a dimension is at most 1073741824"):
        understood("matmul", Given(shape="99999999999x1x1"))
