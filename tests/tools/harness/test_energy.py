"""Energy as an objective: the meter, who wins by joules, what is refused, what is told."""

import threading
import time

import pytest

from agent.goal.objective import Objective
from agent.loop.outcome import outcome_of, render
from kernels.hardware import hardware_named
from memory.proofs.rule import OWN
from memory.shared_models import DeviceInfo
from memory.store import Memory
from tests.agent.fake_actions import SETTING
from tests.exploits.axpy import Axpy, AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.tools.scripted import MS
from tools.harness.devices.live import NO_JOULES, LiveDevice
from tools.harness.measuring.telemetry import Meter
from tools.harness.process.gpu_workers import GpuWorkers
from tools.harness.results import CompileResult, Measurement, Proof
from tools.session.budget import Budget
from tools.session.open_session import SetupError, open_session
from tools.session.recall import resume
from tools.session.session import Ids, Session
from tools.session.task import Task

pytestmark = pytest.mark.compile

H200 = hardware_named("H200")
PROBLEM = AxpyProblem(N=1 << 28)


class Counter:
    """An energy counter of `watts` that moves every `step` seconds."""

    def __init__(self, watts, step):
        self.watts, self.step, self.began = watts, step, time.perf_counter()

    def __call__(self):
        return self.watts * self.step * int((time.perf_counter() - self.began) / self.step)


def metered(counter, seconds):
    with Meter(counter) as meter:
        time.sleep(seconds)
    return meter.watts()


def test_power_is_read_between_two_movements_of_the_counter():
    """The plain difference of two looks would be wrong by up to a tenth here."""
    assert metered(Counter(700, 0.05), 0.52) == pytest.approx(700, rel=0.05)


@pytest.mark.parametrize(
    "counter", [lambda: None, lambda: 5.0, Counter(700, 10.0)], ids=["none", "still", "too slow for the stretch"]
)
def test_a_counter_that_is_missing_or_stands_still_gives_no_power(counter):
    assert metered(counter, 0.2) is None


def test_the_meter_leaves_no_thread_behind():
    before = threading.active_count()
    metered(Counter(100, 0.02), 0.05)
    assert threading.active_count() == before


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    workers = GpuWorkers(0, Faulty(), PROBLEM, tmp_path_factory.mktemp("cache"), "tests.tools.scripted:frugal")
    workers.spares = 0
    yield LiveDevice(Faulty(), PROBLEM, DeviceInfo(kind="live", hardware="H200", **workers.describe_gpu()), workers)
    workers.close()


def test_contenders_are_ranked_by_joules(live):
    configs = [FaultyConfig(BLOCK=b) for b in (256, 512, 1024)]
    found = live.contend(configs, "sustained", "joules")
    assert [m.joules for m in found] == [1.0, 0.8, 0.9]
    assert min(found, key=lambda m: m.joules).config["BLOCK"] == 512
    assert min(found, key=lambda m: m.ms).config["BLOCK"] == 256


def test_a_proof_of_energy_holds_ratios_of_joules_and_the_fastest_config(live):
    proof = live.prove(FaultyConfig(BLOCK=512), "sustained", 0, "joules", FaultyConfig(BLOCK=256))
    assert (proof.status, proof.joules) == ("correct", 0.8)
    unfused, fastest = proof.comparisons
    assert unfused.saving == pytest.approx(2.0)
    assert unfused.speedup == pytest.approx(2 / 1.02, rel=1e-3)
    assert fastest.name == OWN
    assert "BLOCK=256" in fastest.title
    assert (fastest.joules, fastest.saving) == (1.0, pytest.approx(1.25))
    assert fastest.speedup < 1


def test_a_counter_that_stops_is_our_failure_not_the_configs(live):
    proof = live.prove(FaultyConfig(BLOCK=512, n=7), "sustained", 0, "joules")
    assert (proof.status, proof.reason) == ("infrastructure", NO_JOULES)


def test_baselines_can_be_chosen_and_a_copy_is_one(live):
    proof = live.prove(FaultyConfig(), "burst", 0, against=["copy", "unfused"])
    assert [c.name for c in proof.comparisons] == ["copy", "unfused"]
    assert not proof.comparisons[0].equivalent
    with pytest.raises(ValueError, match="no baseline tea"):
        live.prove(FaultyConfig(), "burst", 0, against=["tea"])


@pytest.fixture
def session(tmp_path, live, compile_pool):
    memory = Memory.open(tmp_path / "memory.db")
    ids = Ids.of(memory, live.info, Faulty(), PROBLEM)
    memory.start_run("run", "goal", {}, "none", ids.environment, ids.problem, {})
    task = Task.of(Faulty(), PROBLEM, H200, "gbps_per_watt")
    yield Session(task, live, compile_pool("H200"), memory, ids, "run", Budget())
    memory.close()


def test_a_session_searches_by_time_and_ends_by_joules(session):
    for block in (256, 512, 1024, 2048):
        config, ms = FaultyConfig(BLOCK=block), MS[block]
        values = config.model_dump(mode="json")
        session.measured[config] = Measurement(config=values, status="correct", ms=ms, samples_ms=[ms])
    (first, second, third, last), _ = session.finalists(4)
    assert [c.BLOCK for c in (first, second, third)] == [512, 1024, 256]
    assert last.BLOCK == 2048, "half as fast again: too far off for a reading of its energy"
    session.budget.max_seconds = 0.0  # nothing beyond the rounds that every proof has
    proof = session.prove(first)
    assert proof.regime == "sustained"
    assert [c.name for c in proof.comparisons] == ["unfused", OWN]
    rows = session.memory.ask("SELECT kind, regime, joules, value, unit FROM attempts WHERE kind = 'proof'")
    moved = Faulty().bytes(PROBLEM)
    assert rows == [
        {"kind": "proof", "regime": "sustained", "joules": 0.8, "value": moved / 0.8e9, "unit": "GB/s per W"}
    ]
    contended = session.memory.ask("SELECT DISTINCT unit FROM attempts WHERE kind = 'benchmark'")
    assert contended == [{"unit": "GB/s"}], "a benchmark is a time, whatever the goal"


