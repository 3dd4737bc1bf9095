"""The main job as a user runs it, on the recorded H200: real compilation, real interpreter, recorded times."""

import json
import re

import pytest

from kernels.registry import get
from tests.docs.reader import MAIN_JOB
from tools.harness.landscapes.named import find_landscape

pytestmark = pytest.mark.compile


@pytest.fixture(scope="module")
def run(reader):
    return reader.run("README.md", *MAIN_JOB)


@pytest.fixture(scope="module")
def result(reader, run):
    """The run as JSON: its replay ends with it."""
    assert run.returncode == 0, run.stderr
    [trace] = re.findall(r"^trace +(\S+)$", run.stdout, re.M)
    again = reader.run("README.md", "-m", "agent", "replay", trace, "--json")
    assert again.returncode == 0, again.stderr
    return json.loads(again.stdout)


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


def test_the_first_line_says_that_times_are_recorded(run):
    assert "recorded NVIDIA H200" in run.stderr.splitlines()[0]


def test_what_is_printed_is_what_was_found(run, result):
    assert f"{result['evaluations']} evaluations" in run.stdout
    assert "PROVEN" in run.stdout


def test_memory_knows_the_run_afterwards(reader, result):
    best = reader.run("README.md", "-m", "memory", "best", "--json")
    assert best.returncode == 0, best.stderr
    assert result["best"]["config"] in [row["config"] for row in json.loads(best.stdout)]
    assert "recorded" in best.stdout
