"""Lines for the user from within a program, which must not end for them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Protocol

STDERR = 2
LOGGER = "autokernel"
"""The logger of what is used by a call in the program's own code, ``apply`` or ``capture``. A program that somebody
starts with a table knows nothing of it, and has its stderr."""


def say(line: str) -> None:
    """Write a line to the process's stderr, if there is one that takes it.

    ``sys.stderr`` is the program's: a test may compare what is written there, and a program may read it. So the line
    goes to the descriptor. A full disk, a pipe that nobody reads and a closed descriptor raise, and the program goes
    on. In a process that was started without stderr the descriptor may be any other file."""
    if sys.__stderr__ is None:
        return
    left = f"{line}\n".encode(errors="backslashreplace")
    with suppress(OSError):
        while left:
            left = left[os.write(STDERR, left) :]


class Log(Protocol):
    """Where lines go: ``logging.Logger`` is one. `message` holds places for `args`, as ``%`` fills them."""

    def info(self, message: str, *args: Any) -> None:
        """What is as it should be."""

    def warning(self, message: str, *args: Any) -> None:
        """What the user may want to change."""


class StderrLog:
    """Writes every line to the process's stderr."""

    def info(self, message: str, *args: Any) -> None:
        say(message % args)

    def warning(self, message: str, *args: Any) -> None:
        say(message % args)
