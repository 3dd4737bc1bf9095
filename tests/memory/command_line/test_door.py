"""What only a process shows: streams that are closed or full, and Ctrl-C at any moment."""

from __future__ import annotations

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


def test_a_full_stdout_is_one_sentence(case: Make) -> None:
    assert run(case("memory --version", (1,), stdout="full")).stderr.startswith("error: the output cannot be written")


def test_a_file_does_not_become_the_closed_stdout(case: Make, tmp_path: Path) -> None:
    """SQLite refuses the numbers of the standard streams; a file of ours would be printed into."""
    tried = case("agent export evals/traces/live-h200.jsonl --output " + str(tmp_path / "page.html"), (0,))
    tried.stdout = "closed"
    assert faults(tried, run(tried)) == []
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


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
