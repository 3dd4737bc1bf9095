"""The main job as a user runs it, on the recorded H200: real compilation, real interpreter, recorded times."""

import json
import os
import subprocess
import sys

import pytest

from kernels.registry import get
from tools.harness.landscapes.named import find_landscape

pytestmark = pytest.mark.compile


def command(*words, home):
    """`words` after ``python``, with a home of their own and no GPU: exit code, stdout, stderr."""
    environment = {**os.environ, "XDG_DATA_HOME": str(home / "data"), "CUDA_VISIBLE_DEVICES": ""}
    for name in ("OPENAI_API_KEY", "AUTOKERNEL_MODEL", "OPENAI_BASE_URL"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home):
    words = ["-m", "agent", "maximise fused TFLOPS", "--device", "recorded", "--json", "--memory", str(home / "m.db")]
    return command(*words, home=home)


@pytest.fixture(scope="module")
def result(run):
    code, out, err = run
    assert code == 0, err
    return json.loads(out)


def test_it_proves_a_config_within_five_per_cent_of_the_best_there_is(result):
    spec = get("fused_matmul")
    landscape = find_landscape(None, "fused_matmul", spec.default_problem())
    best = min(ms for e in landscape.entries.values() if (ms := landscape.ms(e, "B")) is not None)
    found = landscape.ms(landscape.entries[spec.config_type.model_validate(result["best"]["config"]).key()], "B")
    assert found <= 1.05 * best
    assert result["proven"] is True
    assert result["evaluations"] <= 40


def test_the_json_says_what_was_found_on_what_and_against_what(result):
    assert {"run", "objective", "device", "best", "baselines", "evaluations", "seconds", "proven", "trace"} <= set(
        result
    )
    assert result["device"]["kind"] == "recorded"
    assert result["device"]["name"] == "NVIDIA H200"
    names = [b["name"] for b in result["baselines"]]
    assert names == ["unfused", "compiled", "cublaslt", "cublas"]
    for b in result["baselines"]:
        assert b["ci"][0] < b["speedup"] < b["ci"][1]
    assert result["best"]["tflops"] == pytest.approx(2 * 4096**3 / result["best"]["ms"] / 1e9, rel=1e-3)


def test_the_first_line_says_that_times_are_recorded(run, result):
    assert "recorded NVIDIA H200" in run[2].splitlines()[0]


def test_memory_knows_the_run_afterwards(home, result):
    code, out, err = command("-m", "memory", "best", "--memory", str(home / "m.db"), "--json", home=home)
    assert code == 0, err
    assert json.loads(out)[0]["config"]["family"] == result["best"]["config"]["family"]
    assert "recorded" in out


def test_the_trace_replays_to_the_same_end_without_tools(home, result):
    code, out, err = command("-m", "agent", "replay", result["trace"], "--json", home=home)
    assert code == 0, err
    assert json.loads(out)["best"] == result["best"]
