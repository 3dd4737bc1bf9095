"""GpuLock on the GPU: one process at a time, reentrant, given up by the dead, and taken by Inductor's autotuners."""

import fcntl
import inspect
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from tools.harness.device import DeviceError
from tools.harness.process import gpu_lock as module
from tools.harness.process.gpu_lock import GpuLock

pytestmark = pytest.mark.process

HOLD = """
import sys, time
from tools.harness.process.gpu_lock import GpuLock
with GpuLock(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path, seconds):
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "mine\n"
    return child


def test_the_lock_is_waited_for(tmp_path):
    child = holder(tmp_path / "lock", 0.5)
    began = time.monotonic()
    with GpuLock(str(tmp_path / "lock")):
        assert time.monotonic() - began > 0.2
    child.wait()


def test_a_dead_holder_releases_the_lock(tmp_path):
    child = holder(tmp_path / "lock", 60)
    child.kill()
    child.wait()
    with GpuLock(str(tmp_path / "lock")) as mine, mine:
        pass


def test_without_a_file_every_process_gets_the_lock():
    with GpuLock(None), GpuLock(None):
        pass


def free(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class Autotuner:
    def compiles(self, look):
        return look()

    @classmethod
    def classwise(cls, look):
        return look()

    def ofone(self, look):
        return look()


def test_autotuners_take_the_lock_and_are_left_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMPILER", (f"{__name__}:Autotuner.compiles",))
    monkeypatch.setattr(module, "AUTOTUNERS", (f"{__name__}:Autotuner.gone|classwise", f"{__name__}:Autotuner.ofone"))
    names = ("compiles", "classwise", "ofone")
    before = [inspect.getattr_static(Autotuner, name) for name in names]
    path = tmp_path / "lock"
    lock, one, settled = GpuLock(str(path)), Autotuner(), []
    with lock.released_while_compiling(lambda: settled.append(free(path))):
        assert not free(path)
        assert one.compiles(lambda: free(path)), "while it compiles others may have the GPU"
        assert not one.compiles(lambda: Autotuner.classwise(lambda: free(path))), "but for what it times there"
        assert not one.compiles(lambda: one.ofone(lambda: free(path)))
        assert one.compiles(lambda: free(path))
        nested = one.compiles(lambda: one.ofone(lambda: (free(path), one.compiles(lambda: free(path)), free(path))))
        assert nested == (False, True, False), "what it times may compile first"
        assert not free(path)
    assert free(path)
    assert settled == [False] * 9, "what was launched has ended before others get the GPU"
    assert [inspect.getattr_static(Autotuner, name) for name in names] == before


def test_another_thread_of_the_preparation_compiles_and_times(tmp_path, monkeypatch):
    """Autograd compiles a backward pass in a thread of its own, for which the thread that prepares waits."""
    monkeypatch.setattr(module, "COMPILER", (f"{__name__}:Autotuner.compiles",))
    monkeypatch.setattr(module, "AUTOTUNERS", (f"{__name__}:Autotuner.ofone",))
    path, one, seen = tmp_path / "lock", Autotuner(), []

    def look():
        seen.append((free(path), one.ofone(lambda: free(path)), free(path)))

    with GpuLock(str(path)).released_while_compiling(lambda: None):
        other = threading.Thread(target=one.compiles, args=(look,), daemon=True)
        other.start()
        other.join(5)
        assert seen == [(True, False, True)]
        assert not free(path)
    assert free(path)


def test_with_unknown_autotuners_the_lock_is_held_throughout(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMPILER", (f"{__name__}:Autotuner.compiles",))
    monkeypatch.setattr(module, "AUTOTUNERS", (f"{__name__}:Autotuner.gone",))
    path = tmp_path / "lock"
    assert not module.can_release_while_compiling()
    with GpuLock(str(path)).released_while_compiling(lambda: None):
        assert not Autotuner().compiles(lambda: free(path))


def test_a_wait_ends_at_its_deadline(tmp_path):
    child = holder(tmp_path / "lock", 60)
    lock = GpuLock(str(tmp_path / "lock"))
    assert not lock.acquire(0.05)
    child.kill()
    child.wait()
    assert lock.acquire(1)
    lock.release()


MEASURES = """
import sys, time
from pathlib import Path
from tools.harness.process.gpu_lock import GpuLock
lock, held = GpuLock(sys.argv[1]), Path(sys.argv[2])
while True:
    with lock:
        with held.open("a") as f:
            f.write("x")
        time.sleep(0.01)
