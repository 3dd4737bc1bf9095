"""Sends what a user's code prints to stderr, because stdout is for results. Any number of threads may do so at once."""

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
    """Within it, stdout is stderr. The first thread to enter redirects stdout, and the last to leave restores it.
    ``contextlib.redirect_stdout`` would leave it redirected if two threads overlap."""
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
