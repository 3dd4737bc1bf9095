"""Processes that others start: the environment's variables, the .pth line, ranks of torch.distributed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kernels.tuned.applying.apply_report import add_up, render_report
from kernels.tuned.applying.begin_apply import pth_line, site_file
from kernels.tuned.tuned_file import write_table
from tests.kernels.tuned.tables import row, table

pytestmark = pytest.mark.process


def python(*arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": str(site_file().parent), **variables}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


@pytest.fixture
def path(tmp_path):
    write_table(table(row()), tmp_path / "tuned.json")
    return str(tmp_path / "tuned.json")


HOOKS = "import sys; print([type(f).__name__ for f in sys.meta_path if 'Hooks' in type(f).__name__])"
HEAVY = "print([m for m in ('pydantic', 'langgraph', 'torch', 'triton', 'numpy', 'kernels') if m in sys.modules])"


def test_the_variable_has_a_process_apply_and_imports_nothing_heavy(path):
    assert python("-c", f"{HOOKS}; {HEAVY}", AUTOKERNEL_APPLY=path).stdout == "['ApplyHooks']\n[]\n"
    assert python("-c", HOOKS).stdout == "[]\n"


def test_a_file_that_cannot_be_used_is_one_line_and_the_program_runs(tmp_path):
    cut = tmp_path / "cut.json"
    cut.write_text('{"format": "autokernel-tuned",')
    done = python("-c", HOOKS, AUTOKERNEL_APPLY=str(cut))
    assert done.stdout == "[]\n"
    assert "is cut off or damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_pth_line_applies_and_costs_nothing_if_the_variable_is_not_set(path, monkeypatch):
    code = f"{pth_line()}\n{HOOKS}"
    assert python("-c", code, AUTOKERNEL_APPLY=path, PYTHONPATH="").stdout == "['ApplyHooks']\n"
    assert python("-c", f"{code}; print('runpy' in sys.modules)", PYTHONPATH="").stdout == "[]\nFalse\n"
    both = python("-c", code, AUTOKERNEL_APPLY=path)  # the .pth file and PYTHONPATH
    assert (both.stdout, both.stderr) == ("['ApplyHooks']\n", "")


SAYS = """
import sys
from kernels.tuned.applying.applied_table import AppliedTable
from kernels.tuned.tuned_table import TunedTable
"""


@pytest.mark.parametrize("stderr", ["os.dup2(os.open('/dev/full', os.O_WRONLY), 2)", "os.close(2)"])
def test_a_stderr_that_takes_no_line_does_not_end_the_program(stderr):
    says = f"{SAYS}import os; {stderr}; AppliedTable(TunedTable()).say('a reason'); print('ran')"
    assert python("-c", says, PYTHONPATH=str(site_file().parents[3])).stdout == "ran\n"


def test_a_process_that_was_started_without_stderr_has_a_file_of_its_own_there(tmp_path):
    says = f"{SAYS}file = open(sys.argv[1], 'w'); assert file.fileno() == 2; "
    says += "AppliedTable(TunedTable()).say('a reason'); print('ran')"
    command = [sys.executable, "-c", says, str(tmp_path / "file")]
    environment = {**os.environ, "PYTHONPATH": str(site_file().parents[3])}
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *command], env=environment, capture_output=True, text=True)
    assert (done.stdout, (tmp_path / "file").read_text()) == ("ran\n", "")


def test_a_line_is_for_who_started_the_process_and_not_for_what_the_program_reads():
    says = f"""{SAYS}
import contextlib, io
with contextlib.redirect_stderr(io.StringIO()) as its_own:
    AppliedTable(TunedTable()).say("a reason")
    print("its own", file=sys.stderr)
print(its_own.getvalue(), end="")
"""
    done = python("-c", says, PYTHONPATH=str(site_file().parents[3]))
    assert (done.stdout, done.stderr) == ("its own\n", "apply: a reason.\n")


RANKS = """
import os, socket, sys
import torch.distributed as dist  # once, before the ranks part
from kernels.tuned.applying.rank_check import RankCheck

def rank(i, digest, address):
    RankCheck(digest).install()
    try:
        dist.init_process_group("gloo", init_method=address, rank=i, world_size=2)
        os.write(1, f"{i} ran\\n".encode())
        dist.destroy_process_group()
    except RuntimeError as e:
        os.write(1, f"{i} {e}\\n".encode())
    os._exit(0)

for digests in (("a" * 64, "a" * 64), ("a" * 64, "b" * 64), ("a" * 64, None)):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{s.getsockname()[1]}"
    for i, digest in enumerate(digests):
        os.fork() or rank(i, digest, address)
    os.wait(), os.wait()
    os.write(1, b"-\\n")
"""


def test_ranks_that_apply_one_table_run_and_others_end():
    root = str(site_file().parents[3])
    done = python("-c", RANKS, PYTHONPATH=root)
    same, other, missing = (sorted(part.split("\n")[:2]) for part in done.stdout.split("-\n")[:3])
    assert same == ["0 ran", "1 ran"], done.stderr
    assert done.stderr.count("apply: 2 ranks apply the same table (aaaaaaaaaaaa).") == 1
    words = "the ranks apply other tables (rank 0: aaaaaaaaaaaa, rank 1: {}): give all of them one file"
    assert other == [f"{i} {words.format('bbbbbbbbbbbb')}" for i in range(2)]
    assert missing == [f"{i} {words.format('no table')}" for i in range(2)]


def test_reports_of_processes_add_up():
    used = {"row": "a", "kernel": "k", "status": "proven", "launches": 3}
    compiled = {
        "rows": [{"kernel": "k", "row": "a", "status": "proven"}],
        "left": [],
        "launched": [
            {"kernel": "k_0", "whose": "the program", "launches": 5},
            {"kernel": "triton_poi_0", "whose": "Inductor", "launches": 7},
        ],
    }
    missed = [{"kernel": "k", "reason": "r", "launches": 1}]
    part = {"digest": "d" * 64, "used": [used], "missed": missed, "faults": [], "compiled": compiled}
    found = add_up([part, part])
    assert (found["processes"], found["used"][0]["launches"], found["missed"][0]["launches"]) == (2, 6, 2)
    text = render_report([part, part])
    assert "2 processes: 6 launches by a row, 2 as the program has them" in text
    assert "dddddddddddd" in text
    assert text.endswith(
        "compiled by torch.compile with a row:\n  k  row a (proven)\nlaunched by code of torch.compile:\n"
        "         14  triton_poi_0  of Inductor\n         10  k_0  of the program"
    )
    lost = "apply: 2 processes launched Triton kernels and did not report (killed, or still running): "
    lost += "their launches are not counted"
    assert lost in render_report([part], 2).splitlines()
    assert render_report([], 2) == lost
    assert add_up([part], 2)["unreported"] == 2
    assert render_report([], 1).startswith("apply: 1 process launched Triton kernels and did not report")
