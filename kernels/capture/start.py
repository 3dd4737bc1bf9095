"""The environment in which every Python process of a program records itself or applies a table, and the program's
start in it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from kernels.capture.begin import FILE_VARIABLE, VALUES_VARIABLE

SITE = Path(__file__).parent / "site"
"""Python loads ``sitecustomize`` from the first folder of its path that has one."""
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What others send to the process that they started, such as a scheduler before it takes the machine away: the program
decides what it means."""


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
    """Run `command` with our terminal; its exit code, or 128 + N if signal N ended it, as a shell reports it.

    Raises OSError if it cannot be started."""
    process = subprocess.Popen(command, env=environment(variables))

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    # A terminal sends Ctrl-C to both; the program decides what it means.
    previous = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    for number in PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            previous[number] = signal.signal(number, pass_on)
    try:
        code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
