"""Where the judge's reference process draws inputs: PyTorch's ``meta`` device plays the GPU."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from tools.harness.judging.problems import ModuleProblem
from tools.harness.judging.program_files import load_file

PROBLEM = """
import torch
class Model(torch.nn.Module):
    def forward(self, x):
        return x
def get_inputs():
    return [{}]
"""


@pytest.fixture
def problem(tmp_path):
    def made(drawn, device):
        path = tmp_path / "problem.py"
        path.write_text(PROBLEM.format(drawn))
        found = ModuleProblem(str(path), 1, "cpu")
        found._drawn_on = device
        return found

    return made


def test_inputs_are_drawn_on_the_device(problem):
    (x,) = problem("torch.randn(1 << 40)", "meta")._drawn(7)
    assert (x.device.type, x.shape) == ("meta", (1 << 40,))


def test_a_device_that_the_inputs_name_stays(problem):
    (x,) = problem("torch.randn(4, device='cpu')", "meta").draw(7)
    assert x.device.type == "cpu"


def test_what_does_not_run_there_is_drawn_on_the_cpu_by_the_same_seed(problem):
    drawn = "torch.from_numpy(torch.randn(4).numpy())"
    other = problem(drawn, "meta")
    (x,) = other.draw(7)
    assert torch.equal(x, problem(drawn, "cpu").draw(7)[0])
    assert other._drawn_on == "cpu"


def test_an_edit_of_the_same_length_and_date_is_read(tmp_path, monkeypatch):
    """As two edits in one second have it: what Python dates its bytecode by is as it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "candidate.py"
    found = []
    for digit in (1, 2):
        path.write_text(f"NUMBER = {digit}\n")
        os.utime(path, (1e9, 1e9))
        found.append(load_file(str(path), "judged_candidate", "it").NUMBER)
    del sys.modules["judged_candidate"]
    assert found == [1, 2]
