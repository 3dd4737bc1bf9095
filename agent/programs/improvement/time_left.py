"""How much of ``--max-seconds`` is left, and how much of it has to stay free for a proof.

A search ends when it is told to. What comes after it takes the time that it takes: finalists are compared, one or two
have their sitting, and a proven config is read once more beside the owner's launch. How long that is depends on the
launches, so it is taken from what earlier launches of the same command needed.
"""

from __future__ import annotations

import threading
import time

SITTING_S = 3.5
"""Seconds from the end of a search to its verdict, before a launch of this command has shown them."""
READING_S = 1.5
"""The same for what follows a proof: float64, and the times beside the owner's launch."""


class TimeLeft:
    """Of one command. Searches in several threads share it."""

    def __init__(self, began: float, seconds: float) -> None:
        """`began`: ``time.monotonic()`` from which the `seconds` count."""
        self.seconds = seconds
        self.ends_at = began + seconds
        self._sitting_s: float | None = None
        self._reading_s: float | None = None
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds, 0 at least."""
        return max(0.0, self.ends_at - time.monotonic())

    @property
    def was_up(self) -> str:
        """What is said of what there was no time for, as a sentence's end."""
        return f"the time was up (--max-seconds {self.seconds:g})"

    @property
    def reading_s(self) -> float:
        """Seconds for what follows a proof: the most that any needed, because nothing of it can be left out."""
        return READING_S if self._reading_s is None else self._reading_s

    @property
    def proof_s(self) -> float:
        """Seconds from the end of a search to the launch's row. A sitting takes what it is given, so the shortest one
        shows what is needed."""
        return (SITTING_S if self._sitting_s is None else self._sitting_s) + self.reading_s

    def note_sitting(self, seconds: float) -> None:
        """A search was followed by so long a sitting."""
        with self._lock:
            self._sitting_s = seconds if self._sitting_s is None else min(self._sitting_s, seconds)

    def note_reading(self, seconds: float) -> None:
        """A proof was followed by so much more."""
        with self._lock:
            self._reading_s = max(self._reading_s or 0.0, seconds)
