"""Baselines prepared beside the search: the GPU has one job at a time, and nothing that goes wrong changes a proof."""

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
import triton

from agent.loop.actions import LiveActions
from kernels.hardware import hardware_named
from kernels.spec import Baseline
from memory.shared_models import DeviceInfo
from memory.store import Memory
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.tools.harness.paced import GPU_S, locked
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.devices import live as live_device
from tools.harness.devices.live import LiveDevice
from tools.harness.measuring import worker
from tools.harness.process import gpu_workers
from tools.harness.process.gpu_lock import GpuLock
from tools.harness.process.gpu_workers import GpuWorkers
from tools.harness.process.identity import describe
from tools.session.budget import Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

pytestmark = pytest.mark.process

PROBLEM = AxpyProblem(N=1 << 28)


class TwoRivals(Faulty):
    def baselines(self, problem):
        return [*super().baselines(problem), Baseline("compiled", "torch.compile", lambda p, inputs: lambda: None)]


class OwnCode(Faulty):
    def baselines(self, problem):
        return [Baseline("owner", "the owner's launch", lambda p, inputs: lambda: None, own_code=True)]


def notes(folder, what="gpu"):
    lines = (folder / "notes").read_text().splitlines() if (folder / "notes").exists() else []
    return sorted((n for n in map(json.loads, lines) if n["what"] == what), key=lambda n: n["began"])


@pytest.fixture
def open_live(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTES", str(tmp_path))
    monkeypatch.setattr(live_device, "_CEILINGS", {})
    made = []

    def open_live(how="well"):
        (tmp_path / "how").write_text(how)
        workers = GpuWorkers(0, TwoRivals(), PROBLEM, tmp_path, "tests.tools.harness.paced:scripted")
        made.append(workers)
        info = DeviceInfo(kind="live", hardware="H200", **workers.describe_gpu())
        return LiveDevice(TwoRivals(), PROBLEM, info, workers)

    yield open_live
    for workers in made:
        workers.close()


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def proof_of(live):
    return live.prove(FaultyConfig(), max_seconds=0).model_dump(exclude={"telemetry"})


def test_a_preparation_and_a_measurement_never_have_the_gpu_at_once(open_live, tmp_path):
    live = open_live()
    live.measure([FaultyConfig()])
    live.expect_proof()
    measured = 0
    while not notes(tmp_path, "prepared") or measured < 20:
        assert live.measure([FaultyConfig()])[0].status == "correct"
        measured += 1
    proof = proof_of(live)
    assert [c["speedup"] for c in proof["comparisons"]] == [2.0, 1.5]
    spans = notes(tmp_path)
    assert all(one["ended"] <= other["began"] for one, other in pairwise(spans))
    first = notes(tmp_path, "prepared")[0]
    beside = [s for s in spans if first["began"] < s["began"] < first["ended"] and "config" in s["job"]]
    assert beside, "measurements went on while a baseline was prepared"
    ours, theirs = ({s["pid"] for s in spans if what in s["job"]} for what in ("config", "baseline"))
    assert not ours & theirs


def test_what_was_prepared_ahead_is_not_prepared_again(open_live, tmp_path):
    live = open_live()
    live.expect_proof()
    live.expect_proof()
    until(lambda: len(notes(tmp_path, "prepared")) == 2)
    assert proof_of(live)["status"] == "correct"
    assert [n["job"]["shares_gpu"] for n in notes(tmp_path, "prepared")] == [True, True]


def test_a_proof_that_comes_first_prepares_the_rest_itself(open_live, tmp_path):
    live = open_live()
    live.expect_proof()
    until(lambda: any(s["job"]["op"] == "prepare" for s in notes(tmp_path)))
    assert proof_of(live)["status"] == "correct"
    ways = [(n["job"]["baseline"], n["job"]["shares_gpu"]) for n in notes(tmp_path, "prepared")]
    assert ways == [("unfused", True), ("compiled", False)]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["fails", "breaks", "dies", "is killed", "raises", "hangs"])
def test_what_fails_ahead_gives_the_proof_that_it_would_have_given(open_live, tmp_path, monkeypatch, how):
    expected = proof_of(open_live())
    monkeypatch.setattr(gpu_workers, "PREPARE_DEADLINE_S", 2.0)
    live = open_live(f"ahead {how}")
    live.expect_proof()
    assert live.measure([FaultyConfig()])[0].status == "correct"
    live.workers._background.join(120)
    assert live.measure([FaultyConfig()])[0].status == "correct"
    assert proof_of(live) == expected


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["fails", "breaks", "dies", "is killed", "hangs"])
def test_what_always_fails_is_told_as_without_looking_ahead(open_live, monkeypatch, how):
    monkeypatch.setattr(gpu_workers, "PREPARE_DEADLINE_S", 2.0)
    expected = proof_of(open_live(f"always {how}"))
    assert expected["comparisons"][1]["missing"]
    live = open_live(f"always {how}")
    live.expect_proof()
    assert proof_of(live) == expected


