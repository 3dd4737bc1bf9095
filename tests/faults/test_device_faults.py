"""Whatever a launch does to the GPU or its worker, the attempt gets its true status and the next one is measured."""

import os
import signal
import threading
import time

import pytest

from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import TRUE_STATUS, Faulty, FaultyConfig
from tools.harness.device import MachineTrouble
from tools.harness.measuring.telemetry import gpus_present

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpus_present(), reason="needs a GPU")]


@pytest.fixture(scope="module")
def device(ready_workers):
    d = ready_workers.open(Faulty(), AxpyProblem(), spares=4)
    d.workers.deadline_s = 3.0
    d.measure([FaultyConfig()])
    yield d
    d.close()


@pytest.mark.parametrize("fault", [f for f in TRUE_STATUS if f != "none"])
def test_a_fault_has_its_status_and_the_next_config_is_measured(device, fault):
    [broken] = device.measure([FaultyConfig(fault=fault)])
    assert broken.status == TRUE_STATUS[fault], broken.reason
    assert broken.reason
    assert "\n" not in broken.reason
    [good] = device.measure([FaultyConfig()])
    assert good.status == "correct", good.reason


def test_a_worker_killed_from_outside_costs_nothing_but_time(device):
    pid = device.workers.by_role["candidates"].process.pid
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        [m] = device.measure([FaultyConfig()])
        assert m.status == "correct", m.reason
    assert device.workers.by_role["candidates"].process.pid != pid


def test_a_vanished_gpu_is_no_verdict_on_a_config(device, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for child in [device.workers.by_role["candidates"], *device.workers.standby]:
        child.kill()
    with pytest.raises(MachineTrouble):
        device.measure([FaultyConfig()])
    monkeypatch.undo()
    for child in [device.workers.by_role["candidates"], *device.workers.standby]:
        child.kill()
    [m] = device.measure([FaultyConfig()])
    assert m.status == "correct", m.reason
