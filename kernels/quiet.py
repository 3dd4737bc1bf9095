"""Keeps what a user's code prints out of our answers, from any number of threads at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_inside = 0
_stdout: Any = None


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """What a kernel's own code prints goes to stderr: stdout is for the answer. The first to enter diverts it and the
    last to leave puts it back; ``contextlib.redirect_stdout`` would leave it diverted where two threads overlap."""
    global _inside, _stdout
    with _lock:
        if _inside == 0:
            _stdout, sys.stdout = sys.stdout, sys.stderr
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                sys.stdout, _stdout = _stdout, None
