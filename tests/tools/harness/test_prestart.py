"""Processes that start before it is known what for."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.api import optimise
from agent.errors import UsageError
from agent.goal.objective import Objective
from agent.loop.progress import Watch
from agent.loop.run import open_actions
from kernels.hardware import hardware_named
from tests.exploits.axpy import Axpy, AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.tools.harness.test_ahead import PROBLEM
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.devices.live import LiveDevice
from tools.harness.measuring import telemetry
from tools.harness.process import prestart as module
from tools.harness.process import sandbox
from tools.harness.process.child import ChildDied
from tools.harness.process.prestart import COMPILER, COMPILER_NICE, Prestart

pytestmark = pytest.mark.process

LEAST_URGENT = 19
"""Linux's greatest niceness: the tests may be nice themselves."""

WORKER = "tests.tools.harness.paced:slow_to_answer"


def gone(children, within_s=5.0):
    """Whether no process is left. Who was killed is there until its parent, a nursery say, has asked for it."""
    until = time.monotonic() + within_s
    while left := any(Path(f"/proc/{c.process.pid}").exists() for c in children):
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return not left


@pytest.fixture
def prestart(tmp_path):
    with Prestart(tmp_path, 2, WORKER) as prestart:
        yield prestart


@pytest.fixture
def made(monkeypatch):
    """The processes of a machine with a GPU, as they are started."""
    found, of = [], Prestart.of

    def noted(*arguments, **options):
        prestart = of(*arguments, **options)
        found.extend(c for waiting in prestart._waiting.values() for c in waiting)
        return prestart

    monkeypatch.setattr(telemetry, "gpus_present", lambda: 1)
    monkeypatch.setattr(Prestart, "of", noted)
    return found


def test_all_are_at_work_before_the_gpu_has_a_name_and_are_those_that_the_run_uses(prestart, tmp_path):
    workers, compilers = list(prestart._waiting[WORKER]), list(prestart._waiting[COMPILER])
    assert (len(workers), len(compilers)) == (2, 2)
    assert all(c.alive for c in workers + compilers)
    live = LiveDevice.open("cuda:0", Faulty(), PROBLEM, tmp_path, WORKER, prestart=prestart)
    assert [live.workers.by_role[role] for role in ("candidates", "baselines")] == workers
    assert live.workers.standby == []
    assert live.info.torch.endswith("broken.py:Faulty") or live.info.torch.endswith(":Faulty")
    pool = LocalCompilePool(hardware_named("H200"), workers=2, cache=tmp_path, prestart=prestart)
    assert not prestart
    results = pool.compile(Faulty(), PROBLEM, [FaultyConfig(), FaultyConfig(BLOCK=512)])
    assert [r.status for r in results] == ["correct", "correct"]
    assert pool._all == compilers
    niceness = min(os.nice(0) + COMPILER_NICE, LEAST_URGENT)
    assert {os.getpriority(os.PRIO_PROCESS, c.process.pid) for c in compilers} == {niceness}
    pool.close()
    live.close()
    assert gone(workers + compilers)


def test_who_died_meanwhile_is_not_taken(prestart):
    first, second = prestart._waiting[WORKER]
    first.send_kill()
    first.process.wait()
    taken = prestart.take(WORKER)
    assert taken is second
    taken.kill()
    assert prestart.take(WORKER) is None


def test_a_child_that_dies_before_its_init_says_so_at_its_first_job(prestart):
    child = prestart.take(WORKER)
    child.send_kill()
    child.process.wait()
    child.begin({})
    with pytest.raises(ChildDied):
        child.call({}, 1)


def test_nobody_is_left_when_nobody_was_taken(tmp_path):
    with Prestart(tmp_path, 1, WORKER) as prestart:
        children = [c for waiting in prestart._waiting.values() for c in waiting]
    assert len(children) == 3
    assert gone(children)


@pytest.mark.parametrize("device", ["recorded", "recorded:h200", "cuda:all", "ray:auto", "cuda:x"])
def test_only_a_single_gpu_has_processes_started_for_it(device, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 8)
    assert not Prestart.of(device)


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_without_a_gpu_none_are_started(device, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 0)
    assert not Prestart.of(device)


@pytest.mark.parametrize("device", ["auto", "cuda:1"])
def test_a_gpu_has(device, monkeypatch):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 2)
    with Prestart.of(device) as prestart:
        assert len(prestart._waiting[module.WORKER]) == 2
        assert prestart._waiting[COMPILER]


