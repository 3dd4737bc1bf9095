"""Begins and ends the recording in one process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..standard_error import LOGGER
from .capture_file import begin
from .hooks import Hooks
from .recorder import Recorder

FILE_VARIABLE = "AUTOKERNEL_CAPTURE_FILE"
VALUES_VARIABLE = "AUTOKERNEL_CAPTURE_VALUES"
NEEDS_CUDA = (
    "the program needs torch.cuda, and this machine has no GPU for it: capture it on a GPU, or give it a CPU device "
    "and set TRITON_INTERPRET=1"
)
NEEDS_INTERPRETER = (
    "Triton found no GPU on this machine: capture the program on a GPU, or set TRITON_INTERPRET=1 to run its kernels "
    "in Triton's interpreter"
)
NO_DRIVER = "0 active drivers"
"""In Triton's error."""
CUDA_ERRORS = ("not compiled with CUDA", "Found no NVIDIA driver", "No CUDA GPUs are available", "CUDA driver")


def record_process() -> None:
    """Record this process into the file that the environment names, until its end. Called by sitecustomize.py."""
    recorder = Recorder(os.environ[FILE_VARIABLE], os.environ.get(VALUES_VARIABLE, "summary"))
    Hooks(recorder).install()
    os.register_at_fork(after_in_child=recorder.forked)
    before_end(recorder.flush)
    _note_missing_gpu(recorder)


def before_end(call: Callable[[], None]) -> None:
    """Call `call` whenever this process ends, or becomes another program."""
    atexit.register(call)
    for name in ("_exit", "execv", "execve"):  # these end the program's code without atexit
        _call_before(name, call)


def _call_before(name: str, call: Callable[[], None]) -> None:
    original: Callable[..., Any] = getattr(os, name)

    def ending(*args: Any, **kwargs: Any) -> Any:
        call()
        return original(*args, **kwargs)

    setattr(os, name, ending)


def _note_missing_gpu(recorder: Recorder) -> None:
    previous = sys.excepthook

    def excepthook(kind: Any, error: BaseException, traceback: Any) -> None:
        if any(text in str(error) for text in CUDA_ERRORS):
            recorder.note(NEEDS_CUDA)
        elif NO_DRIVER in str(error):
            recorder.note(NEEDS_INTERPRETER)
        # What the program set later replaces this function; what it set earlier is called.
        previous(kind, error, traceback)

    sys.excepthook = excepthook


@contextmanager
def recording(path: str, values: str = "summary") -> Iterator[Recorder]:
    """Record the launches that this process makes inside the block. Raises NotACapture, or OSError if `path` cannot
    be written."""
    begin(path, {"command": sys.argv[:1]})
    recorder = Recorder(path, values, logging.getLogger(LOGGER))
    hooks = Hooks(recorder)
    hooks.install()
    try:
        yield recorder
    finally:
        hooks.uninstall()
        recorder.flush()
