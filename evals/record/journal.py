"""An interrupted recording goes on: every reading is a line, appended as it is made."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any


def boot() -> str:
    """This start of this machine; empty where the system does not say."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else ""


class JournalError(RuntimeError):
    """The journal cannot be used; one sentence for the user."""


class Journal:
    """An append-only file of JSON lines. The first names the recording; a line cut off by a kill is dropped."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        """Open `path` to go on, or begin it with `head`. Raises JournalError if it belongs to another recording."""
        self.path = path
        self.lines: list[dict[str, Any]] = []
        try:
            self._file: IO[bytes] = open(path, "a+b")  # noqa: SIM115 -- lives as long as the recording
        except OSError as e:
            raise JournalError(f"cannot write {path}: {(e.strerror or str(e)).lower()}") from e
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise JournalError(f"another recording is writing {path}: wait for it, or give another --out") from e
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        try:
            self.lines = [json.loads(line) for line in whole.splitlines()]
            broken = not all(isinstance(line, dict) and "kind" in line for line in self.lines)
        except (ValueError, RecursionError):
            broken = True
        if broken:
            raise JournalError(f"{path} is damaged: delete it to record from the start")
        if not self.lines:
            self.append(head)
        theirs = self.lines[0]
        differs = sorted(k for k in {*head, *theirs} - {"started"} if head.get(k) != theirs.get(k))
        if differs:
            raise JournalError(
                f"{path} belongs to another recording (it differs in {', '.join(differs)}): "
                "delete it to record from the start, or give another --out"
            )

    def append(self, line: dict[str, Any]) -> None:
        """Add a line and pass it to the operating system."""
        self.lines.append(line)
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Write to the disk, so that even a power cut keeps the readings."""
        os.fsync(self._file.fileno())

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Lines of one kind, in order."""
        return [line for line in self.lines if line["kind"] == kind]

    def close(self) -> None:
        self._file.close()

    def delete(self) -> None:
        """Delete the file: the recording is complete and stored."""
        self.close()
        self.path.unlink(missing_ok=True)
