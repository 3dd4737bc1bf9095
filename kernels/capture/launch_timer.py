"""GPU time of a launch, read from events around the first few repetitions of it."""

from __future__ import annotations

import sys
from typing import Any

from .graphs_in_progress import in_progress

READINGS = 5
"""Of each distinct launch. The first launch compiles and is not among them."""
HELD_CYCLES = 1_000_000
"""For about half a millisecond the GPU is kept busy before a reading, so that it reaches the first event when the
launch and the second event are queued behind it. What the host needs for a launch is longer than many kernels."""


class Timing:
    """One reading under way."""

    def __init__(self, start: Any, stop: Any) -> None:
        self.start, self.stop = start, stop

    def end(self) -> None:
        self.stop.record()


class LaunchTimer:
    """Readings of one distinct launch."""

    def __init__(self) -> None:
        self.pending: list[Timing] = []
        self.left = READINGS

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Timing | None:
        """Start a reading on the current stream; None if the launch cannot be timed."""
        self.left -= 1
        if not any(getattr(a, "is_cuda", False) for a in (*args, *kwargs.values())):
            self.left = 0
            return None
        torch = sys.modules["torch"]
        if in_progress() or torch.cuda.is_current_stream_capturing():
            return None
        timing = Timing(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        torch.cuda._sleep(HELD_CYCLES)
        timing.start.record()
        self.pending.append(timing)
        return timing

    def read(self) -> list[float]:
        """Milliseconds of the readings that are complete. None while a CUDA graph is being captured."""
        if in_progress():
            return []
        done = [t for t in self.pending if t.stop.query()]
        self.pending = [t for t in self.pending if t not in done]
        # An event that was not recorded counts as complete, and its launch raised.
        found = []
        for t in done:
            try:
                found.append(round(t.start.elapsed_time(t.stop), 6))
            except (RuntimeError, ValueError):
                continue
        return found
