"""Lines for the user from within a program, which must not end for them."""

from __future__ import annotations

import sys
from contextlib import suppress


def say(line: str) -> None:
    """Print a line to stderr, if there is one that takes it.

    A full disk, a pipe that nobody reads and a closed stderr raise in ``print``. Without stderr ``print`` would take
    stdout, which is the program's alone."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)
