"""The environment in which every Python process of a program records itself or applies a table, and the program's
start in it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from kernels.capture.begin import FILE_VARIABLE, VALUES_VARIABLE

SITE = Path(__file__).parent / "site"
"""Python loads ``sitecustomize`` from the first folder of its path that has one."""
NOTICES = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What would end this process by itself, and leave the program running."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, *NOTICES)
"""What others send to the process that they started, such as a scheduler before it takes the machine away: the program
decides what it means."""
SETTLE_S = 0.1
"""Time in which a signal that is sent to a group of processes reaches each of them."""
LOOK_S = 1.0
"""How often the witness looks whether its parent lives."""


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `variables`, which each Python process below reads as it starts."""
    before = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SITE), before]) if before else str(SITE),
        **variables,
    }


def run_program(command: Sequence[str], path: str, values: str) -> int:
    """Run `command` so that each Python process of it records into `path`; see :func:`run_with`."""
    return run_with(command, {FILE_VARIABLE: str(Path(path).resolve()), VALUES_VARIABLE: values})


def run_with(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run `command` with our terminal and what else was opened for it (``<(…)`` of a shell, pipes of make); its exit
    code, or 128 + N if signal N ended it, as a shell reports it.

    Raises OSError if it cannot be started."""
    with ProgramSignals(PASSED_ON) as signals:
        process = subprocess.Popen(command, env=environment(variables), close_fds=False)
        signals.pass_to(process)
        code = process.wait()
    return code if code >= 0 else 128 - code


def run_captured(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `command` and keep what it prints. NOTICES are passed on to it; whatever else ends the wait kills it.

    Raises OSError if it cannot be started, and KeyboardInterrupt after its end if there was a SIGHUP meanwhile."""
    with (
        ProgramSignals(NOTICES) as signals,
        subprocess.Popen(
            command, env=environment(variables), close_fds=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace",
        ) as process,
    ):  # fmt: skip
        try:
            signals.pass_to(process)
            out, err = process.communicate()
        except BaseException:
            process.kill()
            raise
    if signal.SIGHUP in signals.got:
        raise KeyboardInterrupt
    return subprocess.CompletedProcess(command, process.returncode, out, err)


class ProgramSignals:
    """While it lasts, signals that this process gets are for a program of its own.

    One that was sent to the whole group of processes, as a terminal sends Ctrl-C, has reached the program already; one
    that was sent to this process alone is passed on. What this process ignores (nohup) stays ignored."""

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self.got: list[int] = []
        self._early: list[int] = []
        # Python hears signals in its main thread; a program that another thread runs gets what is sent to it.
        hears = threading.current_thread() is threading.main_thread()
        self._numbers = [n for n in numbers if hears and signal.getsignal(n) is not signal.SIG_IGN]
        self._program: subprocess.Popen[Any] | None = None

    def __enter__(self) -> ProgramSignals:
        self._witness = GroupWitness(self._numbers) if self._numbers else None
        self._previous = {number: signal.signal(number, self._answer) for number in self._numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._witness is not None:
            self._witness.end()

    def pass_to(self, program: subprocess.Popen[Any]) -> None:
        """`program` has started: it gets what came before that, too."""
        self._program = program
        while self._early:
            program.send_signal(self._early.pop(0))

    def _answer(self, number: int, frame: FrameType | None) -> None:
        self.got.append(number)
        program = self._program
        if program is None:
            self._early.append(number)
        elif not (self._witness is not None and self._witness.has_heard(number) and in_our_group(program)):
            program.send_signal(number)


def in_our_group(process: subprocess.Popen[Any]) -> bool:
    """Whether a program is in this process's group, as it is from its start until it leaves."""
    try:
        return os.getpgid(process.pid) == os.getpgrp()
    except ProcessLookupError:
        return False


WITNESS = """
import os, signal, sys
write, parent, look, *numbers = (float(word) for word in sys.argv[1:])
while os.getppid() == parent:
    got = signal.sigtimedwait([int(n) for n in numbers], look)
    if got is not None:
        os.write(int(write), bytes([got.si_signo]))
"""


class GroupWitness:
    """A process in our group that reports which signals it got: they were sent to the whole group.

    It is no fork of this one, whose memory may be large: the pages of both would be copied as they are written."""

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self._heard: dict[int, float] = {}
        self._reports, write = os.pipe()
        os.set_blocking(self._reports, False)
        words = [write, os.getpid(), LOOK_S, *(int(n) for n in numbers)]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # it inherits this, and waits for them
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", WITNESS, *map(str, words)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[write],
            )  # fmt: skip
        except BaseException:
            os.close(self._reports)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(write)

    def has_heard(self, number: int) -> bool:
        """Whether the group just got this signal. Called when this process has got it."""
        time.sleep(SETTLE_S)
        with suppress(BlockingIOError):
            self._heard |= dict.fromkeys(os.read(self._reports, 1000), time.monotonic())
        return time.monotonic() - self._heard.get(number, -math.inf) < 2 * SETTLE_S

    def end(self) -> None:
        """End the witness."""
        self._process.kill()
        self._process.wait()
        os.close(self._reports)
