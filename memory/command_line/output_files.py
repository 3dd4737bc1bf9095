"""Files that a command writes: tested before the work begins, and whole or not there at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import click


class OutputError(click.ClickException):
    """A file that cannot be written: one sentence and exit code 2."""

    exit_code = 2


def check_output(path: Path | None, option: str, inputs: tuple[Path, ...] = ()) -> None:
    """Raises OutputError if `path` cannot be written, or is one of the files that the command reads. A file that is
    there stays as it is."""
    if path is None:
        return
    name = f"{option} {path}"
    try:
        if path.is_dir():
            raise OutputError(f"{name} is a folder: give the path of a file in it, such as {path / 'page.html'}")
        if any(each.exists() and path.exists() and path.samefile(each) for each in inputs):
            raise OutputError(f"{name} is what the command reads: give another file")
        if is_special(path):
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


def write_output(path: Path, text: str, option: str = "the file") -> None:
    """Write `text` in one step: a reader sees the old file or the whole new one, and a full disk leaves the old one.
    Raises OutputError."""
    name = f"{option} {path}"
    try:
        if is_special(path):
            path.write_text(text, encoding="utf-8", errors="replace")
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


def is_special(path: Path) -> bool:
    """Whether `path` is a device or a pipe, such as ``/dev/stdout``, which is written as it is."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _sentence(name: str, error: OSError | ValueError) -> str:
    why = (getattr(error, "strerror", None) or str(error)).lower()
    return f"{name} cannot be written ({why}): give another path, or make room there"


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
