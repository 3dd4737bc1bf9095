"""One command in one world, and what is wrong with how it ended."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.walk.commands import ROOT, Command
from tools.harness.process.own_packages import PACKAGES

PATIENCE = 300.0
"""Seconds after which a command hangs. A heavy one takes ten, and ten times that if others use the cores too."""
UNCAUGHT = ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error")
OLD = "kept from before\n"
"""What an output file holds before the command runs, where a case wants one there."""


@dataclass
class Case:
    """One process to start."""

    command: Command
    kind: str
    argv: list[str]
    folder: Path
    codes: tuple[int, ...]
    """Exit codes that are right here."""
    env: dict[str, str | None] = field(default_factory=dict)
    """Variables that differ; ``None`` takes one away."""
    cwd: Path = ROOT
    stdin: str = "null"
    """``null``, ``closed``."""
    stdout: str = "pipe"
    """``pipe``, ``closed``, ``full``, ``gone`` (a pipe that nobody reads)."""
    stderr: str = "pipe"
    largest: int | None = None
    """Bytes that a file may have: a write beyond fails, as on a full disk."""
    signals: tuple[tuple[float, int], ...] = ()
    """(seconds after the start, signal number)"""
    ready: str = ""
    """Text on stderr from which the seconds of `signals` count."""
    outputs: tuple[Path, ...] = ()
    """Files that a failed command may not leave half-written."""
    delete_cwd: bool = False
    must_say: str = ""
    """Text that stderr has to hold."""

    @property
    def name(self) -> str:
        return f"{self.kind}: {' '.join(self.argv)}"


@dataclass(frozen=True)
class Ended:
    """How it ended."""

    code: int | None
    """``None``: it was killed for hanging."""
    stdout: str
    stderr: str
    seconds: float


def run(case: Case) -> Ended:
    """Start the process, send its signals, wait. Output comes through pipes: a limit on files does not meet them."""
    environment = {k: v for k, v in {**os.environ, **case.env}.items() if v is not None}
    began = time.monotonic()
    streams = {name: Stream(getattr(case, name)) for name in ("stdout", "stderr")}
    closed = [n for n, kind in enumerate((case.stdin, case.stdout, case.stderr)) if kind == "closed"]

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts what it runs in the background without Ctrl-C
        for number in closed:
            os.close(number)
        if case.largest is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (case.largest, case.largest))
        if case.delete_cwd:
            os.rmdir(case.cwd)

    process = subprocess.Popen(
        [sys.executable, "-P", "-m", *case.argv],
        stdin=subprocess.DEVNULL,
        stdout=streams["stdout"].writing,
        stderr=streams["stderr"].writing,
        cwd=case.cwd,
        env={"PYTHONPATH": str(ROOT), **environment},
        preexec_fn=prepare,
        start_new_session=True,
    )
    for stream in streams.values():
        os.close(stream.writing)
    code: int | None = None
    try:
        _send(process, case, streams["stderr"])
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(process)
    said = {name: stream.text() for name, stream in streams.items()}
    return Ended(code, said["stdout"], said["stderr"], time.monotonic() - began)


class Stream:
    """One of a process's outputs, and what came through it."""

    def __init__(self, kind: str) -> None:
        self._data = b""
        self._thread: threading.Thread | None = None
        if kind == "full":
            self.writing = os.open("/dev/full", os.O_WRONLY)
            return
        reading, self.writing = os.pipe()
        if kind == "gone":
            os.close(reading)
            return
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._thread.start()

    def _read(self, reading: int) -> None:
        while data := os.read(reading, 1 << 16):
            self._data += data
        os.close(reading)

    def holds(self, text: str) -> bool:
        return text.encode() in self._data

    def text(self) -> str:
        if self._thread is not None:
            self._thread.join(5.0)
        return self._data.decode(errors="replace")


def _send(process: subprocess.Popen[bytes], case: Case, stderr: Stream) -> None:
    if not case.signals:
        return
    deadline = time.monotonic() + PATIENCE
    while case.ready and not stderr.holds(case.ready):
        if process.poll() is not None or time.monotonic() > deadline:
            return
        time.sleep(0.02)
    start = time.monotonic()
    for after, number in case.signals:
        time.sleep(max(0.0, start + after - time.monotonic()))
        if process.poll() is None:
            os.killpg(process.pid, number)  # as a terminal sends Ctrl-C: to the whole group


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, and what it left in its own session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def in_pythons_own_start(text: str) -> bool:
    """Whether a signal met Python before it ran a line of this project: nothing can answer it there."""
    ours = tuple(f'File "{ROOT}/{package}/' for package in PACKAGES)
    return "\nKeyboardInterrupt" in text and UNCAUGHT[0] in text and not any(o in text for o in ours)


def faults(case: Case, ended: Ended) -> list[str]:
    """What is wrong, as words of :data:`KINDS` with details."""
    found = []
    text = ended.stderr + ended.stdout
    if case.signals and ended.code is not None and in_pythons_own_start(text):
        return []
    if any(word in text for word in UNCAUGHT):
        last = [line for line in text.splitlines() if line.strip()][-1:]
        found.append(f"traceback: {last[0][:160] if last else ''}")
    if ended.code is None:
        found.append(f"hang: not ended after {PATIENCE:.0f} s")
    elif ended.code not in case.codes:
        wanted = " or ".join(map(str, case.codes))
        last = ended.stderr.strip().splitlines()[-1:] or [""]
        found.append(f"exit code: {ended.code}, not {wanted} ({last[0][:160]})")
    if ended.code in (1, 2) and case.stderr == "pipe" and not (ended.stderr + ended.stdout).strip():
        found.append("silent: a failure without a word")
    if case.must_say and ended.code not in (None, 0) and case.must_say not in ended.stderr:
        found.append(f"message: {case.must_say!r} is missing in {ended.stderr.strip()[-160:]!r}")
    if ended.code not in (0, 3):
        for path in case.outputs:
            if path.is_file() and path.read_text(errors="replace") not in ("", OLD):
                found.append(f"half-written: {path.name}")
            left = [p.name for p in path.parent.glob(f"*{path.name}*") if p != path] if path.parent.is_dir() else []
            found += [f"half-written: {name} was left behind" for name in left]
    return found


KINDS = ("traceback", "exit code", "hang", "half-written", "silent", "message")
