"""Whatever a compilation does, the config gets its true status and the next one compiles."""

import os
import re
import signal
import threading
import time

import pytest

from kernels.hardware import hardware_named
from tests.exploits.axpy import Axpy, AxpyConfig, AxpyProblem
from tests.faults import broken
from tests.faults.broken import FaultyConfig
from tests.faults.slow_to_import import SECONDS, SlowToImport
from tools.harness.compiling.compile_pool import LocalCompilePool
from tools.harness.device import CompileLimit, MachineTrouble

pytestmark = pytest.mark.compile

PROBLEM, CONFIG = AxpyProblem(), AxpyConfig()


@pytest.fixture(scope="module")
def new_pool(tmp_path_factory):
    """A function: a pool of one compiler with a cold cache."""
    pools = []

    def new():
        cache = tmp_path_factory.mktemp("pool") / "cache"
        pools.append(LocalCompilePool(hardware_named("H200"), workers=1, cache=cache, deadline_s=30))
        return pools[-1]

    yield new
    for each in pools:
        each.close()


@pytest.fixture(scope="module")
def shared_pool(new_pool):
    return new_pool()


@pytest.fixture
def pool(shared_pool):
    """One pool for all: each fault has to leave a pool that serves the next test."""
    shared_pool.deadline_s = 30
    return shared_pool


def compiles(pool):
    [r] = pool.compile(Axpy(), PROBLEM, [CONFIG])
    return r.status == "correct" and r.registers > 0


@pytest.mark.parametrize(
    ("kernel", "status", "reason"),
    [
        (broken.CompilerRefuses, "compile", "VALUE has to be two"),
        (broken.Segfaults, "compile", "SIGSEGV"),
        (broken.Exits, "compile", "exit code 7"),
        (broken.LaunchesNothing, "compile", "started no Triton kernel"),
        (broken.Raises, "compile", "IndexError: list index out of range"),
    ],
)
def test_a_failure_has_its_status_and_reason_and_the_next_compilation_works(pool, kernel, status, reason):
    [r] = pool.compile(kernel(), PROBLEM, [CONFIG])
    assert r.status == status
    assert reason in r.reason
    assert "\n" not in r.reason
    assert compiles(pool)


def test_a_full_disk_is_no_configs_fault_and_the_next_compilation_works(pool):
    with pytest.raises(MachineTrouble, match=r"No space left on device.*free some space"):
        pool.compile(broken.DiskFull(), PROBLEM, [CONFIG])
    assert compiles(pool)


def test_of_a_batch_that_is_too_large_for_its_time_the_last_are_not_begun(pool):
    assert compiles(pool)
    many = [AxpyConfig(BLOCK=b) for b in (256, 512, 1024, 2048)]
    results = pool.compile(broken.CompilerHangs(), PROBLEM, many, CompileLimit(0.5))
    assert results[0].status == "timeout"  # one compiler
    assert {r.status for r in results[1:]} == {"infrastructure"}
    assert re.fullmatch(r"not compiled: its turn came after 0\.\d+ s of the 0\.5 s that all had", results[1].reason)
    assert [r.status for r in pool.compile(Axpy(), PROBLEM, many)] == ["correct"] * 4


def test_a_compilation_past_its_deadline_is_killed(pool):
    assert compiles(pool)
    pool.deadline_s = 0.5
    [r] = pool.compile(broken.CompilerHangs(), PROBLEM, [CONFIG])
    assert r.status == "timeout"
    pool.deadline_s = 30
    assert compiles(pool)


def test_a_batch_brings_its_own_deadline_which_is_never_longer(pool):
    pool.deadline_s = 30
    assert compiles(pool)
    [r] = pool.compile(broken.CompilerHangs(), PROBLEM, [CONFIG], CompileLimit(0.5))
    assert (r.status, r.reason) == ("timeout", "compilation took over 0.5 s")
    pool.deadline_s = 0.5
    [r] = pool.compile(broken.CompilerHangs(), PROBLEM, [CONFIG], CompileLimit(30))
    assert r.reason == "compilation took over 0.5 s"


def test_what_a_compiler_takes_to_start_is_no_configs_time(new_pool, monkeypatch):
    monkeypatch.setenv(SECONDS, "1.5")
    pool = new_pool()
    results = pool.compile(SlowToImport(), PROBLEM, [FaultyConfig(), FaultyConfig(BLOCK=512)], CompileLimit(1.2))
    assert [r.status for r in results] == ["correct", "correct"]


def test_a_batch_ends_at_its_time_if_something_has_compiled_and_nobody_is_to_blame(pool):
    assert compiles(pool)
    configs = [FaultyConfig(), FaultyConfig(n=12), FaultyConfig(n=60)]
    began = time.monotonic()
    results = pool.compile(SlowToImport(), PROBLEM, configs, CompileLimit(30, ends_at=began + 0.6))
    assert time.monotonic() - began < 1.1
    assert [r.status for r in results] == ["correct", "infrastructure", "infrastructure"]
    assert {r.reason for r in results[1:]} == {"not compiled: the time was up"}


def test_a_batch_goes_on_until_something_has_compiled_but_no_longer_than_it_may(pool):
    assert compiles(pool)
    began = time.monotonic()
    [late] = pool.compile(SlowToImport(), PROBLEM, [FaultyConfig(n=3)], CompileLimit(30, ends_at=began))
    assert late.status == "correct"
    limit = CompileLimit(30, ends_at=time.monotonic(), latest=time.monotonic() + 0.3)
    [cut] = pool.compile(SlowToImport(), PROBLEM, [FaultyConfig(n=20)], limit)
    assert (cut.status, cut.reason) == ("infrastructure", "not compiled: the time was up")


def test_a_compiler_killed_from_outside_is_no_fault_of_the_config(new_pool):
    """Killed once: compiled again. The kernel is one that takes its time, so that the kill hits it."""
    pool = new_pool()
    assert compiles(pool)
    [child] = pool._all
    threading.Timer(0.3, os.kill, (child.process.pid, signal.SIGKILL)).start()
    started = time.monotonic()
    pool.deadline_s = 2.0
    [r] = pool.compile(broken.CompilerHangs(), PROBLEM, [CONFIG])
    assert r.status == "timeout", "the second try has to have been made, and hit its own deadline"
    assert time.monotonic() - started > 2.0


def test_a_pool_that_is_closed_at_work_starts_no_other_compiler(new_pool):
    pool, found = new_pool(), []
    assert compiles(pool)
    work = threading.Thread(target=lambda: found.extend(pool.compile(broken.CompilerHangs(), PROBLEM, [CONFIG])))
    work.start()
    time.sleep(0.3)
    pool.close()
    work.join(5)
    assert [(r.status, r.reason.partition(":")[0]) for r in found] == [("infrastructure", "the compiler was closed")]
    assert len(pool._all) == 1
    assert not pool._all[0].alive


def test_the_second_compilation_is_a_cache_hit_with_the_same_figures(new_pool):
    pool = new_pool()
    [first] = pool.compile(Axpy(), PROBLEM, [CONFIG])
    started = time.perf_counter()
    [second] = pool.compile(Axpy(), PROBLEM, [CONFIG])
    assert first == second
    assert time.perf_counter() - started < first.seconds
