"""Files that a command reads. A pipe that nobody writes into would be waited for without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_input(path: Path) -> bytes:
    """The content of a regular file. Raises OSError, whose ``strerror`` says what is wrong in words."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENXIO, "it is no regular file", str(path))
    return path.read_bytes()


def read_text_input(path: Path) -> str:
    """The text of a regular UTF-8 file, without the byte order mark that some editors begin it with. Raises OSError and
    UnicodeDecodeError."""
    return read_input(path).decode("utf-8-sig")
