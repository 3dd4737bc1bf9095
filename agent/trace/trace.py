"""The trace of a run: JSON lines, one per event, each written at once and sealed by a chain of hashes.

A line is ``{"seq", "at", "type", "key", "body", "chain"}``. `type` and `key` name a step (``tool_result`` of call
``t0003c000``). Each step is written once. The nodes of the graph write through :meth:`Trace.once`, which returns a step
that is already written. A run that was killed and resumed therefore repeats no finished step. docs/TRACE.md lists the
events.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from agent.errors import AgentError, UsageError
from memory.command_line.input_files import read_input

SCHEMA_VERSION = 1
SEED = "triton-autokernel"
"""The chain value before the first event."""
GZIP, BODY, CHAIN = b"\x1f\x8b", b'"body":', b',"chain":'

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Whatever folder is named, the disk is to blame."""

JSON = dict[str, Any]


class Journal(Protocol):
    """The graph writes its steps to a journal."""

    def once(self, kind: str, key: str, make: Callable[[], JSON]) -> JSON:
        """Return the recorded body of this step. If the step is not recorded yet, call `make` and record its result."""
        ...


@dataclass(frozen=True)
class Event:
    """One recorded step."""

    seq: int
    at: str
    type: str
    key: str
    body: JSON
    chain: str


@dataclass
class Record:
    """The content of a trace file."""

    events: list[Event] = field(default_factory=list)
    torn: bool = False
    """The last line is incomplete: the run was killed while it wrote."""
    broken: int | None = None
    """``seq`` of the first event whose hash does not match: this event or an earlier one was edited."""
    length: int = 0
    """Bytes of the complete lines."""

    @property
    def header(self) -> JSON:
        return self.events[0].body

    def last(self, kind: str) -> JSON | None:
        """The body of the latest event of a kind."""
        return next((event.body for event in reversed(self.events) if event.type == kind), None)


