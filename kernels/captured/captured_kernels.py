"""Finds a captured launch by ``FILE#LAUNCH``, in the driver and in every child process."""

from __future__ import annotations

import functools
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import platformdirs

from kernels.capture.capture_file import NotACapture
from kernels.capture.reading.captured_launches import Capture, read_capture
from kernels.capture.reading.rebuilt_functions import CannotRebuild
from kernels.captured.other_launches import MOST_OTHERS, others_of
from kernels.captured.spec import CapturedKernel

MARK = "#"
"""Between the capture and the start of the launch's digest."""


def captured_kernel(reference: str) -> CapturedKernel:
    """The launch ``FILE#LAUNCH`` as a kernel; equal references give one object as long as the file is the same.

    Raises ValueError with one sentence."""
    path, _, digest = reference.rpartition(MARK)
    try:
        status = os.stat(path)
    except OSError as e:
        raise ValueError(f"{path} cannot be read ({e.strerror}): check the path of the capture") from e
    return _kernel(str(Path(path).resolve()), digest, status.st_size, status.st_mtime_ns)


def reference_of(path: str, digest: str) -> str:
    """The name by which :func:`captured_kernel` finds a launch from any folder."""
    return f"{Path(path).resolve()}{MARK}{digest}"


@functools.lru_cache(maxsize=256)
def _kernel(path: str, digest: str, size: int, modified: int) -> CapturedKernel:
    try:
        capture = opened(path, size, modified)
        launch = capture.named(digest)
    except NotACapture as e:
        raise ValueError(str(e)) from e
    except KeyError as e:
        raise ValueError(f"{e.args[0]}: `python -m agent captures show {path}` lists them") from e
    try:
        spec = CapturedKernel(launch, capture.functions(), _folder())
    except CannotRebuild as e:
        raise ValueError(str(e)) from e
    spec.found_as, spec.capture_file = reference_of(path, launch.digest), path

    def siblings() -> list[CapturedKernel]:
        found: list[CapturedKernel] = []
        for other in others_of(capture, launch):
            if len(found) < MOST_OTHERS:
                with suppress(ValueError):  # it cannot be made anew, so nothing can be launched there
                    found.append(_kernel(path, other, size, modified))
        return found

    spec.siblings = siblings
    return spec


@functools.lru_cache(maxsize=4)
def opened(path: str, size: int, modified: int) -> Capture:
    """The capture, read once as long as its file is the same."""
    return read_capture(path)


@functools.cache
def _folder() -> Path:
    """Where the functions' source lies: Triton reads it from files."""
    folder = platformdirs.user_cache_path("triton-autokernel") / "captured"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:  # this process can do with a folder of its own
        return Path(tempfile.mkdtemp(prefix="autokernel-captured-"))
    return folder
