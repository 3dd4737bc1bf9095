"""What only a process shows: streams that are closed or full, and Ctrl-C at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.walk.case import Case, faults, run
from tests.faults.walk.commands import ROOT, Command

pytestmark = pytest.mark.process
Make = Callable[..., Case]


@pytest.fixture
def case(tmp_path: Path) -> Make:
    def make(words: str, codes: tuple[int, ...], **world: object) -> Case:
        argv = words.split()
        env = {"XDG_DATA_HOME": str(tmp_path / "data")}
        return Case(Command(words), "a test", argv, tmp_path, codes, env=env, **world)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    ("codes", "world"),
    [
        ((1,), {"stdout": "full"}),
        ((0,), {"stdout": "closed"}),
        ((0,), {"stderr": "full"}),
        ((0,), {"stdin": "closed", "stdout": "closed", "stderr": "closed"}),
        ((141,), {"stdout": "gone"}),
    ],
)
def test_streams_that_take_nothing(case: Make, codes: tuple[int, ...], world: dict[str, str]) -> None:
    tried = case("agent runs", codes, **world)
    assert faults(tried, run(tried)) == []


@pytest.mark.parametrize("unbuffered", [None, "1"])
@pytest.mark.parametrize(
    ("words", "code"), [("agent runs --json", 1), ("agent --help", 1), ("tools", 1), ("agent --json zorp", 2)]
)
def test_a_full_stdout_is_no_traceback_however_python_writes(
    case: Make, words: str, code: int, unbuffered: str | None
) -> None:
    """A buffer that cannot be written is flushed once more whenever Python or a command ends."""
    tried = case(words, (code,), stdout="full")
    tried.env["PYTHONUNBUFFERED"] = unbuffered
    ended = run(tried)
    assert faults(tried, ended) == []
    assert ended.stderr.count("error: ") == 1


def test_a_full_stdout_is_one_sentence(case: Make) -> None:
    assert run(case("memory --version", (1,), stdout="full")).stderr.startswith("error: the output cannot be written")


def test_a_file_does_not_become_the_closed_stdout(case: Make, tmp_path: Path) -> None:
    """SQLite refuses the numbers of the standard streams; a file of ours would be printed into."""
    tried = case("agent export evals/traces/live-h200.jsonl --output " + str(tmp_path / "page.html"), (0,))
    tried.stdout = "closed"
    assert faults(tried, run(tried)) == []
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("words", ["agent runs", "tools list"])
def test_a_current_folder_that_was_deleted_is_one_sentence(case: Make, tmp_path: Path, words: str) -> None:
    """Where PyTorch is imported, Intel's MKL would end the process in words of its own."""
    tried = case(words, (2,), cwd=tmp_path / "gone", delete_cwd=True)
    tried.cwd.mkdir()
    assert run(tried).stderr == "error: the current folder does not exist any more: change to one that does\n"


def test_ctrl_c_while_it_loads_is_no_traceback() -> None:
    script = (
        "import os, signal, sys\n"
        "class Presses:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'memory.commands': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Presses)\n"
        "from memory.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def command_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """The end of ``command.py`` in `folder`, entered as a command is, and stopped as from a terminal."""
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "from memory.command_line.door import enter, leave\n"
        "leave(enter('command'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20
    )


@pytest.mark.parametrize(("stops", "stdout"), [("import stubborn", ""), ("press()", "put away\n")])
def test_ctrl_c_ends_a_command_whatever_an_import_makes_of_exceptions(tmp_path: Path, stops: str, stdout: str) -> None:
    """Without the door's own answer, a module that drops every exception, as NumPy's and PyTorch's do, lets the command
    go on. Elsewhere the command still unwinds."""
    press = "import os, signal\ndef press(): os.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "stubborn.py").write_text(f"{press}try: press()\nexcept BaseException: pass\n")
    body = f"try: {stops}\n    finally: print('put away', flush=True)"
    (tmp_path / "command.py").write_text(f"{press}def main():\n    {body}\n    return 0\n")
    done = command_in(tmp_path)
    assert (done.returncode, done.stdout) == (130, stdout)


def test_ctrl_c_while_a_module_is_imported_leaves_no_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    (tmp_path / "command.py").write_text(
        "import tempfile\n"
        "def main():\n"
        f"    folder = tempfile.TemporaryDirectory(prefix='ours', dir={str(tmp_path)!r})\n"
        "    import slow\n"
    )
    assert command_in(tmp_path).returncode == 130
    assert list(tmp_path.glob("ours*")) == []


def test_a_command_that_was_stopped_waits_for_no_thread(tmp_path: Path) -> None:
    """Python joins threads before it ends, such as one that waits for a process."""
    (tmp_path / "command.py").write_text(
        "import atexit, os, signal, threading, time\n"
        "def main():\n"
        "    atexit.register(print, 'put away')\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = command_in(tmp_path)
    assert (done.returncode, done.stdout) == (130, "put away\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_while_it_waits_for_its_threads_unwinds_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "command.py").write_text(
        "import atexit, os, signal, threading, time\n"
        "from memory.command_line.door import interrupt\n"
        "def press():\n"
        "    time.sleep(0.2)\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    time.sleep(60)\n"
        "def main():\n"
        "    atexit.register(print, 'put away', flush=True)\n"
        "    signal.signal(signal.SIGTERM, interrupt)\n"
        "    threading.Thread(target=press).start()\n"
        "    return 0\n"
    )
    done = command_in(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "put away\n", "\nstopped\n")


def test_a_command_that_is_over_has_waited_for_its_threads_and_unloads_nothing(tmp_path: Path) -> None:
    """Python takes a second or two to unload PyTorch."""
    (tmp_path / "command.py").write_text(
        "import atexit, threading, time\n"
        "class Unloaded:\n"
        "    def __del__(self): print('unloaded')\n"
        "kept = Unloaded()\n"
        "def work():\n"
        "    time.sleep(0.2)\n"
        "    print('worked')\n"
        "def main():\n"
        "    atexit.register(print, 'put away')\n"
        "    threading.Thread(target=work).start()\n"
        "    return 3\n"
    )
    done = command_in(tmp_path)
    assert (done.returncode, done.stdout) == (3, "worked\nput away\n")


@pytest.mark.parametrize(
    ("program", "last"),
    [
        (["-m", "cProfile", "-m", "memory", "--help"], "function calls"),
        (
            ["-c", "import sys\nfrom memory.__main__ import main\nsys.argv[1:] = ['--help']\nprint(main(), 'later')"],
            "later",
        ),
    ],
)
def test_a_program_that_runs_a_command_goes_on_after_it(program: list[str], last: str) -> None:
    done = subprocess.run([sys.executable, *program], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The newest runs" in done.stdout
    assert last in done.stdout
