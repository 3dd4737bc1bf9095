"""The known form of the task second_pass on rows that it keeps and on rows that it does not: what it computes, and that
nothing spills."""

import json
import subprocess
import sys

import pytest

from evals.source.source_tasks import slow_kernel
from tests.evals.source.test_source import H200, shut_in, with_form
from tools.harness.checking.interpreter import Interpreter
from tools.harness.compiling.compile_pool import LocalCompilePool

TASK = "second_pass"
LONG = (2, 20000)
"""Rows that do not fit into the block of the form."""


@pytest.mark.long
def test_special_rows_are_computed_like_pytorch_does():
    module = "tests.evals.source.softmax_of_special_rows"
    ended = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert len(found) == 6
    assert found == {key: [] for key in found}


@pytest.mark.long
@shut_in
def test_rows_that_do_not_fit_are_right_on_nominal_and_on_stressed_inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(type(slow_kernel(TASK)), "small", LONG)
    spec, problem, _, config = with_form(TASK, tmp_path)
    interpreter = Interpreter(shut_in=True)
    try:
        (checked,) = interpreter.check(spec, problem, [config], "H200")
        stressed = interpreter.stress(spec, problem, config, "H200")
    finally:
        interpreter.close()
    assert "2x20000" in checked.where
    assert (checked.status, stressed.status) == ("correct", "correct"), (checked.reason, stressed.reason)


@pytest.mark.long
@shut_in
def test_no_config_of_the_form_spills_and_two_programs_fit_beside_each_other(tmp_path):
    """With 16 warps, which the task's shape favours, a second program fits if a thread has 64 registers at most."""
    spec, problem, _, form = with_form(TASK, tmp_path)
    elsewhere = spec.parse_problem(slow_kernel(TASK).elsewhere, {})
    configs = [
        form.model_copy(update={"BLOCK": block, "num_warps": warps}) for block in (512, 1024) for warps in (4, 8, 16)
    ]
    pool = LocalCompilePool(H200, workers=1, cache=tmp_path / "cache", shut_in=True)
    try:
        compiled = [*pool.compile(spec, problem, configs), *pool.compile(spec, elsewhere, configs)]
    finally:
        pool.close()
    assert {r.status for r in compiled} == {"correct"}
    assert {r.spill_bytes for r in compiled} == {0}
    assert all(r.registers <= 64 for r in compiled if r.config["num_warps"] == 16)
