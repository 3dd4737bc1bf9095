"""Edits of the slow kernels that a language model wrote blind: the fence takes them, and they are right."""

import pytest

from evals.source.source_tasks import ALL, slow_kernel
from kernels.editing.editable import editable
from kernels.editing.variants import keep, make_variant, text_of
from kernels.hardware import hardware_named
from tests.bench.written_edits import written_edits
from tests.bench.written_player import SourceWriter
from tools.harness.checking.interpreter import Interpreter
from tools.harness.process import sandbox

H200 = hardware_named("H200")
EDITS = {edit.name: edit for edit in written_edits(SourceWriter.folder)}
TASKS = {slow_kernel(task).name: task for task in ALL}


def with_edit(name, folder):
    """The kernel, and a config of its edit for each combination of the edit's constants."""
    edit, task = EDITS[name], TASKS[name]
    spec = editable(slow_kernel(task), folder, ALL[task])
    problem = spec.default_problem()
    assert spec.editable_functions(problem, H200) == [edit.kernel]
    sent = edit.arguments
    meta = {m["name"]: m["values"] for m in sent["meta_parameters"]}
    variant = make_variant(spec.owner(problem, H200, edit.kernel), sent["source"], meta, sent["grid"])
    keep(variant, spec.folder)
    base = {**spec.default_config(problem, H200).model_dump(), **{n: v[0] for n, v in edit.options.items()}}
    first = {n: values[0] for n, values in variant.edit.meta.items()}
    return spec, problem, spec.config_type(**base, edit=text_of(variant, first))


def test_each_is_one_of_a_slow_kernel_and_the_fence_takes_it(tmp_path):
    assert set(EDITS) <= set(TASKS)
    for name in EDITS:
        spec, problem, config = with_edit(name, tmp_path / name)
        assert spec.constraint(problem, config, H200) is None


def test_a_kernel_without_an_edit_is_tuned_as_it_is():
    assert "sum_of_arrays" not in EDITS
    system = {"role": "system", "content": '{"kernel": "sum_of_arrays"}'}
    user = {"role": "user", "content": '{"budget": {"evaluations": 8}}'}
    asked = SourceWriter().respond([system, user], [], 1.0).message["tool_calls"]
    assert {call["function"]["name"] for call in asked} == {"query_history"}


@pytest.mark.long
@pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")
@pytest.mark.parametrize("name", EDITS)
def test_it_is_right_on_inputs_and_shapes_that_nobody_chose(name, tmp_path):
    spec, problem, config = with_edit(name, tmp_path)
    interpreter = Interpreter(shut_in=True)
    try:
        found = interpreter.stress(spec, problem, config, "H200")
    finally:
        interpreter.close()
    assert found.status == "correct", found.reason