class Trace:
    """A trace that is open for appending by this process alone."""

    def __init__(self, path: Path, secrets: tuple[str, ...] = ()) -> None:
        """Open or create a trace. `secrets` (API keys) are redacted in everything that is written."""
        self.path = path
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 4)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b", buffering=0)
        except OSError as e:
            kind = AgentError if e.errno in NO_ROOM else UsageError
            raise kind(
                f"Cannot write the trace {path} ({e.strerror}): set XDG_DATA_HOME to a folder that can be written."
            ) from e
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            self._file.close()
            raise AgentError(f"The run of {path} is still going in another process: wait for it or end it.") from e
        record = Record() if os.fstat(self._file.fileno()).st_size == 0 else read_trace(path)
        if record.torn:
            os.ftruncate(self._file.fileno(), record.length)
        self._steps = {(event.type, event.key): event.body for event in record.events}
        self._seq = len(record.events)
        self._chain = record.events[-1].chain if record.events else SEED

    @property
    def header(self) -> JSON:
        """The first event's body; empty if nothing is written yet."""
        return next((body for (kind, _), body in self._steps.items() if kind == "header"), {})

    def once(self, kind: str, key: str, make: Callable[[], JSON]) -> JSON:
        found = self._steps.get((kind, key))
        if found is None:
            found = self._steps[kind, key] = self._append(kind, key, make())
        return found

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self._steps

    def find(self, kind: str, key: str) -> JSON | None:
        """The body of a step; ``None`` if it is not written yet."""
        return self._steps.get((kind, key))

    def copy(self, event: Event) -> None:
        """Write a step of another trace unchanged, including its time."""
        self._steps[event.type, event.key] = self._append(event.type, event.key, event.body, event.at)

    def _append(self, kind: str, key: str, body: JSON, at: str | None = None) -> JSON:
        text = encode(body)
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        body = json.loads(text)
        self._chain = seal(self._chain, kind, key, body)
        event = {"seq": self._seq, "at": at or datetime.now(UTC).isoformat(timespec="milliseconds"), "type": kind}
        line = encode({**event, "key": key, "body": body, "chain": self._chain}) + "\n"
        self._write(line.encode())
        self._seq += 1
        return body

    def _write(self, line: bytes) -> None:
        """Write a whole line or nothing: a disk that runs full takes a part of it."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) == len(line):
                return
            why = "no space is left for it"
        except OSError as e:
            why = str(e.strerror)
        with suppress(OSError):
            os.ftruncate(self._file.fileno(), before)
        raise AgentError(f"Cannot write the trace {self.path} ({why}): free some space and resume.")

    def close(self) -> None:
        self._file.close()


def read_trace(path: Path) -> Record:
    """Read a whole trace, plain or gzipped. The record reports an incomplete last line. Raises UsageError if the file
    is not a trace in any other way."""
    try:
        data = read_input(path)
        if data.startswith(GZIP):
            data = gzip.decompress(data)
    except OSError as e:
        raise UsageError(f"Cannot read the trace {path}: {e.strerror or e}.") from e
    except (EOFError, zlib.error) as e:
        raise UsageError(f"Cannot read the trace {path}: its gzip data is damaged.") from e
    *lines, tail = data.split(b"\n")
    record = Record(torn=bool(tail), length=len(data) - len(tail))
    chain = SEED
    for number, line in enumerate(lines, start=1):
        event = read_event(line, number, path)
        written = line[line.find(BODY) + len(BODY) : line.rfind(CHAIN)]
        if event.chain != seal_of(chain, event, written):
            chain = seal(chain, event.type, event.key, event.body)
        else:
            chain = event.chain
        if record.broken is None and (chain != event.chain or event.seq != number - 1):
            record.broken = event.seq
        record.events.append(event)
    if not record.events or record.events[0].type != "header":
        unborn = not record.events and (not data or tail.startswith(b"{"))
        why = "the run was killed before it began, start it again" if unborn else "it does not begin with a header"
        raise UsageError(f"{path} is not a trace of this program: {why}.")
    version = record.header.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(f"{path} has trace version {version} and this program reads {SCHEMA_VERSION}: update one.")
    return record


def read_event(line: bytes, number: int, path: Path) -> Event:
    """Read the event of one line. Raises UsageError if the line is not an event."""
    try:
        raw = json.loads(line, parse_constant=refuse)
        event = Event(raw["seq"], raw["at"], raw["type"], raw["key"], raw["body"], raw["chain"])
        texts = (event.at, event.type, event.key, event.chain)
        if not (isinstance(event.body, dict) and isinstance(event.seq, int) and all(isinstance(t, str) for t in texts)):
            raise TypeError("a field has the wrong type")
        if datetime.fromisoformat(event.at).tzinfo is None:
            raise ValueError("a time without its zone")
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise UsageError(f"{path} is not a trace of this program: line {number} is not one of its events.") from e
    return event


def refuse(word: str) -> float:
    """Refuse NaN and the infinities, which Python accepts but JSON does not have."""
    raise ValueError(f"{word} is not a JSON number")


def seal(previous: str, kind: str, key: str, body: JSON) -> str:
    """The chain value after this event. It covers the events' content and order, but not their times."""
    return sealed(previous, kind, key, encode(body).encode())


def seal_of(previous: str, event: Event, written: bytes) -> str:
    """The same from the body as it is written, which is faster than encoding it again. If a line was reformatted, the
    values differ and :func:`seal` decides."""
    return sealed(previous, event.type, event.key, written)


def sealed(previous: str, kind: str, key: str, body: bytes) -> str:
    before = f"{previous}\n{kind}\n{key}\n".encode(errors="backslashreplace")
    return hashlib.sha256(before + body).hexdigest()[:16]


def opening_of(request: JSON | None) -> list[JSON] | None:
    """The first messages of a run, from the body of its first ``model_request``."""
    new = (request or {}).get("new")
    roles = [message.get("role") for message in new if isinstance(message, dict)] if isinstance(new, list) else []
    return new if roles == ["system", "user"] else None


def says_of(header: JSON) -> dict[int, str]:
    """The user's messages to forks, by the number of the turn before which each was sent, counted from 0."""
    says = header.get("says")
    return {int(turn): str(words) for turn, words in says.items()} if isinstance(says, dict) else {}


def encode(value: JSON) -> str:
    """Compact JSON. Raises ValueError for a NaN and TypeError for an object that is not plain data; both are errors of
    this program."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
