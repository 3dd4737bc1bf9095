"""Ctrl-C: once stops the run at the next safe point, twice at once. Nothing is lost either way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

from agent.trace.trace import JSON, Journal

STOP: ContextVar[threading.Event | None] = ContextVar("stop", default=None)
"""Set by a thread that makes runs: the event stops them as Ctrl-C stops one in the main thread, where alone Python
delivers signals."""


class SafePoints:
    """A journal between whose steps a run can be stopped: what was begun is finished and written first."""

    def __init__(self, journal: Journal, stop: threading.Event) -> None:
        self._journal, self._stop = journal, stop

    def once(self, kind: str, key: str, make: Callable[[], JSON]) -> JSON:
        """A step of the journal. Raises KeyboardInterrupt instead of beginning one after a stop was asked for."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        return self._journal.once(kind, key, make)


@contextmanager
def stoppable(journal: Journal, notify: Callable[[str], None]) -> Iterator[SafePoints]:
    """The journal with safe points, and SIGINT bound to them while the context lasts."""
    stop = STOP.get() or threading.Event()
    with first_interrupt_sets(stop, notify):
        yield SafePoints(journal, stop)


def first_interrupt_sets(stop: threading.Event, notify: Callable[[str], None]) -> AbstractContextManager[None]:
    """While it lasts, the first Ctrl-C sets `stop`, and the second raises KeyboardInterrupt."""

    def first(signum: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        notify("stopping at the next safe point; press Ctrl-C again to stop at once")

    return interrupts_go_to(first)


def ending_at_once() -> AbstractContextManager[None]:
    """While it lasts, the first Ctrl-C raises KeyboardInterrupt: nothing that was begun has to be finished."""
    return interrupts_go_to(signal.default_int_handler)


@contextmanager
def interrupts_go_to(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    """While it lasts, SIGINT goes to `handler`, in the main thread, where Python delivers signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