"""


def test_a_waiter_gets_its_turn_though_the_holder_takes_the_lock_again_at_once(tmp_path):
    """A loop of measurements must not starve the preparation of a baseline, which takes the lock many times."""
    path, held = str(tmp_path / "lock"), tmp_path / "held"
    child = subprocess.Popen([sys.executable, "-c", MEASURES, path, str(held)])
    while not held.exists():
        time.sleep(0.01)
    waited, lock = [], GpuLock(path)
    for _ in range(30):
        before = held.stat().st_size
        with lock:
            waited.append(held.stat().st_size - before)
        time.sleep(0.002)
    child.kill()
    child.wait()
    # A lock without turns lets hundreds by; one wait may be long where other processes have the cores.
    assert sorted(waited)[len(waited) // 2] <= 10, f"measurements that ran while this process waited: {waited}"
    assert max(waited) <= 100, waited


def test_a_wait_without_a_deadline_costs_no_cpu_time(tmp_path):
    """The host's cores are busy with what is timed."""
    child, lock = holder(tmp_path / "lock", 1.0), GpuLock(str(tmp_path / "lock"))
    began = time.thread_time()
    with lock:
        assert time.thread_time() - began < 0.01
    child.wait()


COMPILES = """
import fcntl, json, sys, threading
import torch
from torch._inductor.compile_fx import _InProcessFxCompile
from tools.harness.process.gpu_lock import AUTOTUNERS, COMPILER, GpuLock, _resolve

def free():
    with open(sys.argv[1]) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

def backend(graph, inputs):
    seen.append(("compiling", free()))
    def run(*given):
        seen.append(("running", free()))
        return graph(*given)
    return run

def codegen(self, *given, _original=_InProcessFxCompile.codegen_and_compile, **named):
    seen.append(("generating", threading.current_thread() is threading.main_thread(), free()))
    return _original(self, *given, **named)

_InProcessFxCompile.codegen_and_compile = codegen
seen = []
lock = GpuLock(sys.argv[1])
with lock.released_while_compiling(lambda: None):
    seen.append(("preparing", free()))
    torch.compile(lambda x: x + 1, backend=backend, fullgraph=True)(torch.ones(4))
    out = torch.compile(lambda x: (x * x).sum())(torch.ones(4, requires_grad=True))
    backward = threading.Thread(target=out.backward, daemon=True)  # as autograd runs it for a GPU
    backward.start()
    backward.join()
print(json.dumps([seen, [_resolve(name)[0] is not None for name in (*COMPILER, *AUTOTUNERS)]]))
"""


@pytest.mark.long
def test_this_torchs_compiler_releases_the_lock_and_its_autotuners_are_known(tmp_path):
    """Otherwise preparing baselines is right, and slow: the GPU waits while PyTorch compiles."""
    command = [sys.executable, "-c", COMPILES, str(tmp_path / "lock")]
    fresh = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    done = subprocess.run(command, env=fresh, capture_output=True, text=True, check=True)
    seen, known = json.loads(done.stdout.splitlines()[-1])
    compiled = [["preparing", False], ["compiling", True], ["running", False]]
    assert seen == [*compiled, ["generating", True, True], ["generating", False, True]]
    assert all(known)


def test_the_environment_names_a_lock_for_processes_that_share_a_gpu(tmp_path, monkeypatch):
    monkeypatch.delenv(module.VARIABLE, raising=False)
    assert module.named_lock() is None
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "gpu"))
    assert module.named_lock() == tmp_path / "gpu"
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "missing" / "gpu"))
    with pytest.raises(DeviceError, match="cannot be opened"):
        module.named_lock()
