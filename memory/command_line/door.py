"""What every ``python -m`` door does before and after its command line: streams that exist, and Ctrl-C without a
traceback while modules are imported and while Python ends."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

IMPORTER = "<frozen importlib._bootstrap>"
"""The file name of the code that Python imports modules with."""
NO_FOLDER = "the current folder does not exist any more: change to one that does"
OUTERMOST = frozenset({"_run_module_as_main", "_run_code", "<module>", "command"})
"""Names of the functions through which Python itself, run with ``-m`` or as a script, gets to a command."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C, as a shell reports a program that SIGINT ended."""


class LossyStream:
    """A stream whose writes may fail: what cannot be told on standard error does not end a run."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError:
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def enter(module: str) -> int:
    """Run ``main()`` of `module`; its exit code. The caller has left SIGINT to end the process at once."""
    open_missing_streams()
    if not current_folder_exists():
        print(f"error: {NO_FOLDER}", file=sys.stderr)
        return 2
    run = import_module(module).main
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGINT, interrupt)
    try:
        return int(run())
    except KeyboardInterrupt:  # between two steps of `main`, which answers it elsewhere
        return INTERRUPTED
    finally:
        if handler is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def leave(code: int) -> NoReturn:
    """End the process with `code`, without the second or two that Python takes to unload PyTorch and, of a command that
    Ctrl-C stopped, to wait for threads. Raises SystemExit if the command runs inside another Python program, such as a
    profiler, which has work left."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name not in OUTERMOST:
            sys.exit(code)
        frame = frame.f_back
    for number in (signal.SIGINT, signal.SIGTERM):  # while threads are waited for
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: end_process())
    if code != INTERRUPTED:
        threading._shutdown()  # type: ignore[attr-defined]  # as Python does: waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a closed stream is none
            stream.flush()
    os._exit(code)


def current_folder_exists() -> bool:
    """Whether there is a current folder. PyTorch's libraries end a process without one, in words that name no cause."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def interrupt(number: int, frame: FrameType | None) -> None:
    """Answer Ctrl-C: raise KeyboardInterrupt, but end the process while a module is imported. PyTorch and NumPy drop an
    exception that is raised in their own import, so that the command goes on, or fail on it later with a traceback."""
    while frame is not None:
        if frame.f_code.co_filename == IMPORTER:
            end_process()
        frame = frame.f_back
    raise KeyboardInterrupt


def end_process() -> NoReturn:
    """End the process as a command line that was stopped ends, without unwinding. What is removed when Python ends,
    such as temporary folders and processes, is removed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # once more does not wait for that
        signal.signal(number, signal.SIG_DFL)
    with suppress(OSError):
        show_cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a status line may have hidden it
        os.write(2, show_cursor + b"\nstopped\n")
    atexit._run_exitfuncs()
    os._exit(INTERRUPTED)


def open_missing_streams() -> None:
    """Open the null device where a standard stream is closed (``>&-``): otherwise the first file that is opened gets
    its number, and a child process prints into that file. Writes to standard error may fail from now on."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without a sign shows ? for it
    sys.stderr = LossyStream(sys.stderr)
