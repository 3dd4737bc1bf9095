"""Checks in the interpreter end with the time of their command."""

import threading
import time
from types import SimpleNamespace

from agent.programs.improvement.interpreter_checks import InterpreterChecks
from agent.programs.improvement.time_left import TimeLeft
from tools.harness.checking.interpreter import Interpreter
from tools.harness.results import CheckResult


def test_what_was_checked_in_time_counts_and_the_rest_is_not_waited_for(monkeypatch):
    closed = threading.Event()

    def check(self, spec, problem, configs, hardware):
        (config,) = configs
        assert config == "the owner's" or closed.wait(60)
        return [CheckResult(config={"of": config}, status="correct", where="interpreter")]

    monkeypatch.setattr(Interpreter, "check", check)
    monkeypatch.setattr(Interpreter, "close", lambda self: closed.set())
    began = time.monotonic()
    checks = InterpreterChecks(None, TimeLeft(began, 0.5))
    kernel = SimpleNamespace(promising=lambda problem, hardware: ["the owner's", "slow", "third", "fourth"])
    nothing = SimpleNamespace(reason="no reference")
    done, missed = checks.check(SimpleNamespace(kernel=kernel), None, None, nothing)
    assert [(c["config"], c["status"]) for c in done] == [({"of": "the owner's"}, "correct")]
    assert missed == 2  # of three that would be checked
    assert time.monotonic() - began < 10
    checks.close()
    assert closed.is_set()
