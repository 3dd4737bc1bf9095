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
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started by path: nothing of this project can be imported yet
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tools.harness.process import sandbox
from tools.harness.process.nursery import Forked, fork, serve_births
from tools.harness.process.own_packages import PACKAGES, claim, current_folder, paths_for_children
from tools.harness.process.refusal import Refusal
from tools.harness.process.run_delay import RunDelay

Json = dict[str, Any]
Serve = Callable[[Json], Json]
READY: Json = {"op": "are you ready?"}
"""The one job that every child answers itself, with nothing, once its imports are done."""
FRAME = re.compile(r'\s+File "(.+)", line (\d+)')
"""A line of Python's traceback."""
OWN_FILES = "autokernel-child-"
"""Begins the name of a child's folder for temporary files."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of a child that multiplies matrices by numpy, one of several beside compilers. Its threads, one for each
core, would wait for their parts in loops, on the cores that the compilers need."""
START_DEADLINE_S = 120.0
"""Importing torch from a cold disk."""
LOOK_S = 1.0
"""How often it is looked whether a child that works could run."""
MOST_TIMES = 10
"""A job is given up after so many times its deadline, however busy the machine is."""


class ChildDied(RuntimeError):
    """The child ended in the middle of a job: crashed, was killed from outside, or exited."""


class ChildUnborn(ChildDied):
    """The child ended, or hung, before it was ready for its first job: no job is to blame."""


class ChildKilled(ChildDied):
    """SIGKILL from outside: by a person, or by a system that ran out of memory. The job need not be to blame."""


class ChildTimeout(RuntimeError):
    """The job's deadline passed; the child was killed."""

    deadline_s = 0.0
    """That of the job."""


class Child:
    """Runs ``FACTORY(init) -> serve`` in a new process, then ``serve(job) -> answer`` for every job.

    `factory` is ``"module:function"``. The child imports the module at once. If there is no `init`, it then waits for
    ``begin``. The child does one job at a time: a caller with threads holds a lock or owns its child.

    With `writable` the child is shut in before it imports anything (:mod:`tools.harness.process.sandbox`): it has no
    network, and writes to these folders alone. Its temporary files go to the first of them. Those of any other child go
    to a folder of its own, which this process removes at the child's end: a child that is killed removes nothing. If
    this process is killed, the child removes it.

    If `factory` belongs to this project, the child does not search the current folder for imports, because a file in
    that folder may have the name of a package. Otherwise it searches that folder too.
    """

    def __init__(
        self,
        factory: str,
        init: Json | None = None,
        env: dict[str, str] | None = None,
        writable: Sequence[str] | None = None,
        forked: bool = False,
        nice: int = 0,
    ) -> None:
        """`env` is added to this process's environment. A `forked` child comes from a nursery (``nursery.py``), which
        has made the imports of `factory` once for all: for what has many children, measures nothing and is not shut in.
        `nice` is added to its niceness."""
        ours, theirs = _pair()
        life_read, self._life = os.pipe()
        self._log = tempfile.TemporaryFile(mode="w+b")  # noqa: SIM115 -- lives as long as the child
        self._ready = False
        self.loaded: set[str] = set()
        """What its user has had it import."""
        self._closing = threading.Lock()
        paths = paths_for_children()
        if factory.partition(".")[0] not in PACKAGES:
            paths += current_folder()
        kept = dict(os.environ) if writable is None else sandbox.environment(writable[0])
        self._remove_files: Callable[[], Any] = lambda: None
        if writable is None:
            kept["TMPDIR"] = folder = tempfile.mkdtemp(prefix=OWN_FILES)
            self._remove_files = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        environment = {
            **kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **(env or {})
        }  # fmt: skip
        pipes = theirs.fileno(), life_read, self._log.fileno()
        self.process: subprocess.Popen[bytes] | Forked
        if forked and writable is None:
            self.process = fork(factory, environment, paths, pipes, nice)
        else:
            shut_in = () if writable is None else (str(nice), *writable)
            self.process = subprocess.Popen(
                [sys.executable, "-P", __file__, factory, *map(str, pipes[:2]), *shut_in],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=pipes[:2],
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

    def wait_until_ready(self, deadline_s: float = START_DEADLINE_S) -> None:
        """Wait until the imports and the factory are done. Raises ChildUnborn, or ChildKilled if somebody killed it."""
        if self._ready:
            return
        try:
            self._exchange(READY, deadline_s)
        except ChildKilled:
            raise
        except Refusal as e:
            self.kill()
            raise ChildUnborn(str(e)) from e
        except ChildDied as e:
            raise ChildUnborn(f"a child process of ours does not start: {e}") from e
        except ChildTimeout as e:
            raise ChildUnborn(f"a child process of ours does not start: no sign of it in {deadline_s:g} s") from e
        self._ready = True

    def call(self, job: Json, deadline_s: float) -> Json:
        """The child's answer to `job`. What does not count towards the deadline: the time until the child is ready, and
        that in which its processes wait for a processor.

        Raises ChildTimeout or ChildDied, after which the child is gone (ChildUnborn if it was never ready), and Refusal
        if the child refuses the job."""
        self.wait_until_ready()
        return self._exchange(job, deadline_s)

    def _exchange(self, job: Json, deadline_s: float) -> Json:
        try:
            self._connection.send_bytes(json.dumps(job).encode())
            if not self._answers_within(deadline_s):
                self.kill()
                late = ChildTimeout(f"no answer within {deadline_s:g} s; the process was killed")
                late.deadline_s = deadline_s
                raise late
            answer: Json = json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError, OSError) as e:
            raise self._death() from e
        except BaseException:
            self.kill()  # an interrupted call leaves an answer under way that would be read as the next job's
            raise
        if "refused" in answer:
            raise Refusal(answer["refused"])
        if "raised" in answer:
            raise RuntimeError(f"our code failed in a child process:\n{answer['raised']}")
        return answer

    def _answers_within(self, deadline_s: float) -> bool:
        """Whether an answer comes within `deadline_s` seconds, of which those do not count in which the child could not
        run because the processors were busy: nobody's kernel is to blame for them."""
        began = time.monotonic()
        if self._connection.poll(min(deadline_s, LOOK_S)):
            return True  # most jobs end before anything has to be asked of the system
        pid = self.process.pid
        delay = None if pid is None or deadline_s <= LOOK_S else RunDelay(pid)
        while True:
            excused = min(delay.seconds(), (MOST_TIMES - 1) * deadline_s) if delay else 0.0
            left = began + deadline_s + excused - time.monotonic()
            if left <= 0:
                return False
            if self._connection.poll(min(left, LOOK_S)):
                return True

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
        pid = self.process.pid
        if pid is not None:  # otherwise it ends at its birth: ``kill`` closes the pipe that says that its parent lives
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the child, wait for its end and close its pipes. Safe to call twice, from two threads as well: one that
        found the child dead, and one that closes all."""
        self.send_kill()
        if self.process.pid is not None:
            self.process.wait()
        self._remove_files()
        with self._closing:
            self._connection.close()
            if self._life >= 0:
                os.close(self._life)
                self._life = -1
                if isinstance(self.process, Forked):
                    self.process.close()

    def _death(self) -> ChildDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        code = self.process.returncode
        self.kill()
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        message = f"the process died ({how})" + (f": {last}" if (last := last_words(self.log_tail())) else "")
        return (ChildKilled if code == -signal.SIGKILL else ChildDied)(message)


def last_words(log: str) -> str:
    """The last line of what a process printed. After an error of Python, also the file and line that raised it."""
    lines = [line for line in log.splitlines() if line.strip()]
    if not lines:
        return ""
    last = lines[-1].strip()[:300]
    frames = [m for line in lines if (m := FRAME.match(line)) and not m[1].startswith("<")]
    return f"{last} ({frames[-1][1]}:{frames[-1][2]})" if frames and not lines[-1].startswith(" ") else last


def _pair() -> tuple[Connection, Connection]:
    from multiprocessing import Pipe

    return Pipe(duplex=True)


def _end_with_parent(life: int, folder: str) -> None:
    """The parent holds the pipe's other end and never writes: a read returns when the parent is gone. `folder` is where
    this process's temporary files are."""
    os.read(life, 1)
    _remove_own_files(folder)
    os.killpg(0, signal.SIGKILL)


