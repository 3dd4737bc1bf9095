"""What is compiled for launches before their searches, and in which order."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from agent.programs.improvement.preparing import compilations
from agent.programs.improvement.preparing.compilations import Compilations
from kernels.hardware import hardware_named
from tools.harness.device import MachineTrouble


class Config(str):
    __slots__ = ()

    def key(self):
        return str(self)


def job(name, tuned, promising):
    kernel = SimpleNamespace(
        owner_config=lambda: Config(f"{name} owner"),
        tuner_configs=lambda: [Config(f"{name} tuned {i}") for i in range(tuned)],
        promising=lambda problem, hardware: [Config(f"{name} look {i}") for i in range(promising)],
        default_problem=lambda: None,
    )
    return SimpleNamespace(kernel=kernel, launch=SimpleNamespace(digest=name))


class Pool:
    """Ends what it is told to end."""

    workers = 1

    def __init__(self, *about, **more):
        self.begun, self.closed = {}, False

    def submit(self, kernel, problem, config):
        self.begun[config] = Future()
        return self.begun[config]

    def close(self):
        self.closed = True
        for future in self.begun.values():
            future.cancel()


@pytest.fixture
def pool(monkeypatch):
    made = Pool()
    monkeypatch.setattr(compilations, "LocalCompilePool", lambda hardware, nice: made)
    return made


def test_the_first_of_each_launch_come_before_the_second_of_any(pool):
    made = Compilations(hardware_named("H200"))
    needed = made.begin(job("a", 2, 1))
    made.begin(job("b", 0, 2))
    assert len(needed) == 3
    assert made.begin(job("a", 2, 1)) == needed
    for _ in range(7):
        config, future = list(pool.begun.items())[-1]
        future.set_result(config)
    order = ["a owner", "b owner", "a tuned 0", "b look 0", "a tuned 1", "b look 1", "a look 0"]
    assert list(pool.begun) == order
    assert [f.result() for f in needed] == ["a owner", "a tuned 0", "a tuned 1"]


def test_what_waits_can_be_cancelled_and_trouble_is_handed_on(pool):
    made = Compilations(hardware_named("H200"))
    launch = job("a", 1, 1)
    owner, tuned = made.begin(launch)
    assert made.begun(launch)["a look 0"].cancel()
    assert not owner.cancel()
    pool.begun["a owner"].set_exception(MachineTrouble("the disk is full"))
    pool.begun["a tuned 0"].set_result("a tuned 0")
    assert list(pool.begun) == ["a owner", "a tuned 0"]
    with pytest.raises(MachineTrouble):
        owner.result(0)
    assert tuned.result(0) == "a tuned 0"


def test_nobody_waits_for_what_is_cancelled_at_the_end(pool):
    made = Compilations(hardware_named("H200"))
    futures = made.begin(job("a", 2, 0))
    made.close()
    assert pool.closed
    assert all(f.done() for f in futures)


@pytest.mark.parametrize(("codes", "same"), [(("a", "a"), True), (("a", "b"), False), ((None, None), False)])
def test_equal_machine_code_is_seen(pool, codes, same):
    made, launch = Compilations(hardware_named("H200")), job("a", 0, 0)
    launch.kernel.config_type = SimpleNamespace(model_validate=Config)
    assert not made.same_code(launch, "a other")  # nothing was compiled
    made.begin(launch)
    pool.begun["a owner"].set_result(SimpleNamespace(fingerprint=codes[0]))
    other: Future[SimpleNamespace] = Future()
    other.set_result(SimpleNamespace(fingerprint=codes[1]))
    pool.submit = lambda kernel, problem, config: other
    assert made.same_code(launch, "a other") is same


def test_without_a_gpu_nothing_is_compiled(pool):
    assert Compilations(None).begin(job("a", 2, 1)) == []
    assert not pool.begun
