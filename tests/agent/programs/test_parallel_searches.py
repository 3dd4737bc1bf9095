"""Searches of several launches at once: how many, how they end, and what one error or Ctrl-C does to the others."""

import math
import os
import signal
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from agent.errors import AgentError
from agent.loop.progress import LineWatch
from agent.loop.safe_points import stoppable
from agent.programs.improvement import parallel_searches as room
from agent.programs.improvement.parallel_searches import Searches

GPU = SimpleNamespace(memory_bytes=80 * 10**9)


def job(name, bytes_=10**6):
    return SimpleNamespace(launch=SimpleNamespace(name=name, digest=f"{name}-digest", storages=[{"bytes": bytes_}]))


class Steps:
    def once(self, kind, key, make):
        return make()


def steps_until_stopped(begun):
    """A run that goes on until somebody stops it."""

    def search(watch):
        with stoppable(Steps(), watch.notify) as journal:
            begun.release()
            for n in range(10_000):
                journal.once("tool_result", str(n), lambda: time.sleep(0.002) or {})
        pytest.fail("nobody stopped the search")

    return search


def search_until_all_ended(lines, *runs):
    with Searches(len(runs), GPU, LineWatch(lines.append)) as searches:
        for i, run in enumerate(runs):
            searches.start(job(str(i)), run)
        while len(searches):
            searches.wait((), 30)


def test_two_meet_and_their_lines_bear_their_names():
    lines, meeting = [], threading.Barrier(2, timeout=20)

    def search(watch):
        meeting.wait()  # one after the other they would never meet
        watch.notify("  [1] met")

    with Searches(2, GPU, LineWatch(lines.append)) as searches:
        for name in ("first", "second"):
            assert searches.has_room_for(job(name))
            searches.start(job(name), search)
        assert not searches.has_room_for(job("third"))
    assert sorted(lines) == ["first first-di: [1] met", "second second-d: [1] met"]


def test_large_launches_go_alone():
    begun = threading.Event()
    with Searches(3, GPU, LineWatch(print)) as searches:
        assert searches.has_room_for(job("larger than the card", 10**12))
        searches.start(job("large", 2 * 10**9), lambda watch: begun.wait(20))
        assert searches.has_room_for(job("small"))
        assert not searches.has_room_for(job("large too", 2 * 10**9))
        begun.set()


def test_alone_it_is_over_when_start_returns_and_stays_in_this_thread():
    found = []
    with Searches(1, GPU, LineWatch(print)) as searches:
        searches.start(job("only"), lambda watch: found.append(threading.current_thread()))
        assert found == [threading.main_thread()]
        assert len(searches) == 0


def test_an_error_of_one_stops_the_others_and_is_raised():
    begun = threading.Semaphore(0)

    def fail(watch):
        begun.acquire(timeout=20)
        raise AgentError("the GPU is gone")

    with pytest.raises(AgentError, match="the GPU is gone"):
        search_until_all_ended([], steps_until_stopped(begun), fail)
    assert not [t for t in threading.enumerate() if t.name == "search"]


def test_the_first_press_stops_all_at_their_next_safe_point():
    begun, lines = threading.Semaphore(0), []

    def press(watch):
        for _ in range(2):
            assert begun.acquire(timeout=20)
        os.kill(os.getpid(), signal.SIGINT)

    endless = steps_until_stopped(begun)
    with pytest.raises(KeyboardInterrupt):
        search_until_all_ended(lines, endless, endless, press)
    assert "next safe point" in lines[0]
    deadline = time.monotonic() + 20
    while [t for t in threading.enumerate() if t.name == "search"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_press_while_none_goes_on_ends_the_wait(monkeypatch):
    monkeypatch.setattr(room, "LOOK_S", 0.01)
    with Searches(2, GPU, LineWatch(print)) as searches:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            searches.wait([Future()], 30)


def test_nobody_waits_for_nothing():
    with Searches(2, GPU, LineWatch(print)) as searches:
        searches.wait((), math.inf)


def test_the_cores_say_how_many(monkeypatch):
    found = []
    for cores in (1, 2, 9, 10, 16, 128):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=cores: set(range(n)))
        found.append(room.most_at_once())
    assert found == [1, 1, 1, 2, 3, 3]
