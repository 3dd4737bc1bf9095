"""``python -m agent capture`` and ``captures show``: exit codes, one sentence for a mistake, nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import UsageError
from agent.programs import capture
from kernels.capture.capture_file import append, begin, line_of
from kernels.capture.reading.captured_launches import read_capture

ROOT = Path(__file__).parents[3]


@pytest.mark.process
def test_the_example_is_captured_as_it_is(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    path = tmp_path / "run.capture"
    program = [sys.executable, str(ROOT / "examples" / "captured_program.py")]
    assert main(["capture", "-o", str(path), "--", *program]) == 0
    out, err = capfd.readouterr()
    assert out == "mean square 1.000\n"
    assert "6 launches, 4 distinct, of 2 functions" in err
    assert main(["captures", "show", str(path), "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["launches"]
    assert {(r["kernel"], r["launches"], r["writes"]) for r in rows} == {
        ("gated", 2, "out_ptr"),
        ("gated", 1, "out_ptr"),
        ("normalise", 2, "x_ptr"),
        ("normalise", 1, "x_ptr"),
    }


@pytest.mark.compile
@pytest.mark.process
def test_the_launches_are_compiled_for_a_gpu_model_that_is_not_here(captured_example, capsys):
    path = captured_example
    assert main(["captures", "compile", str(path), "--kernel", "normalise", "--for", "H200", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["compiled"]
    assert [(r["kernel"], r["for"], r["status"]) for r in rows] == [("normalise", "H200", "compiles")] * 2
    assert all(r["registers"] > 0 for r in rows)
    for words, part in (([], "name a GPU model by --for"), (["--for", "Z9"], "no facts about hardware 'Z9'")):
        assert main(["captures", "compile", str(path), *words]) == 2
        assert part in capsys.readouterr().err


@pytest.mark.process
def test_the_programs_exit_code_is_passed_on(tmp_path, capfd):
    path = str(tmp_path / "a.capture")
    for code, why in ((0, ": the program made none"), (5, " before the program ended with exit code 5.")):
        assert main(["capture", "-o", path, "--", "sh", "-c", f"exit {code}"]) == code
        assert f"No Triton launch was seen{why}" in capfd.readouterr().err
    assert main(["capture", "-o", path, "--", "sh", "-c", "kill -9 $$"]) == 137
    capfd.readouterr()
    assert main(["capture", "-o", str(tmp_path / "stopped"), "--", "sh", "-c", "kill -TERM $$"]) == 143
    assert "No Triton launch was seen before the program was stopped." in capfd.readouterr().err
    gone = str(tmp_path / "gone")
    assert main(["capture", "-o", gone, "--", "sh", "-c", f"rm {gone}; exit 5"]) == 5
    assert f"error: {gone} cannot be read" in capfd.readouterr().err
    assert main(["capture", "-o", gone, "--", "rm", gone]) == 2
    assert main(["capture", "-o", path]) == 2
    assert "capture needs a command: python -m agent capture -o run.capture --" in capfd.readouterr().err
    assert read_capture(path).programs == 3


@pytest.mark.process
def test_a_program_that_needs_a_gpu_is_told_so(tmp_path, capfd):
    errors = {
        "Torch not compiled with CUDA enabled": "needs torch.cuda",
        "0 active drivers ([]). There should only be one.": "set TRITON_INTERPRET=1 to run its kernels",
    }
    for number, (error, told) in enumerate(errors.items()):
        program = ["--", sys.executable, "-c", f"raise RuntimeError({error!r})"]
        assert main(["capture", "-o", str(tmp_path / str(number)), *program]) == 1
        assert told in capfd.readouterr().err


def test_mistakes_are_one_sentence(tmp_path, capsys):
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "newer").write_bytes(line_of("capture", {"format": "autokernel-capture", "version": 9})[1])
    mistakes = {
        ("capture", "-o", str(tmp_path / "a"), "--", "no-such-program"): "no-such-program cannot be started",
        ("capture", "-o", str(tmp_path / "text"), "--", "true"): "is no capture",
        ("capture", "-o", str(tmp_path / "no" / "folder"), "--", "true"): "cannot be written",
        ("capture", "-o", "/dev/null", "--", "true"): "cannot be written (it is no regular file, and the",
        ("capture", "-o", str(tmp_path), "--", "true"): "cannot be written (it is a folder): name another file",
        ("captures", "show", str(tmp_path / "none")): "cannot be read",
        ("captures", "show", str(tmp_path / "newer")): "format 9",
        ("captures", "show", str(tmp_path)): "cannot be read",
    }
    for words, message in mistakes.items():
        assert main(list(words)) == 2
        err = capsys.readouterr().err
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert (tmp_path / "text").read_text() == "hello\n"


def test_a_capture_is_written_to_no_stream(tmp_path, capfd):
    """A program that prints would print into its capture."""
    begun = tmp_path / "begun"
    with open(tmp_path / "redirected", "w") as redirected:
        out = f"/dev/fd/{redirected.fileno()}"
        refused = f"-o {out} cannot be written (it is no regular file, and the command reads it again or replaces it)"
        assert main(["capture", "-o", out, "--", "touch", str(begun)]) == 2
        assert refused in capfd.readouterr().err
        with pytest.raises(UsageError) as raised, capture(out):
            begun.touch()
        assert refused in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["redirected"]


def test_a_cut_off_capture_is_shown_with_what_it_has(tmp_path, capsys):
    path = tmp_path / "a.capture"
    begin(str(path), {})
    append(str(path), line_of("note", {"text": "kept \x1b[31m"})[1])
    append(str(path), line_of("note", {"text": "lost"})[1][:-9])
    assert main(["captures", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "note: kept \\x1b[31m" in out
    assert "1 damaged line was left out" in out
    assert "No Triton launch was seen" not in out
    assert "launches and counts may be too low" in out


def test_a_block_of_python_is_captured(tmp_path):
    path = tmp_path / "a.capture"
    with capture(path):
        pass
    assert read_capture(str(path)).launches == []
    with pytest.raises(UsageError, match="no capture"), capture(Path(__file__)):
        pass
    for own in (ZeroDivisionError, ConnectionError, FileNotFoundError):
        with pytest.raises(own), capture(path):
            raise own
