"""Turns on the GPU: one process at a time, reentrant, given up by the dead, and taken by Inductor's autotuners."""

import fcntl
import inspect
import json
import subprocess
import sys
import time

import pytest

from tools.harness.process import gpu_lock as module
from tools.harness.process.gpu_lock import Turns

pytestmark = pytest.mark.process

HOLD = """
import sys, time
from tools.harness.process.gpu_lock import Turns
with Turns(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path, seconds):
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "mine\n"
    return child


def test_a_turn_is_waited_for(tmp_path):
    child = holder(tmp_path / "turns", 0.5)
    began = time.monotonic()
    with Turns(str(tmp_path / "turns")):
        assert time.monotonic() - began > 0.2
    child.wait()


def test_the_dead_give_their_turn_up(tmp_path):
    child = holder(tmp_path / "turns", 60)
    child.kill()
    child.wait()
    with Turns(str(tmp_path / "turns")) as mine, mine:
        pass


def test_without_a_file_every_turn_is_granted():
    with Turns(None), Turns(None):
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


def test_autotuners_take_turns_and_are_left_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMPILER", (f"{__name__}:Autotuner.compiles",))
    monkeypatch.setattr(module, "AUTOTUNERS", (f"{__name__}:Autotuner.gone|classwise", f"{__name__}:Autotuner.ofone"))
    names = ("compiles", "classwise", "ofone")
    before = [inspect.getattr_static(Autotuner, name) for name in names]
    path = tmp_path / "turns"
    turns, one = Turns(str(path)), Autotuner()
    with turns.giving_way():
        assert not free(path)
        assert one.compiles(lambda: free(path)), "while it compiles others may have the GPU"
        assert not one.compiles(lambda: Autotuner.classwise(lambda: free(path))), "but for what it times there"
        assert not one.compiles(lambda: one.ofone(lambda: free(path)))
        assert one.compiles(lambda: free(path))
        assert not free(path)
    assert free(path)
    assert [inspect.getattr_static(Autotuner, name) for name in names] == before


def test_unknown_autotuners_have_one_turn_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMPILER", (f"{__name__}:Autotuner.compiles",))
    monkeypatch.setattr(module, "AUTOTUNERS", (f"{__name__}:Autotuner.gone",))
    path = tmp_path / "turns"
    assert not module.gives_way()
    with Turns(str(path)).giving_way():
        assert not Autotuner().compiles(lambda: free(path))


def test_a_turn_is_not_waited_for_beyond_ones_patience(tmp_path):
    child = holder(tmp_path / "turns", 60)
    turns = Turns(str(tmp_path / "turns"))
    assert not turns.take(0.05)
    child.kill()
    child.wait()
    assert turns.take(1)
    turns.give()


COMPILES = """
import fcntl, json, sys
import torch
from tools.harness.process.gpu_lock import AUTOTUNERS, COMPILER, Turns, _found

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

seen = []
turns = Turns(sys.argv[1])
with turns.giving_way():
    seen.append(("preparing", free()))
    torch.compile(lambda x: x + 1, backend=backend, fullgraph=True)(torch.ones(4))
print(json.dumps([seen, [_found(name)[0] is not None for name in (*COMPILER, *AUTOTUNERS)]]))
"""


def test_this_torchs_compiler_gives_way_and_its_autotuners_are_known(tmp_path):
    """Otherwise preparing baselines is right, and slow: the GPU waits while PyTorch compiles."""
    command = [sys.executable, "-c", COMPILES, str(tmp_path / "turns")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen, known = json.loads(done.stdout.splitlines()[-1])
    assert seen == [["preparing", False], ["compiling", True], ["running", False]]
    assert all(known)
