"""What a session promises: budgets hold, nothing is done twice, every attempt is in memory before it starts."""

import math
import time
from dataclasses import replace

import pytest

from kernels.hardware import hardware_named
from memory.shared_models import DeviceInfo
from memory.store import Memory
from tests.exploits.axpy import AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tools.harness.results import CheckResult, CompileResult, Measurement
from tools.session.budget import READING_S, Budget
from tools.session.session import Ids, Session
from tools.session.task import Task

pytestmark = pytest.mark.compile

H200 = hardware_named("H200")


class Clockwork:
    """A device whose times are the numbers it was given; notes what it was asked and what memory held by then."""

    info = DeviceInfo(kind="live", name="Clockwork", hardware="H200")

    def __init__(self, memory):
        self.memory, self.asked, self.pending, self.spoil = memory, [], [], 0

    def configs(self):
        return None

    def gpus(self):
        return 1

    def expect_measurements(self):
        pass

    def expect_proof(self):
        pass

    def measure(self, configs, regime="burst"):
        self.asked += configs
        self.pending.append(len(self.memory.ask("SELECT id FROM attempts WHERE status = 'pending'")))
        return [self.reading(c) for c in configs]

    def reading(self, config, ms=None):
        values = config.model_dump(mode="json")
        if self.spoil:
            self.spoil -= 1
            return Measurement(config=values, status="infrastructure", reason="the worker was killed")
        ms = ms or 1.0 + config.BLOCK / 1e6
        return Measurement(config=values, status="correct", ms=ms, ci_ms=(ms, ms), samples_ms=[ms])

    def contend(self, configs, regime="burst", figure="ms"):
        """The second look turns the first one's order round."""
        return [self.reading(c, 2.0 - c.BLOCK / 1e6) for c in configs]

    def check(self, configs):
        return [CheckResult(config=c.model_dump(mode="json"), status="correct", where="clockwork") for c in configs]

    def close(self):
        pass


@pytest.fixture
def session(tmp_path, compile_pool):
    pool, memory = compile_pool("H200"), Memory.open(tmp_path / "memory.db")
    device, spec, problem = Clockwork(memory), Faulty(), AxpyProblem()
    ids = Ids.of(memory, device.info, spec, problem)
    memory.start_run("run", "goal", {}, "none", ids.environment, ids.problem, {})
    return Session(Task(spec, problem, H200, "gbps"), device, pool, memory, ids, "run", Budget(max_evals=3))


def test_time_for_a_reading_is_left_after_the_first_compilations_alone(session):
    def compile_late(config):
        session.budget.started = time.monotonic() - session.budget.max_seconds - 5
        session.compile([config], "call")
        return session.budget.seconds_left()

    assert READING_S - 0.5 < compile_late(FaultyConfig(BLOCK=128)) <= READING_S
    session.measure([FaultyConfig(BLOCK=128)], "call")
    assert session.budget.seconds_left() == 0
    assert compile_late(FaultyConfig(BLOCK=256)) == 0


def test_a_search_that_measured_nothing_in_its_time_has_the_default_config_for_a_result(session):
    default = session.task.spec.default_config(session.task.problem, H200)
    values = default.model_dump(mode="json")
    session.compiled[default] = CompileResult(config=values, status="timeout", reason="compilation took over 4 s")
    session.measure_default()
    assert session.best() is None, "there is time left to search"
    session.budget.started -= session.budget.max_seconds
    session.budget.ends_at = time.monotonic() + 60
    session.measure_default()
    assert session.best() is None, "the run has to be over"
    session.budget.ends_at = math.inf
    session.measure_default()
    assert session.best().config == values
    assert session.device.asked == [default]
    session.measure_default()
    assert session.device.asked == [default]


def test_a_batch_of_compilations_ends_with_the_search_once_something_can_be_measured(session, monkeypatch):
    limits = []

    def compile_(spec, problem, configs, limit):
        limits.append(limit)
        return [CompileResult(config=c.model_dump(mode="json"), status="correct") for c in configs]

    monkeypatch.setattr(session.pool, "compile", compile_)
    end = session.budget.search_ends_at
    session.compile([FaultyConfig(BLOCK=128)], "a")
    session.compile([FaultyConfig(BLOCK=256)], "a")
    assert [(limit.ends_at, limit.latest) for limit in limits] == [(end, math.inf), (end, end)]


def test_no_evaluation_more_than_allowed_and_repeats_are_free(session):
    configs = [FaultyConfig(BLOCK=b) for b in (128, 256, 512, 1024, 2048)]
    assert len(session.measure(configs, "a")) == 3
    assert session.device.asked == configs[:3]
    assert session.budget.evals_left() == 0
    assert [m.ms for m in session.measure(configs, "b")] == [m.ms for m in session.measured.values()]
    assert len(session.device.asked) == 3


