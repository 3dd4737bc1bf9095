"""What a captured program gets of the signals that are sent to the command."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys
number = int(sys.argv[1])
signal.signal(number, lambda *_: sys.exit(7))
print("ready", flush=True)
signal.pause()
"""
COMMAND = "import sys; from kernels.capture.start import run_with; sys.exit(run_with(sys.argv[1:], {}))"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_the_program_gets_what_was_sent_to_the_command(number):
    words = [sys.executable, "-c", COMMAND, sys.executable, "-c", PROGRAM, str(int(number))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout.readline() == "ready\n"
        command.send_signal(number)
        assert command.wait(20) == 7


def test_what_the_command_was_told_to_ignore_is_not_passed_on():
    end = PROGRAM.replace("signal.pause()", "signal.sigtimedwait([], 0.5)")
    words = [sys.executable, "-c", f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {COMMAND}"]
    with subprocess.Popen([*words, sys.executable, "-c", end, "1"], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout.readline() == "ready\n"
        command.send_signal(signal.SIGHUP)
        assert command.wait(20) == 0
