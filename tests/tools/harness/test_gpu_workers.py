"""Workers that crash, hang, lose their context or are killed: a real child process plays the GPU's part."""

import threading
import time

import pytest

from memory.shared_models import DeviceInfo
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tools.harness.checking.float64.promoted_reference import LEAST_S, PromotingInterpreter, Reference
from tools.harness.device import DeviceError, MachineTrouble
from tools.harness.devices.live import STRESS_S, STRESS_SHARE, LiveDevice
from tools.harness.process.gpu_workers import GpuWorkers
from tools.harness.results import UNDECIDED

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """One device for all: whatever a test does to it, the next one has to find it working."""
    cache = tmp_path_factory.mktemp("cache")
    workers = GpuWorkers(0, Faulty(), AxpyProblem(N=1 << 28), cache, "tests.tools.scripted:breaking")
    workers.deadline_s = 1.0
    info = DeviceInfo(kind="live", hardware="H200", **workers.describe_gpu())
    yield LiveDevice(Faulty(), AxpyProblem(N=1 << 28), info, workers)
    workers.close()


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("never_ends", "timeout", "no answer within 1 s"),
        ("segfault", "runtime", "SIGSEGV"),
        ("exit", "runtime", "exit code 7"),
        ("out_of_bounds", "runtime", "illegal memory access"),
        ("wrong", "correctness", "off by one"),
        ("out_of_memory", "infrastructure", "killed from outside 3 times"),
    ],
)
def test_the_end_of_a_job_has_its_status_and_the_next_job_runs(live, fault, status, reason):
    [broken] = live.measure([FaultyConfig(fault=fault)])
    assert broken.status == status
    assert reason in broken.reason
    [good] = live.measure([FaultyConfig()])
    assert good.status == "correct"


def test_a_broken_context_is_not_used_again(live):
    before = live.workers.by_role["candidates"].process.pid
    live.measure([FaultyConfig(fault="out_of_bounds")])
    assert live.workers.by_role["candidates"].process.pid != before


def test_a_worker_killed_between_two_jobs_is_replaced_in_silence(live):
    live.measure([FaultyConfig()])
    live.workers.by_role["candidates"].process.kill()
    assert live.measure([FaultyConfig()])[0].status == "correct"


def test_a_gpu_that_goes_and_comes_back(live, monkeypatch):
    live.measure([FaultyConfig()])
    monkeypatch.setenv("GPU_GONE", "1")
    for child in [live.workers.by_role["candidates"], *live.workers.standby]:
        child.kill()
    with pytest.raises(MachineTrouble, match="the GPU has gone"):
        live.measure([FaultyConfig()])
    monkeypatch.delenv("GPU_GONE")
    for child in [live.workers.by_role["candidates"], *live.workers.standby]:
        child.kill()
    assert live.measure([FaultyConfig()])[0].status == "correct"


@pytest.mark.parametrize("fault", ["segfault", "out_of_bounds", "never_ends"])
def test_a_launch_that_the_gpu_did_not_survive_is_no_verdict_on_its_config(live, monkeypatch, fault):
    """The worker ends in the launch; if no worker can open the GPU afterwards, it was the GPU that failed."""
    live.measure([FaultyConfig()])
    for child in live.workers.standby:
        child.kill()
    monkeypatch.setenv("GPU_GONE", "1")
    with pytest.raises(MachineTrouble, match=r"the GPU has gone.*after a launch that ended"):
        live.measure([FaultyConfig(fault=fault)])
    monkeypatch.delenv("GPU_GONE")
    for child in [live.workers.by_role["candidates"], *live.workers.standby]:
        child.kill()
    assert live.measure([FaultyConfig()])[0].status == "correct"


def test_jobs_never_overlap(live):
    """Two threads, two roles: each job takes the time the other waits."""
    hang = {"op": "burst", "config": {"fault": "never_ends"}, "samples": 1}
    for role in ("candidates", "baselines"):
        live.workers.run(role, hang | {"config": {}}, 60)
    started = time.monotonic()
    jobs = [threading.Thread(target=live.workers.run, args=(role, hang, 0.5)) for role in ("candidates", "baselines")]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert time.monotonic() - started > 1.0


def test_a_proof_compares_with_every_baseline_round_by_round(live):
    proof = live.prove(FaultyConfig(), max_seconds=5)
    assert proof.status == "correct", proof.reason
    [unfused] = proof.comparisons
    assert unfused.speedup == pytest.approx(2.0, rel=1e-3)
    assert unfused.ci[0] > 1
    assert unfused.rounds >= 12
    assert len(proof.samples_ms) == 4 * unfused.rounds


@pytest.mark.parametrize(
    ("readings", "when"), [(0, "before its final sitting"), (7, "after 7 of 12 rounds of its sitting")]
)
def test_a_proof_that_is_cut_short_says_nothing_of_its_config(live, monkeypatch, readings, when):
    measure, left = live.measure, iter(range(readings - 1, -1, -1))

    def measure_until_the_end(*asked):
        if next(left) == 0:
            monkeypatch.setattr(live, "ends_at", time.monotonic())
        return measure(*asked)

    monkeypatch.setattr(live, "measure", measure_until_the_end)
    monkeypatch.setattr(live, "ends_at", time.monotonic() + (60 if readings else 0))
    proof = live.prove(FaultyConfig(), max_seconds=5)
    assert (proof.status, proof.ms, proof.comparisons) == ("infrastructure", None, [])
    assert proof.reason.startswith("the time was up ")
    assert proof.reason.endswith(when)


