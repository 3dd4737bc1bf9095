"""Ctrl-C: once stops the run at the next safe point, twice at once. Nothing is lost either way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from agent.trace.trace import JSON, Journal


class SafePoints:
    """A journal between whose steps a run can be stopped: what was begun is finished and written first."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.stopping = False

    def once(self, kind: str, key: str, make: Callable[[], JSON]) -> JSON:
        """A step of the journal. Raises KeyboardInterrupt instead of beginning one after a stop was asked for."""
        if self.stopping:
            raise KeyboardInterrupt
        return self._journal.once(kind, key, make)


@contextmanager
def stoppable(journal: Journal, notify: Callable[[str], None]) -> Iterator[SafePoints]:
    """The journal with safe points, and SIGINT bound to them while the context lasts (in the main thread, where Python
    delivers signals)."""
    points = SafePoints(journal)

    def first(signum: int, frame: FrameType | None) -> None:
        points.stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        notify("stopping at the next safe point; press Ctrl-C again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield points
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        yield points
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """While it lasts, the first Ctrl-C raises KeyboardInterrupt: nothing that was begun has to be finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
