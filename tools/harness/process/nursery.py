"""Forks children from a process that has made their imports once.

A compiler needs PyTorch, Triton and a checksum of Triton's files before its first job: five seconds of processor time
for each core of the machine. A nursery spends them once, and its children share the memory. The nursery itself runs no
job and starts no thread. What a child gets (environment, folders for imports, current folder, pipes) is what a process
started for it alone would get, but for the variables that its imports read.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Pipes = tuple[int, int, int]
"""File descriptors of a child: its connection, the pipe that tells it of its parent's end, its log."""
Serve = Callable[[str, int, int], None]
CHILD = Path(__file__).with_name("child.py")
BEFORE_FORK = "before_fork"
"""The function of a factory's module, if it has one, that a nursery calls once, after the import."""


class Forked:
    """A child of a nursery. It has what a Popen has of a child of our own."""

    def __init__(self, nursery: subprocess.Popen[bytes], news: int) -> None:
        """`news` is a pipe: the nursery writes the child's number into it at birth, and its exit code at its end."""
        self._nursery, self._news = nursery, news
        self._lock = threading.Lock()
        self._lines: list[int] = []
        self._rest = b""
        self.returncode: int | None = None

    @property
    def pid(self) -> int | None:
        """The process's number; ``None`` before it is born, and if it never was."""
        if not self._lines:
            self._read(0)
        return self._lines[0] if self._lines else None

    def poll(self) -> int | None:
        self._read(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        self._read(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a forked child", timeout or 0)
        return self.returncode

    def _read(self, timeout: float | None) -> None:
        with self._lock:  # whoever closes waits: a closed pipe's number may soon be that of another file
            while self.returncode is None and select.select([self._news], [], [], timeout)[0]:
                got = os.read(self._news, 100)
                if not got:  # the nursery is gone, and took the child's exit code along
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._nursery.wait(timeout=2)
                    self.returncode = self._nursery.returncode or -signal.SIGKILL
                *lines, self._rest = (self._rest + got).split(b"\n")
                self._lines += [int(line) for line in lines]
                if len(self._lines) == 2:
                    self.returncode = self._lines[1]

    def close(self) -> None:
        """Forget the child. One that is not born yet ends at its birth, because its parent's pipe is closed."""
        self._read(0)
        with self._lock:
            if self.returncode is None:
                self.returncode = -signal.SIGKILL
            if self._news >= 0:
                os.close(self._news)
                self._news = -1


class Nursery:
    """A process that has imported a factory's module and forks children of it."""

    def __init__(self, factory: str, environment: Mapping[str, str], nice: int) -> None:
        """`environment` is that of the imports; `nice` is what the first child adds to this process's niceness. The
        nursery itself adds ``MOST_NICE`` at most, because no child can lower what its nursery has."""
        self._nice = min(nice, MOST_NICE)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(CHILD), "--nursery", factory, str(theirs.fileno()), str(self._nice)],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def fork(self, environment: Mapping[str, str], paths: list[str], pipes: Pipes, nice: int) -> Forked:
        """A new child, which is born once the nursery's imports are done. Raises OSError if the nursery is gone."""
        more = max(0, nice - self._nice)
        request = {"environment": dict(environment), "paths": paths, "folder": _folder(), "nice": more}
        read, write = os.pipe()
        try:
            with tempfile.TemporaryFile() as letter:
                letter.write(json.dumps(request).encode())
                letter.seek(0)
                with self._lock:
                    socket.send_fds(self._socket, [b"fork"], [letter.fileno(), *pipes, write])
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return Forked(self.process, read)

    def close(self) -> None:
        self._socket.close()
        self.process.wait()


_nurseries: dict[tuple[int, str, str], Nursery] = {}
_lock = threading.Lock()
MOST_NICE = 10
"""Niceness that a nursery adds to its own at most; its children add the rest of theirs."""
READ_BY_IMPORTS = "TRITON_INTERPRET"
"""The variable that decides what Triton's import makes of its own device functions."""


@atexit.register
def end_nurseries() -> None:
    """Kill this process's nurseries: one that is still importing would outlive this process by seconds."""
    for (owner, *_), nursery in list(_nurseries.items()):
        if owner == os.getpid():
            nursery.process.kill()


def fork(factory: str, environment: Mapping[str, str], paths: list[str], pipes: Pipes, nice: int) -> Forked:
    """A child of this process's nursery for `factory`, which is started if there is none or if it has died."""
    key = os.getpid(), factory, environment.get(READ_BY_IMPORTS, "")
    with _lock:
        for attempt in range(2):
            nursery = _nurseries.get(key)
            if nursery is None or nursery.process.poll() is not None:
                nursery = _nurseries[key] = Nursery(factory, environment, nice)
            try:
                return nursery.fork(environment, paths, pipes, nice)
            except OSError:
                if attempt:
                    raise
                nursery.close()
    raise AssertionError("unreachable")


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def serve_births(factory: str, link_fd: int, nice: int, serve: Serve) -> None:
    """The nursery's side: fork children that `serve` until the parent is gone."""
    os.nice(nice)
    link = socket.socket(fileno=link_fd)
    # What imports make stays. A child that looked for garbage in it would find none, and would copy every page of it.
    gc.disable()
    with contextlib.suppress(BaseException):  # whatever it is, a child meets it again and tells it in its log
        module = importlib.import_module(factory.partition(":")[0])
        getattr(module, BEFORE_FORK, lambda: None)()
    gc.freeze()
    gc.enable()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    news: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([link.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _report_ends(news)
        if link.fileno() in ready:
            asked, given, _, _ = socket.recv_fds(link, 16, 5)
            if not asked:
                return
            letter, connection, life, log, told = given
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in (ended, wake, told, *news.values()):
                    os.close(fd)
                link.close()
                _live(factory, letter, (connection, life, log), serve)
            with contextlib.suppress(OSError):  # it did so itself, or has ended: whoever is told of it kills its group
                os.setpgid(pid, pid)
            with contextlib.suppress(OSError):  # the parent is not interested any more
                os.write(told, f"{pid}\n".encode())
            news[pid] = told
            for fd in (letter, connection, life, log):
                os.close(fd)


def _report_ends(news: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        told = news.pop(pid)
        with contextlib.suppress(OSError):  # the parent is not interested any more
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(told)


def _live(factory: str, letter: int, pipes: Pipes, serve: Serve) -> None:
    """The child's whole life."""
    code = 1
    try:
        os.setpgid(0, 0)
        connection, life, log = pipes
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        with os.fdopen(letter, "rb") as file:
            request: dict[str, Any] = json.load(file)
        os.environ.clear()
        os.environ.update(request["environment"])
        tempfile.tempdir = None  # imports may have asked for the folder of the nursery
        sys.path[:] = [*request["paths"], *(p for p in sys.path if p not in request["paths"])]
        os.nice(request["nice"])
        if request["folder"] is not None:
            os.chdir(request["folder"])
        serve(factory, connection, life)
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:  # noqa: BLE001 -- printed as an interpreter prints what ends it
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
