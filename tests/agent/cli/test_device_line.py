"""The first line of a run names the device that the goal means, before the goal is read."""

import pytest

from agent.cli.device_line import device_line
from agent.errors import UsageError
from tools.harness.measuring import telemetry


@pytest.mark.parametrize(
    ("option", "goal", "line"),
    [
        (None, "maximise softmax bandwidth", "device: this machine's GPU 0"),
        (None, "softmax on cuda:3", "device: this machine's GPU 3"),
        (None, "Softmax on GPU 3", "device: this machine's GPU 3"),
        (None, "softmax on all the GPUs", "device: all GPUs of this machine"),
        (None, "softmax, cuda:all", "device: all GPUs of this machine"),
        ("cuda:1", "softmax on GPU 3", "device: this machine's GPU 1"),
        ("cuda", "softmax", "device: this machine's GPU 0"),
        ("cuda:x", "softmax", None),  # refused when the device is opened
    ],
)
def test_a_gpu_is_named_by_option_or_words(option, goal, line, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 4)
    assert device_line(option, goal) == line


@pytest.mark.parametrize("goal", ["softmax on cuda:0", "softmax on gpu 0", "softmax on all GPUs"])
def test_a_gpu_that_is_not_there_is_refused_at_once(goal, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 0)
    with pytest.raises(UsageError, match="this machine has none"):
        device_line(None, goal)