def test_what_hangs_on_the_gpu_holds_the_search_up_no_longer_than_a_job_may_hang(open_live, tmp_path):
    live = open_live("ahead hangs on the GPU")
    live.workers.patience_s = 0.5, 0.5
    live.expect_proof()
    until(lambda: all(locked(live.workers._file.name) for _ in range(10) if not time.sleep(GPU_S)))
    began = time.monotonic()
    for _ in range(3):
        assert live.measure([FaultyConfig()])[0].status == "correct"
    assert 0.2 < time.monotonic() - began < 120, "what hangs does so for 600 s"
    assert proof_of(live)["status"] == "correct"


def test_ceilings_do_not_wait_for_a_preparation_that_hangs(open_live, tmp_path):
    live = open_live("ahead hangs")
    live.workers.patience_s = 0.5, 0.5
    live.expect_proof()
    until(lambda: notes(tmp_path, "prepared"))
    time.sleep(0.3)
    assert live.ceilings()["copy_bytes_per_s"] == 4e12
    assert proof_of(live)["status"] == "correct"


@pytest.mark.parametrize("how", ["well", "ahead hangs", "ahead hangs on the GPU"])
def test_closing_during_a_preparation_returns_at_once_and_leaves_no_process(open_live, tmp_path, how):
    live = open_live(how)
    live.expect_measurements()
    live.expect_proof()
    until(lambda: any(s["job"]["op"] == "prepare" for s in notes(tmp_path)))
    time.sleep(0.1)
    workers = live.workers
    pids = [c.process.pid for c in [*workers.by_role.values(), *workers.standby]]
    began = time.monotonic()
    live.close()
    assert time.monotonic() - began < gpu_workers.CLOSE_S
    assert not workers._background.is_alive()
    assert not any(c.alive for c in [*workers.by_role.values(), *workers.standby])
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not Path(workers._file.name).exists()


def test_the_candidates_context_opens_beside_other_things(open_live, tmp_path):
    live = open_live()
    live.expect_measurements()
    until(lambda: notes(tmp_path))
    assert live.measure([FaultyConfig()])[0].status == "correct"
    assert [s["job"]["op"] for s in notes(tmp_path)] == ["open", "burst"]


def test_a_proof_is_expected_once_a_run_has_measured_something(open_live, tmp_path):
    live, hardware, memory = open_live(), hardware_named("H200"), Memory.open(tmp_path / "memory.db")
    ids = Ids.of(memory, live.info, TwoRivals(), PROBLEM)
    memory.start_run("run", "goal", {}, "none", ids.environment, ids.problem, {})
    pool = LocalCompilePool(hardware, workers=1, cache=tmp_path / "cache")
    task = Task.of(TwoRivals(), PROBLEM, hardware, None)
    actions = LiveActions(Session(task, live, pool, memory, ids, "run", Budget()))
    right, wrong = ({"configs": [FaultyConfig(fault=fault).model_dump()]} for fault in ("none", "raises"))
    actions.call("a", "compile_kernel", right)
    actions.call("b", "check_correctness", right)
    actions.call("c", "run_benchmark", wrong)
    assert live.workers._background is None
    actions.call("d", "run_benchmark", right)
    until(lambda: len(notes(tmp_path, "prepared")) == 2)
    actions.close()


def test_the_owners_launch_is_prepared_without_torch_compile(tmp_path, monkeypatch):
    monkeypatch.setattr(triton.knobs.compilation, "listener", None)  # which a worker replaces
    monkeypatch.setattr(worker, "can_release_while_compiling", lambda: pytest.fail("Inductor was asked for"))
    (tmp_path / "lock").touch()
    ours = worker.Worker({**describe(OwnCode(), PROBLEM), "index": 0, "lock": str(tmp_path / "lock")})
    monkeypatch.setattr(ours, "prepare", lambda job: {"status": "correct", "held": not other.acquire(0.0)})
    other = GpuLock(str(tmp_path / "lock"))
    job = {"op": "prepare", "baseline": "owner", "samples": 1, "shares_gpu": True, "ahead": True}
    assert ours.serve(job) == {"status": "correct", "held": True}
    assert other.acquire(0.0)
