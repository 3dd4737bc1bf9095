"""Writes and reads the capture file. A reader uses only the lines that are whole. Each line has the form

    DIGEST KIND JSON

A line holds one part of the capture. DIGEST is the first 16 hex digits of the SHA-256 of ``KIND JSON``. Other parts
refer to a part by its digest, and the digest shows whether the line is whole. Equal parts give equal lines. If other
parts refer to a part, a process writes it only once. Many processes append to one file. A process holds a lock of the
file while it writes. If the disk is full, the process removes what it wrote. A reader drops a line that is not whole,
and counts it as damaged.

Kinds: ``capture`` (version, one line per program), ``process``, ``function``, ``decorators``, ``launch`` (refer to
parts by digest), ``counts`` (increments by launch), ``unseen`` (increments of launches that are listed, not recorded),
``note`` (a sentence for the user).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]

VERSION = 1
"""Of the format. A reader refuses files of another one."""
MAGIC = "autokernel-capture"
DIGITS = 16


class NotACapture(ValueError):
    """The file cannot be used as a capture; the message is one sentence for the user."""


def line_of(kind: str, body: Json) -> tuple[str, bytes]:
    """Digest and line of one part."""
    text = f"{kind} {json.dumps(body, separators=(',', ':'))}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    return digest, f"{digest} {text}\n".encode()


def append(path: str, lines: bytes) -> None:
    """Append whole lines. Raises OSError, after taking back what it wrote, if not all of them fit."""
    # Opened for each write: a program may close or inherit file descriptors that it does not know.
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            lines = b"\n" + lines  # another process died within its line
        try:
            written = os.write(descriptor, lines)
            while written < len(lines):
                written += os.write(descriptor, lines[written:])
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)  # gives the lock back


def begin(path: str, about: Json) -> None:
    """Make the file, or check that it is a capture that another program's launches can be added to.

    Raises NotACapture, or OSError if it cannot be written."""
    if Path(path).exists() and not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "no regular file"
        raise NotACapture(f"{path} cannot be written (it is {what}): name another file by -o")
    if Path(path).exists() and os.path.getsize(path):
        check(path)
    append(path, line_of("capture", {"format": MAGIC, "version": VERSION, **about})[1])


def check(path: str) -> None:
    """Raises NotACapture unless the first line of the file is that of a capture of this version."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise NotACapture(f"{path} cannot be read (it is no regular file): check the path")
        with open(path, "rb") as f:
            first = f.readline(1 << 16)
    except OSError as e:
        raise NotACapture(f"{path} cannot be read ({e.strerror}): check the path") from e
    part = _part(first.rstrip(b"\n"))
    if part is None or part[1] != "capture" or part[2].get("format") != MAGIC:
        raise NotACapture(f"{path} is no capture: name a file that `python -m agent capture -o FILE` wrote")
    if part[2].get("version") != VERSION:
        raise NotACapture(
            f"{path} is a capture of format {part[2].get('version')}, and this version reads format {VERSION}: "
            "capture the program again"
        )


def read(path: str) -> tuple[list[tuple[str, str, Json]], int]:
    """(digest, kind, body) of every whole line in order, and how many lines are damaged. Raises NotACapture."""
    check(path)
    parts, damaged = [], 0
    for line in _lines(path):
        part = _part(line)
        if part is None:
            damaged += 1
        else:
            parts.append(part)
    return parts, damaged


def _lines(path: str) -> Iterator[bytes]:
    with open(path, "rb") as f:
        for line in f:
            if line.strip():
                yield line.rstrip(b"\n")


def _part(line: bytes) -> tuple[str, str, Json] | None:
    digest, _, text = line.partition(b" ")
    kind, _, body = text.partition(b" ")
    if hashlib.sha256(text).hexdigest()[:DIGITS].encode() != digest:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return (digest.decode(), kind.decode(), found) if isinstance(found, dict) else None
