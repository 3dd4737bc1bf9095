"""A process in its own group that answers jobs one at a time and can be killed at any moment.

Compilers, interpreters and device workers run user code and vendor code that hangs and crashes; each lives in a child.
Jobs and answers are JSON, never pickles: what comes back from a child that ran somebody's kernel is data. The child
ends when its parent does, whichever way the parent ends.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Json = dict[str, Any]
Serve = Callable[[Json], Json]
READY: Json = {"op": "are you ready?"}
"""The one job that every child answers itself, with nothing, once its imports are done."""


class ChildDied(RuntimeError):
    """The child ended in the middle of a job: crashed, was killed from outside, or exited."""


class ChildKilled(ChildDied):
    """SIGKILL from outside: by a person, or by a system that ran out of memory. The job need not be to blame."""


class ChildTimeout(RuntimeError):
    """The job's deadline passed; the child was killed."""


class Child:
    """Runs ``FACTORY(init) -> serve`` in a new process, then ``serve(job) -> answer`` for every job.

    `factory` is ``"module:function"``; its module is imported at once, and without an `init` the child then waits for
    ``begin``. One job at a time: a caller with threads holds a lock or owns its child.
    """

    def __init__(self, factory: str, init: Json | None = None, env: dict[str, str] | None = None) -> None:
        ours, theirs = _pair()
        life_read, self._life = os.pipe()
        self._log = tempfile.TemporaryFile(mode="w+b")  # noqa: SIM115 -- lives as long as the child
        paths = os.pathsep.join(p or os.getcwd() for p in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.harness.process.child", factory, str(theirs.fileno()), str(life_read)],
            env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(theirs.fileno(), life_read),
            start_new_session=True,
        )
        theirs.close()
        os.close(life_read)
        self._connection = ours
        if init is not None:
            self.begin(init)

    def begin(self, init: Json) -> None:
        """Send the init, once. If the child has died meanwhile, its first job reports it."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(json.dumps(init).encode())

    def call(self, job: Json, deadline_s: float) -> Json:
        """The child's answer to `job`. Raises ChildTimeout or ChildDied; the child is gone after either."""
        try:
            self._connection.send_bytes(json.dumps(job).encode())
            if not self._connection.poll(deadline_s):
                self.kill()
                raise ChildTimeout(f"no answer within {deadline_s:g} s; the process was killed")
            answer: Json = json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError, OSError) as e:
            raise self._death() from e
        except BaseException:
            self.kill()  # an interrupted call leaves an answer under way that would be read as the next job's
            raise
        if "raised" in answer:
            raise RuntimeError(f"our code failed in a child process:\n{answer['raised']}")
        return answer

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def log_tail(self, size: int = 2000) -> str:
        """The end of what the child printed during its last job."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - size))
        return self._log.read().decode(errors="replace").strip()

    def send_kill(self) -> None:
        """Send SIGKILL to the child and its own children, from any thread. A ``call`` under way raises ChildKilled."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the child, wait for its end and close its pipes; for the thread that owns it. Safe to call twice."""
        self.send_kill()
        self.process.wait()
        self._connection.close()
        if self._life >= 0:
            os.close(self._life)
            self._life = -1

    def _death(self) -> ChildDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        code = self.process.returncode
        self.kill()
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        lines = self.log_tail().splitlines()
        message = f"the process died ({how})" + (f": {lines[-1][:200]}" if lines else "")
        return (ChildKilled if code == -signal.SIGKILL else ChildDied)(message)


def _pair() -> tuple[Connection, Connection]:
    from multiprocessing import Pipe

    return Pipe(duplex=True)


def _end_with_parent(life: int) -> None:
    """The parent holds the pipe's other end and never writes: a read returns when the parent is gone."""
    os.read(life, 1)
    os.killpg(0, signal.SIGKILL)


def main(factory: str, connection_fd: int, life_fd: int) -> None:
    threading.Thread(target=_end_with_parent, args=(life_fd,), daemon=True).start()
    connection = Connection(connection_fd)
    module, _, name = factory.partition(":")
    make: Callable[[Json], Serve] = getattr(importlib.import_module(module), name)
    serve: Serve | None = None
    log = sys.stdout.fileno()
    while True:
        try:
            job = json.loads(connection.recv_bytes())
        except EOFError:
            return
        if serve is None:
            serve = make(job)
            continue
        if job == READY:
            connection.send_bytes(b"{}")
            continue
        os.ftruncate(log, 0)
        os.lseek(log, 0, os.SEEK_SET)
        try:
            answer = serve(job)
        except Exception:  # noqa: BLE001 -- handed to the parent, which raises it
            import traceback

            answer = {"raised": traceback.format_exc()}
        connection.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
