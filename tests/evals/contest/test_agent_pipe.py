"""The referee never waits for one agent while the others wait for it."""

from __future__ import annotations

import multiprocessing
import os
import struct
import threading

import pytest

from evals.contest import agent_pipe
from evals.contest.agent_pipe import Misuse, Pipe


@pytest.fixture
def ends():
    ours, theirs = multiprocessing.Pipe()
    yield Pipe(ours), theirs
    ours.close()
    theirs.close()


def test_a_part_of_a_message_is_none_and_nobody_waits_for_the_rest(ends):
    pipe, theirs = ends
    os.write(theirs.fileno(), struct.pack("!i", 6) + b"abc")
    assert (pipe.receive(), pipe.waits(), pipe.closed) == (None, False, False)
    os.write(theirs.fileno(), b"def")
    assert pipe.receive() == b"abcdef"


def test_messages_that_came_together_are_taken_one_by_one(ends):
    pipe, theirs = ends
    theirs.send_bytes(b"first")
    theirs.send_bytes(b"second")
    assert (pipe.receive(), pipe.waits()) == (b"first", True)
    assert (pipe.receive(), pipe.waits()) == (b"second", False)
    theirs.close()
    assert (pipe.receive(), pipe.closed) == (None, True)


@pytest.mark.parametrize("header", [struct.pack("!i", agent_pipe.MAX_MESSAGE + 1), struct.pack("!iQ", -1, 1 << 40)])
def test_a_message_that_is_too_long_is_refused_before_it_is_there(ends, header):
    pipe, theirs = ends
    os.write(theirs.fileno(), header)
    with pytest.raises(Misuse, match="more than 32 MiB"):
        pipe.receive()


def test_a_long_answer_is_whole(ends):
    pipe, theirs = ends
    answer, taken = os.urandom(8 << 20), []
    reader = threading.Thread(target=lambda: taken.append(theirs.recv_bytes()))
    reader.start()
    pipe.send(answer)
    reader.join()
    assert taken == [answer]


def test_an_agent_that_reads_no_answers_is_given_up(ends, monkeypatch):
    monkeypatch.setattr(agent_pipe, "SEND_S", 0.1)
    with pytest.raises(Misuse, match="does not read the answers"):
        ends[0].send(b"x" * (8 << 20))
