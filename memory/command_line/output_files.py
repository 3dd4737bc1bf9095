"""Files that a command writes: tested before the work begins, and whole or not there at all."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import click


class OutputError(click.ClickException):
    """A file that cannot be written: one sentence and exit code 2."""

    exit_code = 2


DESCRIPTORS = re.compile(r"/proc/(\d+)/(?:task/\d+/)?fd")
"""Folders whose entries are files that a process has open: ``/dev/stdout`` and ``/dev/fd/3`` lead there."""
MOST_LINKS = 40
"""That Linux follows from one path."""


def check_output(
    path: Path | None, option: str, inputs: tuple[Path, ...] = (), *, replaced_repeatedly: bool = False
) -> None:
    """Raises OutputError if `path` cannot be written, or is one of the files that the command reads. A file that is
    there stays as it is.

    `replaced_repeatedly`: the command reads the file again, or replaces it more than once, which no stream allows."""
    if path is None:
        return
    name = f"{option} {path}"
    try:
        if path.is_dir():
            raise OutputError(f"{name} is a folder: give the path of a file in it, such as {path / 'page.html'}")
        if any(each.exists() and path.exists() and path.samefile(each) for each in inputs):
            raise OutputError(f"{name} is what the command reads: give another file")
        if is_stream(path):
            if replaced_repeatedly:
                refuse_stream(path, option)
            return
        target = path.resolve()
        if not target.parent.is_dir():
            raise OutputError(f"{name}: there is no folder {path.parent}: make it, or give another path")
        if target.exists() and not os.access(target, os.W_OK):
            raise OutputError(f"{name} may not be written: change its permissions, or give another path")
        with tempfile.TemporaryFile(dir=target.parent) as probe:
            probe.write(b"\n")
    except (OSError, ValueError) as e:
        raise OutputError(_sentence(name, e)) from e


def refuse_stream(path: Path, option: str) -> None:
    """Raises OutputError if `path` is a stream. For what the command reads again, or replaces more than once."""
    if is_stream(path):
        why = "it is no regular file, and the command reads it again or replaces it"
        raise OutputError(f"{option} {path} cannot be written ({why}): give the path of a file")


def write_output(path: Path, text: str, option: str = "the file") -> None:
    """Write `text` in one step: a reader sees the old file or the whole new one, and a full disk leaves the old one.
    A stream is written to. Raises OutputError."""
    name = f"{option} {path}"
    try:
        if is_stream(path):
            write_stream(path, text.encode(errors="replace"))
            return
        target = path.resolve()
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        descriptor, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, mode)
            os.replace(part, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
    except (OSError, ValueError) as e:
        raise OutputError(_sentence(name, e)) from e


def is_stream(path: Path) -> bool:
    """Whether `path` is a device, a pipe, or a file that a process has open, such as ``/dev/stdout``. It is written to
    and never replaced: if ``/dev/stdout`` is redirected into a file, a new file in its place is not what the process
    writes to, and the path leads nowhere from then on."""
    return path.exists() and (_descriptor(path) is not None or not (path.is_file() or path.is_dir()))


def write_stream(path: Path, data: bytes) -> None:
    """Write `data` behind what was written to the stream before. Raises OSError."""
    process, number = _descriptor(path) or (0, 0)
    if process != os.getpid():
        with open(path, "ab") as file:
            file.write(data)
        return
    for printed in filter(None, (sys.stdout, sys.stderr)):
        printed.flush()
    # A file that is opened anew is written from its beginning, and over what this process prints.
    with os.fdopen(os.dup(number), "wb") as file:
        file.write(data)


def _descriptor(path: Path) -> tuple[int, int] | None:
    """Process and number of the open file that `path` names, itself or by links; None if it names no open file."""
    for _ in range(MOST_LINKS):
        folder = os.path.realpath(path.parent)
        found = DESCRIPTORS.fullmatch(folder)
        if found is not None and path.name.isdecimal():
            return int(found[1]), int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder, os.readlink(path))
    return None


def _sentence(name: str, error: OSError | ValueError) -> str:
    why = (getattr(error, "strerror", None) or str(error)).lower()
    return f"{name} cannot be written ({why}): give another path, or make room there"


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
