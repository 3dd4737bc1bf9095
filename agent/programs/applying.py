"""Apply a table of tuned launches to this process, or to a program."""

from __future__ import annotations

import json
import logging
import os
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.errors import UsageError
from kernels.standard_error import LOGGER
from kernels.tuned.tuned_environment import INTERPRETER
from kernels.tuned.tuned_file import NotATable, read_table
from kernels.tuned.tuned_table import TunedTable


class Applied:
    """A table in use in this process, until :meth:`take_back` or the end of a ``with`` block."""

    def __init__(self, table: TunedTable, name: str, unproven: bool, edits: bool = False) -> None:
        from kernels.tuned.applying.applied_table import AppliedTable
        from kernels.tuned.applying.apply_hooks import AlreadyApplied, ApplyHooks

        self._applied = AppliedTable(table, unproven, name=name, log=logging.getLogger(LOGGER), edits=edits)
        self._hooks = ApplyHooks(self._applied)
        try:
            self._hooks.install()
        except AlreadyApplied as e:
            raise UsageError(str(e)) from e

    @property
    def digest(self) -> str:
        """Of what is applied; equal on all ranks that apply the same."""
        return self._applied.digest

    def report(self) -> dict[str, Any]:
        """``used`` and ``missed``, with numbers of launches; ``compiled``: what torch.compile made with a row
        (``rows``) and without (``left``), and what its code ``launched``, the program's kernels and Inductor's."""
        return self._applied.report()

    def verify_ranks(self) -> str:
        """Compare with all other ranks of torch.distributed, which must call it too. Raises RuntimeError if they
        differ."""
        from kernels.tuned.applying.rank_check import verify_ranks

        return verify_ranks(self.digest)

    def take_back(self) -> None:
        """Launch as the program has it from here on."""
        if self._hooks.active:
            self._hooks.uninstall()

    def __enter__(self) -> Applied:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.take_back()


def apply(path: str | os.PathLike[str], unproven: bool = False, edits: bool = False) -> Applied:
    """Apply the table at `path` to the Triton launches of this process from now on.

        applied = apply("tuned.json")                # until applied.take_back()
        with apply("tuned.json") as applied: …       # for a block

    `unproven`: rows that nobody proved, too. `edits`: rows with edited device code, too, which you have read. The
    logger ``autokernel`` gets the table's name as ``info`` and why launches stay as the program has them as
    ``warning``. Raises UsageError if the file cannot be used, or another table is applied already."""
    return Applied(usable_table(path), str(path), unproven, edits)


def usable_table(path: str | os.PathLike[str]) -> TunedTable:
    """The table in a file. Raises UsageError."""
    try:
        return read_table(Path(path))
    except NotATable as e:
        raise UsageError(str(e)) from e


def needs_interpreter(table: TunedTable, name: str) -> str:
    """What to tell a user whose program does not run in Triton's interpreter, though every row of the table was made in
    it and serves nothing else; empty otherwise."""
    made_in = {row.environment.gpu for row in table.rows}
    if made_in != {INTERPRETER} or os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        return ""
    return (
        f"apply: every row of {name} was made in Triton's interpreter and serves no GPU: set TRITON_INTERPRET=1, or "
        "make a table on the GPU (python -m agent improve)"
    )


def variables(
    path: Path,
    unproven: bool = False,
    verify_ranks: bool = False,
    report: str = "",
    edits: bool = False,
    began: str = "",
) -> dict[str, str]:
    """The environment by which a program's Python processes apply the table."""
    from kernels.tuned.applying import begin_apply

    return {
        begin_apply.TABLE_VARIABLE: str(path.resolve()),
        begin_apply.UNPROVEN_VARIABLE: "1" if unproven else "",
        begin_apply.EDITS_VARIABLE: "1" if edits else "",
        begin_apply.VERIFY_VARIABLE: "1" if verify_ranks else "",
        begin_apply.REPORT_VARIABLE: report,
        begin_apply.BEGAN_VARIABLE: began,
    }


def apply_to_program(
    command: Sequence[str], path: Path, unproven: bool, verify_ranks: bool, edits: bool = False
) -> tuple[int, list[dict[str, Any]], int]:
    """Run `command` with the table; its exit code, what each of its processes reported, which is written as well to
    where ``AUTOKERNEL_APPLY_REPORT`` says, and how many launched Triton kernels and did not report.

    Raises UsageError if the table or the program cannot be used."""
    from kernels.tuned.applying.begin_apply import REPORT_VARIABLE, write_report

    if notice := needs_interpreter(usable_table(path), str(path)):
        print(notice, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="autokernel-apply-") as folder:
        report, began = Path(folder) / "report", Path(folder) / "began"
        code = start_program(command, variables(path, unproven, verify_ranks, str(report), edits, str(began)))
        lines, pids = (p.read_text(encoding="utf-8").splitlines() if p.exists() else [] for p in (report, began))
    reported = [json.loads(line) for line in lines]
    if reported and (asked := os.environ.get(REPORT_VARIABLE)):
        write_report(reported, asked)
    return code, reported, (Counter(map(int, pids)) - Counter(part["pid"] for part in reported)).total()


def start_program(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run `command` with our terminal; its exit code. Raises UsageError if it cannot be started."""
    from kernels.capture.start import run_with

    try:
        return run_with(command, environment)
    except OSError as e:
        raise UsageError(f"{command[0]} cannot be started ({e.strerror}): check the command behind --") from e


def pth_file() -> Path:
    """Where ``--install`` writes."""
    from kernels.tuned.applying.begin_apply import PTH

    return Path(sysconfig.get_path("purelib")) / PTH


def install() -> Path:
    """Have every Python process of this installation apply the table that AUTOKERNEL_APPLY names, if it does.

    Raises UsageError."""
    from kernels.tuned.applying.begin_apply import pth_line

    path = pth_file()
    try:
        path.write_text(pth_line(), encoding="utf-8")
    except OSError as e:
        raise UsageError(
            f"{path} cannot be written ({e.strerror}): set PYTHONPATH to what `apply --path` prints instead"
        ) from e
    return path


def uninstall() -> Path:
    """Take back :func:`install`. Raises UsageError."""
    path = pth_file()
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise UsageError(f"{path} cannot be removed ({e.strerror}): remove it yourself") from e
    return path
