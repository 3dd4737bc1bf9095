"""Every command line, as a process: a reader that has gone ends it quietly, and a mistake keeps its exit code."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from memory.command_line.closed_stdout import CLOSED_STDOUT, ends_quietly, run_click

PRINTING = [
    ["kernels", "list", "softmax", "--json"],
    ["evals", "--help"],
    ["memory", "--help"],
    ["agent", "--help"],
    ["agent"],
    ["tools", "list", "--json"],
]
MISTAKEN = [
    ["kernels", "nope"],
    ["evals", "nope"],
    ["memory", "nope"],
    ["agent", "--nope"],
    ["tools", "nope"],
]


def test_a_closed_stdout_ends_every_command_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    started = [
        subprocess.Popen([sys.executable, "-m", *words], stdout=writing, stderr=subprocess.PIPE) for words in PRINTING
    ]
    os.close(writing)
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert ended == [(b"", CLOSED_STDOUT)] * len(PRINTING)


def test_a_mistake_is_one_sentence_and_exit_code_2_from_every_door():
    started = [
        subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in MISTAKEN
    ]
    for process, words in zip(started, MISTAKEN, strict=True):
        _, stderr = process.communicate()
        assert process.returncode == 2, (words, stderr)
        assert stderr.startswith("error: "), words
        assert stderr.count("\n") == 1, words


def test_another_broken_pipe_is_raised():
    @click.command()
    def command():
        raise BrokenPipeError("a child process has ended")

    with pytest.raises(BrokenPipeError, match="child process"):
        ends_quietly(lambda: run_click(command, "test", []))()


def test_without_a_stdout_a_command_still_runs():
    code = "import sys; from memory.commands import main; sys.exit(main(['--help']))"
    assert subprocess.run(f'"{sys.executable}" -c "{code}" >&-', shell=True).returncode == 0
