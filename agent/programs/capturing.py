"""Capture a program, or a block of this one, into a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from agent.errors import UsageError

Values = Literal["no", "summary", "whole"]
"""``summary``: distributions of floats, range and order of integers. ``whole``: the values too."""


@contextmanager
def capture(path: str | Path, values: Values = "summary") -> Iterator[None]:
    """Record the Triton launches that this process makes inside the block into the file at `path`, in addition to what
    the file holds. Processes that the block starts are not recorded; ``python -m agent capture`` records those.

    Raises UsageError if the file cannot be used."""
    from kernels.capture.begin import recording

    with ExitStack() as stack:
        with _usable(path):
            stack.enter_context(recording(str(path), values))
        yield


def capture_program(command: Sequence[str], path: Path, values: Values) -> int:
    """Run `command` and record every Python process of its tree; the program's exit code.

    Raises UsageError if the file or the program cannot be used."""
    from kernels.capture.capture_file import begin
    from kernels.capture.start import run_program

    with _usable(path):
        begin(str(path), {"command": list(command)})
    try:
        return run_program(command, str(path), values)
    except OSError as e:
        raise UsageError(f"{command[0]} cannot be started ({e.strerror}): check the command behind --") from e


@contextmanager
def _usable(path: str | Path) -> Iterator[None]:
    from kernels.capture.capture_file import NotACapture
    from memory.command_line.output_files import OutputError, refuse_stream

    try:
        # Each process of the program finds by the file's end what is whole, and the command reads it afterwards.
        refuse_stream(Path(path), "-o")
        yield
    except OutputError as e:
        raise UsageError(e.message) from e
    except NotACapture as e:
        raise UsageError(str(e)) from e
    except OSError as e:
        raise UsageError(f"{path} cannot be written ({e.strerror}): name another file by -o") from e
