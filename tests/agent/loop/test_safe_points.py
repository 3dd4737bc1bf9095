"""Ctrl-C once lets the step end, twice does not."""

import os
import signal
import threading

import pytest

from agent.loop.safe_points import stoppable


class Steps:
    """A journal that keeps nothing."""

    def __init__(self):
        self.done = []

    def once(self, kind, key, make):
        self.done.append(key)
        return make()


def press():
    os.kill(os.getpid(), signal.SIGINT)
    return {}


def test_the_step_under_way_ends_and_no_other_begins():
    steps, said = Steps(), []
    with stoppable(steps, said.append) as journal:
        assert journal.once("tool_result", "first", press) == {}
        with pytest.raises(KeyboardInterrupt):
            journal.once("tool_result", "second", dict)
    assert steps.done == ["first"]
    assert "next safe point" in said[0]


def test_the_second_press_stops_at_once():
    def press_twice():
        press()
        press()
        pytest.fail("the second Ctrl-C was swallowed")

    with stoppable(Steps(), lambda line: None) as journal, pytest.raises(KeyboardInterrupt):
        journal.once("tool_result", "first", press_twice)


def test_the_handler_from_before_is_back_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with stoppable(Steps(), lambda line: None):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_there_are_no_signals_to_bind():
    found = []

    def work():
        with stoppable(Steps(), lambda line: None) as journal:
            found.append(journal.once("tool_result", "only", lambda: {"ok": True}))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [{"ok": True}]
