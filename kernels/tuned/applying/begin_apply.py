"""Begins and ends the use of a table in one process.

Six variables of the environment say what is applied to a Python process that loads
``kernels/capture/site/sitecustomize.py`` as it starts:

    AUTOKERNEL_APPLY=tuned.json           the table
    AUTOKERNEL_APPLY_UNPROVEN=1           rows that nobody proved, too
    AUTOKERNEL_APPLY_EDITS=1              rows with edited device code, which a person has read
    AUTOKERNEL_APPLY_REPORT=FILE          append one line of JSON at the end; ``-`` prints a table to stderr
    AUTOKERNEL_APPLY_BEGAN=FILE           append the process's number when it first launches a Triton kernel: one that
                                          then adds no line to the report was killed
    AUTOKERNEL_APPLY_VERIFY_RANKS=1       end the program if the ranks of torch.distributed read other tables
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...capture.begin import before_end
from ...capture.capture_file import append
from ...standard_error import say
from ..tuned_file import NotATable, read_table
from .applied_table import AppliedTable
from .apply_hooks import ApplyHooks
from .apply_report import render_report
from .rank_check import RankCheck

TABLE_VARIABLE = "AUTOKERNEL_APPLY"
UNPROVEN_VARIABLE = "AUTOKERNEL_APPLY_UNPROVEN"
EDITS_VARIABLE = "AUTOKERNEL_APPLY_EDITS"
REPORT_VARIABLE = "AUTOKERNEL_APPLY_REPORT"
BEGAN_VARIABLE = "AUTOKERNEL_APPLY_BEGAN"
VERIFY_VARIABLE = "AUTOKERNEL_APPLY_VERIFY_RANKS"
TO_STDERR = "-"
PTH = "autokernel_apply.pth"
"""Python runs the lines of such a file in a folder of packages as it starts."""

_begun = False


def apply_to_process() -> None:
    """Apply the table that the environment names to this process, until its end. Called by sitecustomize.py."""
    global _begun
    if _begun:  # by the .pth file
        return
    _begun = True
    path, verify = os.environ[TABLE_VARIABLE], bool(os.environ.get(VERIFY_VARIABLE))
    applied = None
    try:
        unproven, edits = (bool(os.environ.get(n)) for n in (UNPROVEN_VARIABLE, EDITS_VARIABLE))
        applied = AppliedTable(read_table(path), unproven, name=path, edits=edits)
    except NotATable as e:
        say(f"apply: {e}. Every launch is made as the program has it.")
    if verify:
        RankCheck(None if applied is None else applied.digest).install()
    if applied is None:
        return
    applied.at_first_launch = _note_beginning
    hooks = ApplyHooks(applied)
    hooks.install()
    report = _Report(applied, os.environ.get(REPORT_VARIABLE))
    before_end(report.write)
    os.register_at_fork(after_in_child=report.forked)
    os.register_at_fork(after_in_child=hooks.forked)


def site_file() -> Path:
    """What a Python process must run as it starts."""
    return Path(__file__).resolve().parents[2] / "capture" / "site" / "sitecustomize.py"


def pth_line() -> str:
    """The line of the ``.pth`` file. If the variable is not set, Python looks it up and does nothing else."""
    path = str(site_file())
    return (
        f"import os; os.environ.get({TABLE_VARIABLE!r}) and os.path.exists({path!r}) and "
        f"__import__('runpy').run_path({path!r}, run_name='autokernel_apply')\n"
    )


def _note_beginning() -> None:
    path = os.environ.get(BEGAN_VARIABLE)
    if path:
        with suppress(OSError):  # the report then lacks a number
            append(path, f"{os.getpid()}\n".encode())


class _Report:
    """What one process used and missed, written once."""

    def __init__(self, applied: AppliedTable, path: str | None) -> None:
        self._applied, self._path = applied, path
        self._written = False

    def forked(self) -> None:
        self._applied.forked()
        self._written = False

    def write(self) -> None:
        if self._written or not self._path or not self._applied.states:
            return
        self._written = True
        body: dict[str, Any] = {"pid": os.getpid(), "rank": os.environ.get("RANK"), **self._applied.report()}
        write_report([body], self._path)


def write_report(processes: Sequence[dict[str, Any]], path: str) -> None:
    """Append what processes reported to the file `path`, or print it as a table if that is ``-``."""
    if path == TO_STDERR:
        say(render_report(processes))
        return
    try:
        append(path, "".join(json.dumps(body) + "\n" for body in processes).encode())
    except OSError as e:
        say(f"apply: the report {path} cannot be written ({e.strerror}): name another file by {REPORT_VARIABLE}.")
