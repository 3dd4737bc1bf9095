"""A baseline that chooses by measuring is prepared once per choice, and the fastest of them is the baseline."""

from __future__ import annotations

import pytest

from kernels.defaults import compile_function
from kernels.registry import get
from memory.proofs.rule import judge_rows
from tools.harness.measuring.choices import OWN_CHOICE, drop_slower, expand, merge_choices, split_name
from tools.harness.measuring.rounds import SITTING, comparison, narrow
from tools.harness.results import Comparison, Measurement


def row(name, speedup=None, ms=0.2, missing=None, spoilt=False):
    ci = None if speedup is None else (speedup - 0.01, speedup + 0.01)
    about = {"title": name, "equivalent": True, "regime": "burst", "missing": missing, "spoilt": spoilt}
    return Comparison(
        name=name, ms=None if speedup is None else ms, speedup=speedup, ci=ci, ran=[f"kernel of {name}"], **about
    )


def rounds(ms, count=12):
    times = [ms * (1 + 1e-3 * (i % 3)) for i in range(count)]
    return [Measurement(config={}, status="correct", ms=one, samples_ms=[one]) for one in times]


@pytest.mark.parametrize(("kernel", "choices"), [("fused_matmul", 3), ("matmul", 3), ("conv2d", 3), ("rms_norm", 1)])
def test_what_multiplies_is_prepared_by_each_backend_and_nothing_else_is(kernel, choices):
    spec = get(kernel)
    problem = spec.default_problem()
    names = [b.name for b in expand(spec.baselines(problem), problem)]
    assert sum(split_name(name)[0] == "compiled" for name in names) == choices
    assert len(names) == len(set(names))


def test_the_fastest_choice_is_the_baseline_and_is_named_with_what_it_ran():
    found = merge_choices(
        [
            row("unfused", 1.3),
            row("compiled", 1.23, ms=0.246),
            row("compiled:ATen only", 1.13, ms=0.226),
            row("cublas", 1.0),
        ]
    )
    assert [c.name for c in found] == ["unfused", "compiled", "cublas"]
    compiled = found[1]
    assert (compiled.speedup, compiled.choice) == (1.13, "ATen only")
    assert compiled.choices == {OWN_CHOICE: 0.246, "ATen only": 0.226}
    assert compiled.ran == ["kernel of compiled:ATen only"]
    assert found[0].choice is None


def test_a_choice_that_failed_leaves_the_others_and_none_leaves_the_reason():
    broken = row("compiled", missing="runtime: no choice is valid")
    [found] = merge_choices([broken, row("compiled:ATen only", 1.1)])
    assert (found.choice, found.missing) == ("ATen only", None)
    [found] = merge_choices([broken, row("compiled:ATen only", missing="timeout", spoilt=True)])
    assert (found.name, found.spoilt, found.missing) == ("compiled", True, "runtime: no choice is valid")


def test_one_preparation_of_what_chooses_is_said_to_be_one():
    [once] = merge_choices([row("compiled", 1.1)], chosen_by_measuring=["compiled"])
    assert judge_rows([once.model_dump()]).prepared_once == ("compiled",)
    [twice] = merge_choices([row("compiled", 1.1), row("compiled:ATen only", 1.2)], chosen_by_measuring=["compiled"])
    assert judge_rows([twice.model_dump()]).prepared_once == ()
    [never] = merge_choices([row("compiled", 1.1)])
    assert judge_rows([never.model_dump()]).prepared_once == ()


def test_only_a_choice_that_is_certainly_slower_than_another_is_dropped():
    theirs = {"compiled": rounds(0.25), "compiled:ATen only": rounds(0.20), "compiled:Triton only": rounds(0.20)}
    theirs |= {"unfused": rounds(0.4)}
    assert drop_slower(theirs, theirs, 12, "ms") == {"compiled"}
    assert drop_slower(theirs, theirs, 4, "ms") == set(), "too early to say"


def test_a_sittings_interval_holds_the_scatter_of_sittings():
    found = comparison(
        get("softmax").baselines(get("softmax").default_problem())[0], None, "burst", rounds(0.2), rounds(0.218)
    )
    assert found.speedup == pytest.approx(1.09)
    assert found.ci[0] < 1.09 * (1 - 1.9 * SITTING) < 1.09 * (1 + 1.9 * SITTING) < found.ci[1]
    assert found.ci[1] < 1.09 * 1.006


def test_a_function_is_compiled_anew_for_each_choice_and_none_is_forgotten():
    import torch

    calls = []
    for scale in range(12):  # more than the recompilations that PyTorch allows one code object

        def scaled(x, scale=scale):
            return x * scale

        calls.append(compile_for_cpu(scaled))
    x = torch.ones(3)
    assert [float(call(x)[0]) for call in calls] == [float(scale) for scale in range(12)]


def compile_for_cpu(function):
    """As :func:`compile_function`, by a backend that needs no compiler."""
    import torch

    original = torch.compile
    try:
        torch.compile = lambda f, **options: original(f, backend="eager", fullgraph=True, dynamic=False)
        return compile_function(function)
    finally:
        torch.compile = original


@pytest.mark.parametrize(("even", "odd", "is_narrow"), [(1.0, 1.003, True), (1.0, 1.02, False), (2.3, 2.32, True)])
def test_a_large_gain_need_not_be_known_as_closely_as_a_small_one(even, odd, is_narrow):
    theirs = [*rounds(even), *rounds(odd)]
    assert narrow(rounds(1.0, len(theirs)), {"rival": theirs}) is is_narrow
