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
    """The launches that `only` names, several with commas between them; all if it is None. Raises UsageError if there
    are none of one of them."""
    if not capture.launches:
        raise UsageError(f"{capture.path} holds no launch that could be tuned: `captures show` says what it holds.")
    if only is None:
        return capture.launches
    found: list[CapturedLaunch] = []
    for name in filter(None, (part.strip() for part in only.split(","))):
        named = [x for x in capture.launches if _is_named(x, name)]
        if not named and any(name == title.partition(" (")[0] for title in capture.missing):
            raise UsageError(f"{capture.path} misses a part of each launch of {name}: capture the program again.")
        if not named:
            names = ", ".join(sorted({x.name for x in capture.launches}))
            raise UsageError(f"{capture.path} holds no launch of {name}: choose one of {names}.")
        found += [x for x in named if x not in found]
    if not found:
        raise UsageError(f"--kernel {only!r} names no kernel.")
    return found


def _is_named(launch: CapturedLaunch, name: str) -> bool:
    function = f"{launch.function['module']}:{launch.function['qualname']}"
    return name in (launch.name, function) or (len(name) >= 6 and launch.digest.startswith(name))