def _remove_own_files(folder: str) -> None:
    if os.path.basename(folder).startswith(OWN_FILES):
        shutil.rmtree(folder, ignore_errors=True)


def main(factory: str, connection_fd: int, life_fd: int) -> None:
    folder = os.environ.get("TMPDIR", "")
    threading.Thread(target=_end_with_parent, args=(life_fd, folder), daemon=True).start()
    connection = Connection(connection_fd)
    module, _, name = factory.partition(":")
    make: Callable[[Json], Serve] = getattr(importlib.import_module(module), name)
    serve: Serve | None = None
    refused: Json = {}
    """The answer to every job, if the factory refused the init."""
    log = sys.stdout.fileno()
    while True:
        try:
            job = json.loads(connection.recv_bytes())
        except EOFError:
            _remove_own_files(folder)  # the thread that does it may not have begun
            return
        if serve is None and not refused:
            try:
                serve = make(job)
            except Refusal as e:
                refused = {"refused": str(e)}
            continue
        if serve is None or job == READY:
            connection.send_bytes(json.dumps(refused).encode())
            continue
        os.ftruncate(log, 0)
        os.lseek(log, 0, os.SEEK_SET)
        try:
            answer = serve(job)
        except Refusal as e:
            answer = {"refused": str(e)}
        except Exception:  # noqa: BLE001 -- handed to the parent, which raises it
            import traceback

            answer = {"raised": traceback.format_exc()}
        connection.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    claim()
    if sys.argv[1] == "--nursery":
        serve_births(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), main)
        sys.exit()
    if sys.argv[4:]:
        os.nice(int(sys.argv[4]))
        sandbox.enter(sys.argv[5:])  # before there is a second thread, which would stay outside
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
