"""Capture on a GPU: what only a compiled launch shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from kernels.capture.capture_file import begin
from kernels.capture.hooks import BENCHMARK, DIRECT, INDUCTOR, REPLAY
from kernels.capture.reading.captured_launches import read_capture
from kernels.capture.start import run_program

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    path = tmp_path_factory.mktemp("gpu") / "run.capture"
    begin(str(path), {})
    assert run_program([sys.executable, str(Path(__file__).parent / "program_gpu.py")], str(path), "summary") == 0
    return read_capture(str(path))


def of(capture, name):
    return [x for x in capture.launches if x.name == name]


def test_writes_are_read_from_the_code_and_memory_agrees(capture):
    (tuned,) = of(capture, "tuned")
    assert tuned.observed["writes"] == {"out_ptr": ["store"]}
    # The autotuner's benchmark has written the same numbers before: memory may show no change, and no other tensor's.
    assert set(tuned.observed["changed"]) <= {"out_ptr"}
    assert all(x.observed["writes"] == {"x_ptr": ["store"]} for x in of(capture, "in_place"))


def test_counts_times_and_the_choice(capture):
    (tuned,) = of(capture, "tuned")
    assert tuned.count == 20
    assert len(tuned.readings_ms) == 5
    assert 0 < tuned.ms < 5
    assert tuned.config["kwargs"]["BLOCK"] in (256, 1024)
    assert len(tuned.autotune["configs"]) == 4
    assert tuned.device["kind"] == "cuda"
    assert tuned.device["name"] == torch.cuda.get_device_name()


def test_what_is_not_recorded_is_listed(capture):
    reasons = {(reason, name): n for (reason, name), n in capture.unseen.items()}
    assert reasons[BENCHMARK, "tuned"] > 4
    assert (DIRECT, "in_place") not in reasons
    assert reasons[REPLAY, "CUDAGraph.replay"] == 3
    assert any(reason == INDUCTOR for reason, _ in reasons)


def test_a_compiled_kernel_that_is_launched_directly_counts_as_its_function_does(capture):
    whole = [x for x in of(capture, "in_place") if x.arguments["BLOCK"]["value"] == 1024]
    assert sum(x.count for x in whole) == 10 + 1


def test_a_launch_in_a_graph_is_recorded_without_values(capture):
    in_graph = [x for x in of(capture, "in_place") if "no_values" in x.observed]
    assert [x.arguments["BLOCK"]["value"] for x in in_graph] == [512]


def test_a_launch_on_another_stream_keeps_values_from_before_it(capture):
    (other,) = [x for x in of(capture, "in_place") if x.arguments["x_ptr"]["dtype"] == "float64"]
    assert other.observed["values"]["x_ptr"]["mean"] == 0.0
    assert other.observed["changed"] == ["x_ptr"]
