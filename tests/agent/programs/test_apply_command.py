"""``python -m agent apply``: the program unchanged, its exit code, a report, one sentence for a mistake."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import UsageError
from agent.programs import apply
from agent.programs.applying import needs_interpreter
from agent.programs.edited_rows import edited_code
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.key import key_of_captured
from kernels.tuned.tuned_environment import INTERPRETER
from kernels.tuned.tuned_file import write_table
from kernels.tuned.tuned_table import Decision, TunedEnvironment, TunedFunction, TunedRow, TunedTable

ROOT = Path(__file__).parents[3]


def table_for(capture_path):
    """A table with a row for each launch of the example but those of 32 rows."""
    capture = read_capture(str(capture_path))
    table = TunedTable()
    for launch in capture.launches:
        f, shape = launch.function, launch.arguments["x_ptr"]["shape"]
        options = {"num_warps": 8}
        decision = Decision({"BLOCK": 2048} if launch.name == "gated" else {}, options)
        environment = TunedEnvironment(INTERPRETER, launch.device["triton"], None)
        function = TunedFunction(f["module"], f["qualname"], f["identity"])
        if shape[0] == 64:
            key = key_of_captured(launch, capture.functions())
            table.add(TunedRow(function, environment, key, "unproven", decision))
    return table


@pytest.mark.process
def test_the_example_runs_with_its_table_and_reports_where_it_is_asked(captured_example, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("AUTOKERNEL_APPLY_REPORT", str(tmp_path / "report"))
    program = [sys.executable, str(ROOT / "examples" / "captured_program.py")]
    write_table(table_for(captured_example), tmp_path / "tuned.json")
    assert main(["apply", str(tmp_path / "tuned.json"), "--unproven", "--json", "--", *program]) == 0
    out, err = capfd.readouterr()
    assert out == "mean square 1.000\n"
    report = json.loads(err.splitlines()[-1])
    assert sorted((r["kernel"], r["launches"]) for r in report["used"]) == [("gated", 2), ("normalise", 2)]
    assert sorted((r["kernel"], r["launches"]) for r in report["missed"]) == [("gated", 1), ("normalise", 1)]
    assert len([x for x in err.splitlines() if x.startswith("apply:") and "no row for" in x]) == 2
    (line,) = (tmp_path / "report").read_text().splitlines()
    assert {r["kernel"] for r in json.loads(line)["used"]} == {"gated", "normalise"}


def test_a_table_of_the_interpreter_says_where_it_serves(monkeypatch):
    table = TunedTable()
    row = TunedRow(TunedFunction("m", "f", "0"), TunedEnvironment(INTERPRETER, "3.6.0", None), {}, "stock", None)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert needs_interpreter(table, "tuned.json") == ""
    table.rows.append(row)
    assert "set TRITON_INTERPRET=1" in needs_interpreter(table, "tuned.json")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert needs_interpreter(table, "tuned.json") == ""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    table.rows.append(replace(row, environment=TunedEnvironment("NVIDIA H200", "3.6.0", "ptxas 12.8")))
    assert needs_interpreter(table, "tuned.json") == ""


@pytest.mark.process
def test_the_programs_exit_code_is_passed_on(tmp_path, capfd):
    write_table(TunedTable(), tmp_path / "tuned.json")
    command = ["apply", str(tmp_path / "tuned.json"), "--report", "--"]
    assert main([*command, "sh", "-c", "exit 5"]) == 5
    assert main([*command, "sh", "-c", 'test "$AUTOKERNEL_APPLY_REPORT" && kill -9 $$']) == 137
    assert "no process launched a Triton kernel" in capfd.readouterr().err


def test_mistakes_are_one_sentence(tmp_path, capsys):
    write_table(TunedTable(), tmp_path / "tuned.json")
    (tmp_path / "cut.json").write_text('{"format": ')
    mistakes = {
        (str(tmp_path / "tuned.json"), "--", "no-such-program"): "no-such-program cannot be started",
        (str(tmp_path / "cut.json"), "--", "true"): "is cut off or damaged",
        (str(tmp_path / "none.json"), "--", "true"): "cannot be read",
        (str(tmp_path / "tuned.json"),): "apply needs a table and a command",
        (): "apply needs a table and a command",
    }
    for arguments, message in mistakes.items():
        assert main(["apply", *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1
    with pytest.raises(UsageError, match="is cut off or damaged"):
        apply(tmp_path / "cut.json")


def test_a_pth_file_is_installed_and_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert main(["apply", "--install"]) == 0
    (path,) = tmp_path.iterdir()
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text().startswith("import os; ")
    assert len(path.read_text().splitlines()) == 1
    assert main(["apply", "--uninstall"]) == 0
    assert not list(tmp_path.iterdir())
    assert main(["apply", "--path"]) == 0
    assert (Path(capsys.readouterr().out.splitlines()[-1]) / "sitecustomize.py").exists()


KILLED = """
import os, signal, sys
import torch, triton
import triton.language as tl

@triton.jit
def fill(x_ptr):
    tl.store(x_ptr + tl.arange(0, 16), 1.0)

def launch():
    fill[(1,)](torch.empty(16))

launch()
for launches in (True, False):
    child = os.fork()
    if child == 0:
        if launches:
            launch()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.process
def test_a_process_that_launched_and_was_killed_is_counted_by_the_report(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    write_table(TunedTable(), tmp_path / "tuned.json")
    (tmp_path / "program.py").write_text(KILLED)
    command = ["apply", str(tmp_path / "tuned.json"), "--report", "--json", "--"]
    assert main([*command, sys.executable, str(tmp_path / "program.py")]) == 0
    report = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert (report["processes"], report["unreported"]) == (1, 1)


COMMENTED = """
# reviewed by its owner
def add(x_ptr):
    "Only adds."
    tl.store(x_ptr, 1)  # adds
"""


def test_edited_code_is_shown_as_it_would_be_launched():
    """What a file says of its code is not shown, and it cannot begin a line of its own."""
    source = {"hash": "0123\n\nreviewed: yes", "values": {"T": "a\nb"}, "grid": "1\n2", "source": COMMENTED}
    environment = TunedEnvironment("NVIDIA H200", "3.9.0", None)
    rows = [
        TunedRow(TunedFunction("mine", "add", "0" * 16), environment, {}, "proven", Decision({}, {}, kept))
        for kept in (source, {**source, "source": "import os\n"})
    ]
    first, second = edited_code(TunedTable(rows))
    head, *code = first.splitlines()
    assert "variant 0123 reviewed: yes T=a b, grid (1 2)" in head
    assert code == ["def add(x_ptr):", "    tl.store(x_ptr, 1)"]
    refused = "This code is refused, and never launched: line 1: an import is not allowed in device code"
    assert second.splitlines()[1:] == [refused]
