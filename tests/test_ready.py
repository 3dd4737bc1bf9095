"""What the GPU's tests share, with workers that need none."""

import pytest

from kernels.hardware import hardware_named
from tests.exploits.axpy import Axpy, AxpyConfig, AxpyProblem
from tests.faults.broken import Faulty, FaultyConfig
from tests.ready import CompiledAhead, ReadyWorkers

pytestmark = pytest.mark.process
PROBLEM = AxpyProblem(N=1 << 28)


def processes(prestart):
    return {child.process.pid for waiting in prestart._waiting.values() for child in waiting}


@pytest.fixture
def ready(tmp_path):
    found = ReadyWorkers(tmp_path, "tests.tools.scripted:breaking", pairs=2)
    yield found
    found.close()


def test_each_device_has_a_pair_that_waited_and_another_takes_its_place(ready):
    first, second = map(processes, ready.waiting)
    for pair in (first, second):
        device = ready.open(Faulty(), PROBLEM)
        assert device.prove(FaultyConfig(), max_seconds=0).status == "correct"
        assert {child.process.pid for child in device.workers.by_role.values()} == pair
        assert device.workers.standby == []
        device.close()
    assert len(ready.waiting) == 2
    assert not (first | second) & set().union(*map(processes, ready.waiting))


def test_what_happens_to_one_devices_processes_is_not_the_next_ones(ready):
    device = ready.open(Faulty(), PROBLEM)
    assert device.measure([FaultyConfig(fault="segfault")])[0].status == "runtime"
    device.close()
    device = ready.open(Faulty(), PROBLEM)
    before = device.workers.by_role["candidates"].process.pid
    assert device.measure([FaultyConfig()])[0].status == "correct"
    assert device.workers.by_role["candidates"].process.pid == before
    device.close()


def test_nobody_is_left(ready):
    children = [child for pair in ready.waiting for waiting in pair._waiting.values() for child in waiting]
    assert len(children) == 4
    ready.close()
    assert not any(child.alive for child in children)


def test_a_case_that_was_begun_is_compiled_when_it_was_waited_for(compile_pool):
    cases = [(AxpyProblem(), AxpyConfig(BLOCK=b)) for b in (256, 512)]
    ahead = CompiledAhead(compile_pool("H200"), Axpy(), cases)
    found = [ahead.wait(*case) for case in cases]
    assert [f.config["BLOCK"] for f in found] == [256, 512]
    assert {f.status for f in found} == {"correct"}
    assert hardware_named("H200").name == compile_pool("H200").hardware.name
    with pytest.raises(KeyError):
        ahead.wait(AxpyProblem(), AxpyConfig(BLOCK=1024))
