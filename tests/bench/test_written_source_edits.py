"""Edits of the slow kernels that a language model wrote blind: the fence takes them, and they are right."""

from functools import partial

import pytest

from agent.loop.prompt import DATA
from evals.source import source_runs
from evals.source.source_runs import Place, play
from evals.source.source_tasks import ALL, slow_kernel
from kernels.editing.editable import editable
from kernels.editing.variants import keep, make_variant, text_of
from kernels.hardware import hardware_named
from tests.bench.written_edits import written_edits
from tests.bench.written_player import SourceWriter
from tests.evals.source.test_source import opened, shut_in
from tools.harness.checking.interpreter import Interpreter

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


def first_messages(kernel):
    return [
        {"role": "system", "content": f'{DATA}{{"kernel":"{kernel}"}}'},
        {"role": "user", "content": '{"budget": {"evaluations": 8}}'},
    ]


def test_the_kernel_that_was_left_as_it_is_is_tuned_and_one_that_was_not_seen_is_refused():
    assert set(SourceWriter.left) == set(TASKS) - set(EDITS)
    (left,) = SourceWriter.left
    asked = SourceWriter().respond(first_messages(left), [], 1.0).message["tool_calls"]
    assert {call["function"]["name"] for call in asked} == {"query_history"}
    with pytest.raises(LookupError, match="no written edit"):
        SourceWriter().respond(first_messages("unknown"), [], 1.0)


@pytest.mark.long
@shut_in
def test_a_run_sends_the_edit_of_its_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(source_runs, "opened", partial(opened, tmp_path / "cache", ("correct", 3.0)))
    found = play("scalar_loop", "tests.bench.written_player:SourceWriter", Place("cuda:0"))
    assert found.unplayed == ""
    assert found.edits == 1
    assert found.sent == ("correct, 1.0000 ms",)


@pytest.mark.long
@shut_in
@pytest.mark.parametrize("name", EDITS)
def test_it_is_right_on_inputs_and_shapes_that_nobody_chose(name, tmp_path):
    spec, problem, config = with_edit(name, tmp_path)
    interpreter = Interpreter(shut_in=True)
    try:
        found = interpreter.stress(spec, problem, config, "H200")
    finally:
        interpreter.close()
    assert found.status == "correct", found.reason