def test_a_proof_whose_stress_inputs_the_deadline_cuts_says_nothing_of_its_config(live, monkeypatch):
    """A finalist near the deadline is tried on as many kinds as any other, or has no verdict."""
    run, asked = live.workers.run, []

    def run_until_the_end(role, job, *more):
        answer = run(role, job, *more)
        if job["op"] == "stress":
            asked.append(job)
            time.sleep(max(0.0, job["ends_at"] - time.monotonic()))
            answer["left_out"] = {"tiny": "no time left"}
        return answer

    monkeypatch.setattr(live.workers, "run", run_until_the_end)
    monkeypatch.setattr(live, "_stress_s", STRESS_S)
    monkeypatch.setattr(live, "ends_at", time.monotonic() + 0.5)
    proof = live.prove(FaultyConfig(), max_seconds=5)
    assert (proof.status, proof.comparisons) == ("infrastructure", [])
    assert proof.reason == "the time was up before the baselines were timed"
    assert [job["most_s"] for job in asked] == [STRESS_SHARE * STRESS_S]


def test_what_is_tried_before_the_finalists_takes_none_of_their_time(live, monkeypatch):
    run, asked = live.workers.run, []
    monkeypatch.setattr(live, "_stress_s", STRESS_S)
    monkeypatch.setattr(live.workers, "run", lambda role, job, *more: asked.append(job) or run(role, job, *more))
    assert live.stress(FaultyConfig(), 1.5).status == "correct"
    assert live.stress(FaultyConfig()).status == "correct"
    assert [job["most_s"] for job in asked] == [1.5, STRESS_SHARE * STRESS_S]


@pytest.mark.parametrize("run_ends", [False, True])
@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_a_question_for_float64_without_time_for_an_answer_is_no_verdict(seconds, run_ends, live, monkeypatch):
    question = {"capture": "c", "launch": "l", "damped": 0, "seed": 0, "given": "g"}
    answers = iter([{"status": "infrastructure", "question": question, "seconds": 0.1}, {"status": "correctness"}])
    monkeypatch.setattr(live.workers, "run", lambda role, job: next(answers))
    monkeypatch.setattr(PromotingInterpreter, "reference", lambda self, *about: Reference("nobody computes it"))
    until = time.monotonic() + seconds
    if run_ends:
        monkeypatch.setattr(live, "ends_at", until)
    found = live.stress(FaultyConfig()) if run_ends else live.stress(FaultyConfig(), 4.0, until)
    late = ("infrastructure", UNDECIDED)
    assert (found.status, found.reason) == (late if seconds < LEAST_S else ("correctness", ""))


def test_a_proof_with_rounds_enough_stands_though_the_time_ends_it(live, monkeypatch):
    measure, rounds = live.measure, iter(range(1, 1000))

    def measure_until_the_end(*asked):
        if next(rounds) == 12:
            monkeypatch.setattr(live, "ends_at", time.monotonic())
        return measure(*asked)

    monkeypatch.setattr(live, "measure", measure_until_the_end)
    monkeypatch.setattr(live, "ends_at", time.monotonic() + 60)
    proof = live.prove(FaultyConfig(), max_seconds=5)
    assert (proof.status, proof.comparisons[0].rounds) == ("correct", 12)


def test_contenders_leave_the_time_to_the_proof(live, monkeypatch):
    monkeypatch.setattr(live, "ends_at", time.monotonic())
    found = live.contend([FaultyConfig(), FaultyConfig(BLOCK=512)])
    assert [len(m.samples_ms) for m in found] == [4, 4]


@pytest.mark.parametrize("regime", ["burst", "sustained"])
def test_contenders_are_told_apart(live, regime):
    far, near, best = live.contend([FaultyConfig(n=100), FaultyConfig(n=1), FaultyConfig(n=0)], regime)
    assert best.ms < near.ms < far.ms


def test_a_contender_that_is_slower_beyond_doubt_is_dropped_early(live):
    far, one, other = live.contend([FaultyConfig(n=100), FaultyConfig(), FaultyConfig(BLOCK=512)])
    assert len(far.samples_ms) == 4 * 4
    assert len(one.samples_ms) == len(other.samples_ms) == 4 * 16


def test_a_time_below_the_floor_is_implausible(live, monkeypatch):
    monkeypatch.setattr(live, "problem", AxpyProblem(N=1 << 40))
    [m] = live.measure([FaultyConfig()])
    assert m.status == "implausible"
    assert "physical floor" in m.reason


def test_no_gpu_is_one_sentence():
    with pytest.raises(DeviceError, match=r"cuda:0, cuda:1"):
        LiveDevice.open("cuda", Faulty(), AxpyProblem())


def test_a_worker_that_cannot_start_says_why(tmp_path):
    workers = GpuWorkers(0, Faulty(), AxpyProblem(), tmp_path, "tests.tools.nowhere:scripted")
    with pytest.raises(MachineTrouble, match=r"does not start.*nowhere"):
        workers.describe_gpu()
