"""The agent as a Python program or a notebook uses it."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import agent
from agent import AgentError, Result, UsageError, optimise
from kernels.rows.softmax import Softmax
from kernels.spec import KernelSpec
from tests.agent.fake_actions import BEST

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def test_importing_it_imports_nothing_heavy():
    script = (
        "import sys; import agent; from agent import optimise, Result, UsageError;"
        "print({'torch', 'triton', 'langgraph', 'openai', 'pydantic', 'numpy', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("import tools; from agent import optimise", "'tools' means {folder}/tools.py"),
        ("from agent import optimise", "'tools' means {folder}/tools.py"),
        ("import types; sys.modules['memory'] = types.ModuleType('memory'); import agent; agent.optimise", "'memory'"),
    ],
    ids=["imported before", "found first", "made by the program"],
)
def test_a_program_with_modules_of_the_same_names_gets_one_sentence(program, named, tmp_path):
    (tmp_path / "tools.py").write_text("mine = 1\n")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: agent needs its own ")
    assert named.format(folder=tmp_path) in last


def test_modules_of_the_same_names_further_down_the_path_do_no_harm(tmp_path):
    (tmp_path / "tools.py").write_text("mine = 1\n")
    script = f"import sys; sys.path.append({str(tmp_path)!r}); from agent import optimise; print(optimise.__name__)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "optimise\n"


@pytest.mark.parametrize("asked", [False, True])
def test_device_code_is_edited_and_bits_are_demanded_only_if_asked_for(small_world, asked):
    small_world()
    result = optimise("maximise fused TFLOPS", max_evals=4, edit=asked, bitwise=asked)
    objective = next(json.loads(line) for line in result.trace.read_text().splitlines() if '"objective"' in line)
    assert f'"edit": {json.dumps(asked)}' in json.dumps(objective)
    assert f'"bitwise": {json.dumps(asked)}' in json.dumps(objective)


def test_a_result_says_what_was_found_and_against_what(small_world):
    small_world()
    result = optimise("maximise fused TFLOPS", max_evals=24)
    assert isinstance(result, Result)
    assert (result.status, result.proven, result.recorded) == ("proven", True, True)
    assert (result.config, result.ms, result.unit) == (BEST, 0.2, "TFLOP/s")
    assert (result.tflops, result.value, result.share_of_roofline) == (1000.0, 1000.0, pytest.approx(0.75))
    rival = next(s for s in result.speedups if s.equivalent)
    assert str(rival) == "1.250x [1.240, 1.260] over unfused"
    assert result.evaluations == 23
    assert result.trace.exists()
    assert str(result).startswith("PROVEN: 1.250x")
    assert json.loads(result.to_json())["run"] == result.run
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.ms = 0.1


def test_a_result_goes_into_a_program_that_uses_triton(small_world):
    import triton

    small_world()
    result = dataclasses.replace(
        optimise("maximise fused TFLOPS"), config={"BLOCK_M": 128, "FLATTEN": True, "num_warps": 8, "num_stages": 3}
    )
    config = result.as_triton_config()
    assert isinstance(config, triton.Config)
    assert (config.kwargs, config.num_warps, config.num_stages) == ({"BLOCK_M": 128, "FLATTEN": True}, 8, 3)
    assert eval(result.triton_config(), {"triton": triton}).all_kwargs() == config.all_kwargs()
    made = eval(result.decorator().removeprefix("@"), {"triton": triton})
    assert made(triton.jit(a_kernel)).configs[0].all_kwargs() == config.all_kwargs()


def a_kernel(M, N, K, BLOCK_M, FLATTEN):
    pass


def test_a_notebook_shows_a_table_and_runs_beside_a_running_event_loop(small_world):
    small_world()

    async def cell():
        return optimise("maximise fused TFLOPS")

    shown = asyncio.run(cell())._repr_html_()
    assert "PROVEN" in shown
    assert "1.250x [1.240, 1.260] over unfused (PyTorch eager)" in shown
    hostile = dataclasses.replace(asyncio.run(cell()), why="<script>alert(1)</script>")
    assert "<script>" not in hostile._repr_html_()


def test_outside_the_main_thread_no_signal_handler_is_touched(small_world):
    small_world()
    before, found = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=lambda: found.append(optimise("maximise fused TFLOPS")))
    thread.start()
    thread.join()
    assert found[0].proven
    assert signal.getsignal(signal.SIGINT) is before


def test_an_unproven_result_is_a_result(small_world):
    small_world(baseline_ms=0.19)
    result = optimise("maximise fused TFLOPS")
    assert (result.status, result.proven) == ("unproven", False)
    small_world(nothing_correct=True)
    nothing = optimise("maximise fused TFLOPS")
    assert nothing.config is None
    assert "UNPROVEN" in nothing._repr_html_()
    with pytest.raises(ValueError, match="found no config"):
        nothing.decorator()


def test_progress_is_told_line_by_line_and_step_by_step(small_world):
    small_world()
    told = []
    optimise("maximise fused TFLOPS", progress=told.append)
    assert any(standing.line.startswith("tuning fused_matmul") for standing in told)
    assert any(standing.doing == "measuring 6 configs" for standing in told)
    last = told[-1]
    assert (last.best_ms, last.evaluations, last.evaluations_left) == (0.2, 23, 17)
    assert last.share_of_roofline == pytest.approx(0.75)


def test_what_progress_raises_ends_the_run(small_world):
    small_world()

    def enough(standing):
        if standing.best_ms is not None:
            raise KeyboardInterrupt

    with pytest.raises(AgentError, match="python -m agent resume"):
        optimise("maximise fused TFLOPS", progress=enough)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"goal": "make tea"}, "Cannot read the goal"),
        ({"goal": 7}, "sentence"),
        ({"shape": (0, 1, 2)}, "positive whole numbers"),
        ({"shape": (4096.0, 1, 2)}, "positive whole numbers"),
        ({"shape": 4096}, "positive whole numbers"),
        ({"shape": "big"}, "A shape is"),
        ({"max_evals": 0}, "max_evals is a whole number of at least 1"),
        ({"max_evals": 1.5}, "max_evals"),
        ({"max_seconds": math.nan}, "max_seconds is a positive number"),
        ({"max_seconds": "long"}, "max_seconds"),
        ({"max_cost": -1}, "max_cost"),
        ({"seed": -1}, "seed"),
        ({"dtype": "fp64"}, "no dtype fp64"),
        ({"kernel": "nope"}, "no kernel named 'nope'"),
        ({"kernel": 7}, "a name or a KernelSpec"),
        ({"model": "m"}, "OPENAI_API_KEY"),
        ({"model": 5}, "model is a word or None, not 5"),
        ({"device": 0}, "device is a word or None, not 0"),
        ({"yes": "no"}, "yes is True or False, not 'no'"),
        ({"edit": None}, "edit is True or False"),
        ({"memory": 5}, "memory is the path of a file"),
        ({"options": ["causal"]}, "options is a mapping"),
        ({"progress": 5}, "progress is a function"),
        ({"against": 5}, "against is the name of a baseline, or several, not 5"),
        ({"against": ("eager", 5)}, "against is the name of a baseline, or several"),
        ({"base_url": "http://127.0.0.1:1"}, "--model"),
        ({"bitwise": True, "device": "recorded"}, "bitwise is not possible here .* no results"),
    ],
)
def test_a_mistake_is_one_typed_sentence(arguments, says):
    with pytest.raises(UsageError, match=says) as raised:
        optimise(**{"goal": "maximise fused TFLOPS", **arguments})
    assert "\n" not in str(raised.value)


def test_a_kernel_may_be_its_class_or_an_instance(small_world, monkeypatch):
    small_world()
    spec = importlib.util.spec_from_file_location("add_relu_of_the_test", ROOT / "examples" / "add_relu.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    for kernel, name in (
        (Softmax, "softmax"),
        (Softmax(), "softmax"),
        (module.AddRelu, f"{ROOT}/examples/add_relu.py:AddRelu"),
    ):
        result = optimise("lowest latency", kernel=kernel)
        assert json.loads(result.to_json())["objective"]["kernel"] == name


def test_a_kernel_that_no_child_process_could_import_is_refused():
    class Mine(KernelSpec):
        problem_type = Softmax.problem_type

    with pytest.raises(UsageError, match=r"path\.py:Mine"):
        optimise("lowest latency", kernel=Mine)


def test_names_that_do_not_exist_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'optimize'"):
        _ = agent.optimize
    assert {"optimise", "Result"} <= set(dir(agent))


def test_a_dtype_of_pytorch_is_read_and_another_object_is_refused():
    import torch

    from agent.api import dtype_name

    assert [dtype_name(d) for d in (torch.float16, torch.bfloat16, "fp16", None)] == ["fp16", "bf16", "fp16", None]
    for wrong in (torch.int8, 16, torch):
        with pytest.raises(UsageError, match="dtype is a word"):
            dtype_name(wrong)
