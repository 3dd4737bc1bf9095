"""Reads a capture and finds the launches that the user names. Imports neither PyTorch nor Triton, so that a mistake is
told at once."""

from __future__ import annotations

from pathlib import Path

from agent.errors import UsageError
from kernels.capture.capture_file import NotACapture
from kernels.capture.reading.captured_launches import Capture, CapturedLaunch, read_capture


def open_capture(path: Path) -> Capture:
    """The capture in a file. Raises UsageError."""
    try:
        return read_capture(str(path))
    except NotACapture as e:
        raise UsageError(str(e)) from e


def select_launches(capture: Capture, only: str | None) -> list[CapturedLaunch]:
    """The launches that `only` names; all if it is None. Raises UsageError if there are none."""
    if not capture.launches:
        raise UsageError(f"{capture.path} holds no launch that could be tuned: `captures show` says what it holds.")
    if only is None:
        return capture.launches
    found = [
        x
        for x in capture.launches
        if only in (x.name, f"{x.function['module']}:{x.function['qualname']}")
        or (len(only) >= 6 and x.digest.startswith(only))
    ]
    if not found:
        names = ", ".join(sorted({x.name for x in capture.launches}))
        raise UsageError(f"{capture.path} holds no launch of {only}: choose one of {names}.")
    return found
