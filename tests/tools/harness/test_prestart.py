"""Processes that start before it is known what for."""

import os
from pathlib import Path

import pytest

from agent.errors import UsageError
from agent.goal.objective import Objective
from agent.loop.progress import Watch
from agent.loop.run import open_actions
from kernels.hardware import hardware_named
from tests.faults.broken import Faulty, FaultyConfig
from tests.tools.harness.test_ahead import PROBLEM
from tools.harness.compiling.compile_pool import CompilePool
from tools.harness.devices.live import LiveDevice
from tools.harness.measuring import telemetry
from tools.harness.process import prestart as module
from tools.harness.process.child import ChildDied
from tools.harness.process.prestart import COMPILER, COMPILER_NICE, Nursery

WORKER = "tests.tools.harness.paced:slow_to_answer"


def gone(children):
    return not any(Path(f"/proc/{c.process.pid}").exists() for c in children)


@pytest.fixture
def early(tmp_path):
    with Nursery(tmp_path, 2, WORKER) as nursery:
        yield nursery


def test_all_are_at_work_before_the_gpu_has_a_name_and_are_those_that_the_run_uses(early, tmp_path):
    workers, compilers = list(early._waiting[WORKER]), list(early._waiting[COMPILER])
    assert (len(workers), len(compilers)) == (2, 2)
    assert all(c.alive for c in workers + compilers)
    live = LiveDevice.open("cuda:0", Faulty(), PROBLEM, tmp_path, WORKER, early=early)
    assert [live.crew.workers[role] for role in ("candidates", "baselines")] == workers
    assert live.crew.standby == []
    assert live.info.torch.endswith("broken.py:Faulty") or live.info.torch.endswith(":Faulty")
    pool = CompilePool(hardware_named("H200"), workers=2, cache=tmp_path, early=early)
    assert not early
    results = pool.compile(Faulty(), PROBLEM, [FaultyConfig(), FaultyConfig(BLOCK=512)])
    assert [r.status for r in results] == ["correct", "correct"]
    assert pool._all == compilers
    assert {os.getpriority(os.PRIO_PROCESS, c.process.pid) for c in compilers} == {COMPILER_NICE}
    pool.close()
    live.close()
    assert gone(workers + compilers)


def test_who_died_meanwhile_is_not_taken(early):
    first, second = early._waiting[WORKER]
    first.strike()
    first.process.wait()
    taken = early.take(WORKER)
    assert taken is second
    taken.kill()
    assert early.take(WORKER) is None


def test_a_child_that_dies_before_its_init_says_so_at_its_first_job(early):
    child = early.take(WORKER)
    child.strike()
    child.process.wait()
    child.begin({})
    with pytest.raises(ChildDied):
        child.call({}, 1)


def test_nobody_is_left_when_nobody_was_taken(tmp_path):
    with Nursery(tmp_path, 1, WORKER) as nursery:
        children = [c for waiting in nursery._waiting.values() for c in waiting]
    assert len(children) == 3
    assert gone(children)


@pytest.mark.parametrize("device", ["recorded", "recorded:h200", "cuda:all", "ray:auto", "cuda:x"])
def test_only_a_single_gpu_has_processes_started_for_it(device, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 8)
    assert not Nursery.of(device)


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_without_a_gpu_none_are_started(device, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 0)
    assert not Nursery.of(device)


@pytest.mark.parametrize("device", ["auto", "cuda:1"])
def test_a_gpu_has(device, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 2)
    with Nursery.of(device) as nursery:
        assert len(nursery._waiting[module.WORKER]) == 2
        assert nursery._waiting[COMPILER]


def test_a_run_that_cannot_be_opened_leaves_nobody(monkeypatch, tmp_path):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 1)
    made, of = [], Nursery.of

    def noted(device):
        nursery = of(device)
        made.extend(c for waiting in nursery._waiting.values() for c in waiting)
        return nursery

    monkeypatch.setattr(Nursery, "of", noted)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    objective = Objective(goal="fast", kernel="softmax", device="cuda:0")
    with pytest.raises(UsageError, match="no usable GPU"):
        open_actions(objective, tmp_path / "m.db", "run", Watch())
    assert made
    assert gone(made)
