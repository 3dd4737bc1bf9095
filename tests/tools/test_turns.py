"""Turns on the GPU: one process at a time, reentrant, given up by the dead, and taken by Inductor's autotuners."""

import inspect
import json
import subprocess
import sys
import time

from tools.harness import turns as module
from tools.harness.turns import Turns

HOLD = """
import sys, time
from tools.harness.turns import Turns
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


class Noting(Turns):
    def __init__(self):
        super().__init__(None)
        self.taken = 0

    def __enter__(self):
        self.taken += 1
        return super().__enter__()


class Autotuner:
    @classmethod
    def classwise(cls, x):
        return (cls, x)

    def ofone(self, x):
        return (self, x)


def test_autotuners_take_turns_and_are_left_as_they_were(monkeypatch):
    monkeypatch.setattr(module, "AUTOTUNERS", ((__name__, "Autotuner", "classwise"), (__name__, "Autotuner", "ofone")))
    before = [inspect.getattr_static(Autotuner, name) for name in ("classwise", "ofone")]
    turns, one = Noting(), Autotuner()
    with turns.for_autotuning():
        assert turns.taken == 0
        assert Autotuner.classwise(1) == (Autotuner, 1)
        assert one.ofone(2) == (one, 2)
        assert turns.taken == 2
    assert [inspect.getattr_static(Autotuner, name) for name in ("classwise", "ofone")] == before


def test_unknown_autotuners_have_one_turn_for_all(monkeypatch):
    monkeypatch.setattr(module, "AUTOTUNERS", ((__name__, "Autotuner", "gone"),))
    turns = Noting()
    with turns.for_autotuning():
        assert turns.taken == 1


def test_this_torchs_autotuners_are_known():
    """Otherwise preparing baselines is right, and slow: the GPU waits while PyTorch compiles."""
    code = (
        "import importlib, inspect, json\nfrom tools.harness.turns import AUTOTUNERS\n"
        "print(json.dumps([inspect.getattr_static(getattr(importlib.import_module(m), o), n, None) is not None "
        "for m, o, n in AUTOTUNERS]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [True, True]
