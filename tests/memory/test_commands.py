from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from memory.commands import cli, main
from memory.store import Memory
from tests.memory.conftest import RECORDED, Filled, fill

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


def test_tables_for_people_name_the_device(filled: Filled, capsys: Capture) -> None:
    fill(filled.memory, info=RECORDED, run="recorded")
    for command in ("best", "history", "failures", "runs"):
        assert main([command, "--memory", str(filled.memory.path)]) == 0
        out = capsys.readouterr().out
        assert "NVIDIA H200 (live)" in out
        assert "NVIDIA H200 (recorded: fused.json.gz" in out
    assert main(["failures", "--memory", str(filled.memory.path)]) == 0
    assert "BLOCK_K=128 with num_stages=4: shared memory, 4 of 4" in " ".join(capsys.readouterr().out.split())


def test_json_and_csv_hold_the_same_rows(filled: Filled, capsys: Capture) -> None:
    at = ["--memory", str(filled.memory.path), "--kernel", "fused_matmul", "--problem", "4096X4096", "--limit", "3"]
    assert main(["best", *at, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(["best", *at, "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(lines) == 3
    assert [json.loads(line["config"]) for line in lines] == [r["config"] for r in rows]
    assert [float(line["ms"]) for line in lines] == [r["ms"] for r in rows]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["best", "--kernel", "softmax"], "no kernel 'softmax'; it has fused_matmul"),
        (["failures", "--problem", "7x7x7"], "no problem '7x7x7'; it has e.g. 4096x4096x4096"),
        (["best", "--limit", "0"], "--limit"),
        (["best", "--limit", "many"], "--limit"),
        (["history", "--colour"], "--colour"),
        (["export", "--format", "xml"], "--format"),
        (["prune", "--older-than", "-1"], "--older-than"),
    ],
)
def test_wrong_arguments_get_one_sentence(filled: Filled, arguments: list[str], words: str, capsys: Capture) -> None:
    assert main([*arguments, "--memory", str(filled.memory.path)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_every_question_to_an_empty_memory_says_so(path: Path, capsys: Capture) -> None:
    Memory.open(path)
    for command in ("best", "history", "failures", "runs"):
        assert main([command, "--memory", str(path)]) == 0
        captured = capsys.readouterr()
        assert "is empty" in captured.err
        assert captured.out == ""
        assert main([command, "--memory", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []


def test_no_memory_yet_is_said_and_none_is_made(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(path.parent))
    for command in ("best", "stats", "lessons"):
        assert main([command]) == 0
        assert capsys.readouterr().err != ""
    assert list(path.parent.iterdir()) == []
    assert main(["best", "--memory", str(path)]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_what_others_wrote_cannot_steer_the_terminal(filled: Filled, capsys: Capture) -> None:
    filled.memory.record_lesson(None, "k", None, None, "a\x1b[2Jb\nc")
    assert main(["lessons", "--memory", str(filled.memory.path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a\\x1b[2Jb\\nc" in out


def test_stats_count(filled: Filled, capsys: Capture) -> None:
    assert main(["stats", "--memory", str(filled.memory.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["attempts"], found["runs"], found["configs"]) == (16, 1, 16)


@pytest.mark.parametrize("arguments", [["--help"], ["best"]])
def test_nothing_heavy_is_imported_for_help_and_answers(filled: Filled, arguments: list[str]) -> None:
    """What a start costs is what it imports."""
    where = [] if arguments == ["--help"] else ["--memory", str(filled.memory.path)]
    code = (
        "import sys; from memory.commands import main; main(sys.argv[1:]); "
        "print({'torch', 'triton', 'langgraph', 'openai', 'numpy', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, *where], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_closed_pipe_is_no_error(filled: Filled) -> None:
    command = f"{sys.executable} -m memory history --memory {filled.memory.path} | head -c 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "MEMORY.md").read_text()
    missing = [
        name for name, command in cli.commands.items() if f"python -m memory {name}" not in text or not command.help
    ]
    assert missing == []
