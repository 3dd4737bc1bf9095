"""What is shut in reaches no network and changes no file outside its scratch, and the harness works inside."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tools.harness.process import sandbox
from tools.harness.process.child import Child

pytestmark = [pytest.mark.process, pytest.mark.skipif(sandbox.why_not() is not None, reason=f"{sandbox.why_not()}")]


def name_a_thread():
    """As pthread_setname_np does for another thread."""
    wait, named = threading.Event(), []
    thread = threading.Thread(target=wait.wait)
    thread.start()
    try:
        named.append(Path(f"/proc/self/task/{thread.native_id}/comm").write_text("named"))
    finally:
        wait.set()
        thread.join()


def write_to_a_pair():
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")


def serve_attempts(init):
    """A child that tries what `job` names and reports how it ended."""

    def attempt(job):
        path = job.get("path", "")
        attempts = {
            "write": lambda: Path(path).write_text("x"),
            "append": lambda: open(path, "a").close(),
            "truncate": lambda: os.truncate(path, 0),
            "remove": lambda: os.remove(path),
            "rename": lambda: os.rename(path, path + ".moved"),
            "mkdir": lambda: os.mkdir(path),
            "link": lambda: os.link(path, job["to"]),
            "symlink": lambda: os.symlink("/", path),
            "chmod": lambda: os.chmod(path, 0o777),
            "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
            "tcp": lambda: socket.create_connection(("127.0.0.1", job["port"]), 2),
            "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "unix": lambda: socket.socket(socket.AF_UNIX),
            "connect": lambda: socket.socket(socket.AF_UNIX).connect(path),
            "address": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", path),
            "message": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, path),
            "bind": lambda: socket.socket(socket.AF_UNIX).bind(path),
            "pair": lambda: write_to_a_pair(),
            "name": lambda: name_a_thread(),
            "kill": lambda: os.kill(job["pid"], 0),
            "program": lambda: subprocess.run([sys.executable, "-c", f"open({path!r}, 'w')"], check=True),
            "read": lambda: Path(path).read_text(),
            "variable": lambda: os.environ[job["name"]],
            "temporary": lambda: tempfile.NamedTemporaryFile().close(),
            "memory": lambda: bytearray(sandbox.MOST_MEMORY + (1 << 30)),
        }
        try:
            attempts[job["what"]]()
        except Exception as e:  # noqa: BLE001 -- how it ends is what is asked
            return {"ended": type(e).__name__}
        return {"ended": "done"}

    return attempt


@pytest.fixture(scope="module")
def shut_in(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    os.environ["MY_API_KEY"] = "secret"
    child = Child("tests.tools.harness.test_sandbox:serve_attempts", {}, writable=[str(scratch)])
    yield lambda what, **about: child.call({"what": what, **about}, 60)["ended"], scratch
    child.kill()
    del os.environ["MY_API_KEY"]


@pytest.fixture(scope="module")
def shut_in_with_a_gpu(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    writable = [str(scratch), "/dev/nvidia-of-no-machine"]
    child = Child("tests.tools.harness.test_sandbox:serve_attempts", {}, writable=writable)
    yield lambda what, **about: child.call({"what": what, **about}, 60)["ended"], scratch
    child.kill()


def test_with_a_gpu_it_may_do_what_cuda_does_as_it_starts(shut_in_with_a_gpu):
    attempt, scratch = shut_in_with_a_gpu
    assert [attempt(what) for what in ("unix", "pair", "name")] == ["done"] * 3
    assert attempt("bind", path=str(scratch / "socket")) == "done"


def test_with_a_gpu_it_reaches_nobody_either(shut_in_with_a_gpu, tmp_path):
    attempt, _ = shut_in_with_a_gpu
    stream, letters = str(tmp_path / "stream"), str(tmp_path / "letters")
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        one.bind(stream)
        one.listen()
        other.bind(letters)
        tried = {"connect": stream, "address": letters, "message": letters}
        assert {what: attempt(what, path=path) for what, path in tried.items()} == dict.fromkeys(
            tried, "PermissionError"
        )
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
    assert attempt("udp") == "PermissionError"
    assert attempt("bind", path=str(tmp_path / "socket")) == "PermissionError"
    assert attempt("write", path=str(tmp_path / "kept")) == "PermissionError"


@pytest.mark.parametrize(
    "what", ["write", "append", "truncate", "remove", "rename", "mkdir", "symlink", "chmod", "chown"]
)
def test_files_outside_stay_as_they_are(what, shut_in, tmp_path):
    path = tmp_path / "kept"
    if what not in ("mkdir", "symlink"):
        path.write_text("mine")
    assert shut_in[0](what, path=str(path)) == "PermissionError"
    assert what in ("mkdir", "symlink") or path.read_text() == "mine"


def test_a_program_that_it_starts_is_shut_in_as_well(shut_in, tmp_path):
    assert shut_in[0]("program", path=str(tmp_path / "new")) == "CalledProcessError"
    assert not (tmp_path / "new").exists()


def test_a_file_of_ours_cannot_be_linked_into_its_scratch(shut_in, tmp_path):
    (tmp_path / "kept").write_text("mine")
    assert shut_in[0]("link", path=str(tmp_path / "kept"), to=str(shut_in[1] / "link")) != "done"


@pytest.mark.parametrize("what", ["tcp", "udp", "unix"])
def test_there_is_no_network(what, shut_in):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert shut_in[0](what, port=server.getsockname()[1]) == "PermissionError"


def test_nobody_outside_is_signalled(shut_in):
    assert shut_in[0]("kill", pid=os.getpid()) == "PermissionError"


def test_secrets_of_the_environment_are_not_there(shut_in):
    assert shut_in[0]("variable", name="MY_API_KEY") == "KeyError"


def test_memory_is_limited(shut_in):
    assert shut_in[0]("memory") == "MemoryError"


def test_its_scratch_and_reading_are_left(shut_in):
    run, scratch = shut_in
    assert run("write", path=str(scratch / "a")) == "done"
    assert run("temporary") == "done"
    assert run("read", path=__file__) == "done"


def test_a_folder_that_does_not_exist_is_said(tmp_path):
    """It would be a right that the process does not have, found out by its first file."""
    with pytest.raises(sandbox.NoSandbox, match="gone cannot be allowed"):
        sandbox._restrict_files(sandbox.ctypes.CDLL(None, use_errno=True), [str(tmp_path / "gone")])


def test_a_machine_without_it_says_so(monkeypatch):
    monkeypatch.setattr(sandbox, "LEAST_ABI", 1000)
    with pytest.raises(sandbox.NoSandbox, match="no Landlock of version 1000"):
        sandbox._restrict_files(sandbox.ctypes.CDLL(None, use_errno=True), [])
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    with pytest.raises(sandbox.NoSandbox, match="riscv64"):
        sandbox.enter([])
