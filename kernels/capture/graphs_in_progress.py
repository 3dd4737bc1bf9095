"""Whether a CUDA graph is being captured in this process.

CUDA refuses some calls of any thread while one is (``cudaEventQuery``, allocation, synchronisation): such a call ends
the capture with an error in the program. Source: CUDA runtime API, cudaThreadExchangeStreamCaptureMode."""

from __future__ import annotations

_captures = 0


def begin_graph() -> None:
    global _captures
    _captures += 1


def end_graph() -> None:
    global _captures
    _captures = max(0, _captures - 1)


def in_progress() -> bool:
    return _captures > 0
