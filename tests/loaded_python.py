"""``python`` that has imported PyTorch, Triton and LangGraph already.

To import them takes 3 s of processor time, which is most of what many a command needs. One process imports them, and
every command is a fork of it: a process of its own, with its own environment, folder, output and end. Of this project
nothing is imported beforehand.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


class LoadedPython:
    """Runs one command at a time. The process that imports is started with the first."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` is that of the imports."""
        self._environment = dict(environment)
        self._server: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def run(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """What ``python`` with `words` prints and how it ends: ``-m MODULE ...`` or ``FILE ...``. Raises
        subprocess.TimeoutExpired after `timeout` seconds; everything that the command started is killed then."""
        link = self._link or self._start()
        request = json.dumps({"words": [*words], "cwd": str(cwd), "environment": dict(env)}).encode()
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            asked.write(request)
            asked.seek(0)
            socket.send_fds(link, [b"run"], [asked.fileno(), out.fileno(), err.fileno()])
            if not select.select([link], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired([*words], timeout)
            answer = link.recv(100)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        if not answer:
            raise RuntimeError("the process that had imported PyTorch has ended")
        return subprocess.CompletedProcess([*words], int(answer), *texts)

    def _start(self) -> socket.socket:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.loaded_python", str(theirs.fileno())],
                cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )  # fmt: skip
        return self._link

    def close(self) -> None:
        """End the process that imported, and what it runs."""
        if self._server is not None and self._link is not None:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
            self._link.close()
            self._server = self._link = None


def next_command(link: socket.socket) -> list[str]:
    """Forks a process for every request. Returns in such a process, as what was asked for, with the words of its
    command; ends with the parent."""
    while True:
        message, given, _, _ = socket.recv_fds(link, 16, 3)
        if not message:
            sys.exit(0)
        asked, out, err = given
        child = os.fork()
        if child == 0:
            link.close()
            with os.fdopen(asked, "rb") as file:
                request = json.load(file)
            for target, fd in ((1, out), (2, err)):
                os.dup2(fd, target)
                os.close(fd)
            os.environ.clear()
            os.environ.update(request["environment"])
            os.chdir(request["cwd"])
            return request["words"]
        for fd in given:
            os.close(fd)
        link.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def main() -> None:
    """Imports, then forks. What a forked process runs ends as it would in an interpreter of its own."""
    import langgraph.graph  # noqa: F401
    import sympy  # noqa: F401 -- PyTorch imports it when it first multiplies on meta tensors
    import torch  # noqa: F401
    import triton.language  # noqa: F401

    words = next_command(socket.socket(fileno=int(sys.argv[1])))
    sys.path[0:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