def test_an_attempt_is_in_memory_before_it_is_made_and_has_its_verdict_after(session):
    session.measure([FaultyConfig(BLOCK=256)], "a")
    assert session.device.pending == [1]
    [row] = [r for r in session.memory.finished("run") if r["kind"] == "benchmark"]
    assert (row["status"], row["ms"], row["tool_call_id"]) == ("correct", 1.000256, "a")
    assert row["value"] == pytest.approx(3 * (1 << 24) * 2 / 1.000256e-3 / 1e9)


def test_what_does_not_compile_is_never_launched(session):
    [m] = session.measure([FaultyConfig(fault="raises")], "a")
    assert m.status == "compile"
    assert session.device.asked == []


def test_the_same_machine_code_on_the_same_grid_is_not_measured_twice(session):
    [first] = session.measure([FaultyConfig(n=1)], "a")
    [second] = session.measure([FaultyConfig(n=2)], "b")
    assert session.device.asked == [FaultyConfig(n=1)]
    assert second.ms == first.ms
    assert second.config["n"] == 2
    assert "same machine code" in second.how
    session.measure([FaultyConfig(n=2, BLOCK=256)], "c")
    assert len(session.device.asked) == 2


def test_what_our_machinery_spoilt_is_measured_when_asked_again(session):
    session.device.spoil = 1
    [spoilt] = session.measure([FaultyConfig()], "a")
    assert spoilt.status == "infrastructure"
    [again] = session.measure([FaultyConfig()], "b")
    assert again.status == "correct"
    assert session.budget.evals == 1


def test_close_configs_are_told_apart_by_a_second_look(session):
    configs = [FaultyConfig(BLOCK=b) for b in (256, 512, 1024)]
    session.measure(configs, "a")
    assert session.best().config["BLOCK"] == 256
    assert session.finalists(2)[0] == [configs[2], configs[1]]


def test_of_configs_within_noise_a_kernel_may_ask_for_the_first_by_its_text(session, monkeypatch):
    configs = [FaultyConfig(BLOCK=b) for b in (128, 256, 512)]
    session.measure(configs, "a")
    contend = session.device.contend

    def blurred(near, *rest):
        readings = contend(near, *rest)
        return [m.model_copy(update={"ci_ms": (m.ms - 1.5e-4, m.ms + 1.5e-4)}) for m in readings]

    monkeypatch.setattr(session.device, "contend", blurred)
    assert session.finalists(3) == (configs[::-1], 2)  # the first two lie within noise
    monkeypatch.setattr(type(session.task.spec), "ordered_ties", True)
    first = sorted(configs[1:], key=lambda c: c.key())
    assert session.finalists(3) == ([*first, configs[0]], 2)
    assert first != configs[:0:-1], "the text's order is another than that of the times"


class Exact(Clockwork):
    """A device that compares bits: blocks above 256 add in another order."""

    def compare_bits(self, config):
        return ("same", "") if config.BLOCK <= 256 else ("differ", "1 of 3 elements of out")


def test_bitwise_only_the_owners_bits_may_be_proven_and_memory_learns_nothing_from_it(session):
    session.device = Exact(session.memory)
    session.task = replace(session.task, bitwise=True)
    fast, slow = FaultyConfig(BLOCK=512), FaultyConfig(BLOCK=256)
    session.device.reading = lambda c, ms=None: Clockwork.reading(session.device, c, 2.0 - c.BLOCK / 1e6)
    session.measure([fast, slow], "a")
    assert session.best().config["BLOCK"] == 512
    assert session.finalists(5) == ([slow], 1)
    proof = session.prove(fast)
    assert (proof.status, proof.reason) == (
        "correctness",
        "its bits are not those of the owner's launch: 1 of 3 elements of out",
    )
    assert {row["status"] for row in session.memory.finished("run")} == {"correct"}


def test_bitwise_without_any_config_of_the_owners_bits_refuses_the_fastest_with_the_reason(session):
    session.device = Exact(session.memory)
    session.task = replace(session.task, bitwise=True)
    session.measure([FaultyConfig(BLOCK=512), FaultyConfig(BLOCK=1024)], "a")
    (only,), close = session.finalists(5)
    assert (only.BLOCK, close) == (512, 1)
    assert session.prove(only).status == "correctness"


def test_one_slow_compilation_does_not_take_all_of_a_short_run(session, monkeypatch):
    asked = []

    def compile_(spec, problem, configs, limit):
        asked.append(limit.batch_s)
        return [CompileResult(config=c.model_dump(mode="json"), status="correct") for c in configs]

    monkeypatch.setattr(session.pool, "compile", compile_)
    for block, seconds in ((128, 30.0), (256, 3.0), (512, 0.0)):
        session.budget.max_seconds = seconds
        session.compile([FaultyConfig(BLOCK=block)], "a")
    assert asked == [pytest.approx(10.0, abs=1.0), 4.0, 4.0]