@pytest.mark.parametrize("cores", [2, 16])
def test_the_baselines_worker_imports_their_compiler_where_a_core_is_left_for_it(cores, monkeypatch, tmp_path):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 1)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(module, "default_cache", lambda: tmp_path)
    with Prestart.of("cuda:0", compilers=0, torch_compile=True) as prestart:
        ahead = prestart._waiting.get(module.COMPILING_WORKER, [])
        assert len(ahead) == (cores >= module.LEAST_CORES)
        assert len(prestart._waiting[module.WORKER]) == 2 - len(ahead)
        candidates = prestart.take_worker(module.WORKER, baselines=False)
        baselines = prestart.take_worker(module.WORKER, baselines=True)
        assert (baselines in ahead, candidates in ahead) == (bool(ahead), False)
        candidates.kill()
        baselines.kill()


def test_a_worker_takes_the_place_of_one_that_died_while_it_imported_the_compiler(tmp_path):
    with Prestart(tmp_path, 0, module.WORKER, baselines=module.COMPILING_WORKER) as prestart:
        [ahead], [other] = prestart._waiting[module.COMPILING_WORKER], prestart._waiting[module.WORKER]
        ahead.send_kill()
        ahead.process.wait()
        assert prestart.take_worker(module.WORKER, baselines=True) is other
        other.kill()


@pytest.mark.long
def test_what_the_compiling_worker_imports_is_what_a_compilation_needs():
    """In a new process, so that no other test has imported it."""
    script = (
        "import sys, tools.harness.measuring.compiling_worker as ours, tools.harness.measuring.worker as plain\n"
        "from torch._inductor.async_compile import AsyncCompile\n"
        "assert ours.worker is plain.worker and 'torch._inductor.compile_fx' in sys.modules\n"
        "AsyncCompile.wait_pool_ready(60)\n"
        "assert AsyncCompile._ready_future.done()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=90)


@pytest.mark.parametrize("cores", [2, 16])
def test_processes_of_a_goal_start_before_it_is_read_and_end_with_it(cores, made, monkeypatch, tmp_path):
    """On a machine with few cores they would keep the goal from being read."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    with pytest.raises(UsageError, match="zorp"):
        optimise("make softmax quicker zorp", device="cuda:0", memory=tmp_path / "m.db")
    assert bool(made) == (cores == 16)
    assert gone(made)


def test_a_run_that_shares_the_machine_has_so_many_compilers_in_all(monkeypatch, tmp_path):
    monkeypatch.setattr(telemetry, "gpus_present", lambda: 1)
    monkeypatch.setattr(module, "default_cache", lambda: tmp_path)
    with Prestart.of("cuda:0", compilers=1) as prestart:
        assert len(prestart._waiting[COMPILER]) == 1
        pool = LocalCompilePool(hardware_named("H200"), cache=tmp_path, prestart=prestart)
        assert pool.workers == 1
        pool.close()


def test_a_run_that_cannot_be_opened_leaves_nobody(made, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    objective = Objective(goal="fast", kernel="softmax", device="cuda:0")
    with pytest.raises(UsageError, match="no usable GPU"):
        open_actions(objective, tmp_path / "m.db", "run", Watch())
    assert made
    assert gone(made)


@pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")
def test_compilers_of_edited_code_are_shut_in_from_the_start(tmp_path):
    hardware = hardware_named("H200")
    with Prestart(tmp_path / "cache", 1, None, shut_in=True) as prestart:
        assert (tmp_path / "cache").is_dir(), "a folder that is made later is none that they may write to"
        pool = LocalCompilePool(hardware, workers=1, cache=tmp_path / "cache", prestart=prestart)
        pool.close()
        assert prestart  # a pool whose compilers are not shut in leaves them
        shut_in = LocalCompilePool(hardware, workers=1, cache=tmp_path / "cache", prestart=prestart, shut_in=True)
        assert not prestart
        scratch = Path(shut_in._scratch.name)
        assert scratch.exists()
        assert shut_in.compile(Axpy(), AxpyProblem(), [Axpy().config_type(BLOCK=512)])[0].status == "correct"
        assert len(shut_in._all) == 1
        shut_in.close()
    assert not scratch.exists()