def test_a_task_of_energy_knows_its_units():
    task = Task.of(Axpy(), PROBLEM, H200, "tflops_per_watt")
    assert (task.metric, task.unit, task.energy_unit) == ("gbps", "GB/s", "TFLOP/s per W")
    assert task.energy_value(0.5) == Axpy().flops(PROBLEM) / 0.5 / 1e12
    assert Task.of(Axpy(), PROBLEM, H200, "joules").energy_value(0.5) == 500
    assert Task.of(Axpy(), PROBLEM, H200, None).energy is None


def test_a_kernel_without_operations_has_no_tflops_per_watt():
    class Silent(Axpy):
        def flops(self, problem):
            return 0

    with pytest.raises(ValueError, match="counts no operations"):
        Task.of(Silent(), PROBLEM, H200, "tflops_per_watt")


@pytest.mark.parametrize(
    ("metric", "bitwise", "says"),
    [
        ("tflops_per_watt", False, "no energy"),
        ("joules", False, "no energy"),
        (None, True, "bitwise is not .* no results"),
    ],
)
def test_a_recorded_device_refuses_energy_and_bits_in_one_sentence(metric, bitwise, says, tmp_path):
    with pytest.raises(SetupError, match=rf"{says}.*--device cuda:0") as refused:
        open_session(
            "fused_matmul",
            None,
            {},
            metric,
            "recorded",
            regime="burst",
            memory_path=tmp_path / "m.db",
            max_evals=1,
            max_seconds=1,
            seed=0,
            run_id="r",
            progress=print,
            bitwise=bitwise,
        )
    assert "\n" not in str(refused.value)


def told(metric, beside=True):
    setting = SETTING.model_copy(update={"energy": metric, "energy_unit": "TFLOP/s per W"})
    ratio = {"regime": "sustained", "rounds": 4, "missing": None, "equivalent": True}
    unfused = {"name": "unfused", "title": "PyTorch eager", "ms": 0.25, "speedup": 0.98, "ci": (0.97, 0.99)}
    unfused |= {"joules": 0.3, "saving": 1.5, "saving_ci": (1.4, 1.6)}
    fastest = {"name": OWN, "title": "the fastest config of this run: tile=64", "ms": 0.19, "speedup": 0.95}
    fastest |= {"ci": (0.94, 0.96), "joules": 0.21, "saving": 1.05, "saving_ci": (1.04, 1.06)}
    comparisons = [r | ratio for r in ([unfused, fastest] if beside else [unfused])]
    proof = {"config": {"tile": 128}, "status": "correct", "reason": "", "ms": 0.2, "ci_ms": None, "how": "here"}
    proof |= {"joules": 0.2, "ci_joules": (0.19, 0.21), "comparisons": comparisons}
    objective = Objective(goal="TFLOPS per watt", kernel="fused_matmul", metric=metric)
    outcome = outcome_of(
        objective, setting, [proof], run_id="r", trace="t", stop="", evaluations=4, tokens=0, turns=1, seconds=1
    )
    return outcome, render(outcome, setting, "replay")


def test_the_verdict_is_about_joules_and_shows_the_best_per_second_beside():
    outcome, text = told("tflops_per_watt")
    assert outcome.proven, "slower than eager, and a third less energy"
    assert outcome.best.energy_value == SETTING.flops / 0.2 / 1e12
    assert "PROVEN: 1.500x [1.400, 1.600] unfused's joules per launch over this config's" in text
    assert "energy     200.00 mJ per launch [190.00, 210.00], 1.0000 TFLOP/s per W" in text
    assert "the fastest config of this run: tile=64: 0.1900 ms, 210.00 mJ per launch" in text
    assert "joules 1.500x [1.400, 1.600]" in text


def test_the_fastest_config_may_be_the_most_frugal_too():
    _, text = told("joules", beside=False)
    assert "the config of least energy is the fastest too" in text


def test_without_such_a_goal_the_verdict_is_about_time():
    outcome, text = told(None)
    assert not outcome.proven
    assert "mJ per launch" not in text


def test_proof_rows_of_before_energy_are_still_read():
    proof = Proof(config={}, status="correct", ms=0.2).model_dump(mode="json")
    assert proof["joules"] is None


def test_a_resumed_run_does_not_take_sustained_times_for_its_searchs(session):
    known = FaultyConfig(BLOCK=256), FaultyConfig(BLOCK=512)
    session.compiled.update({c: CompileResult(config=c.model_dump(mode="json"), status="correct") for c in known})
    before = {c: m.ms for c, m in zip(known, session.measure(known, "a"), strict=True)}
    session.finalists(2)
    again = Session(session.task, session.device, session.pool, session.memory, session.ids, "run", Budget())
    resume(again)
    assert {c: m.ms for c, m in again.measured.items()} == pytest.approx(before)
    assert {m.regime for m in again.measured.values()} == {"burst"}
