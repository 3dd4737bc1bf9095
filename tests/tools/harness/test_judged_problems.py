"""Where the judge's reference process draws inputs: PyTorch's ``meta`` device plays the GPU."""

from __future__ import annotations

import pytest
import torch

from tools.harness.judging.problems import ModuleProblem

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
