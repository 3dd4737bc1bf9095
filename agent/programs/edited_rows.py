"""Edited device code in a table: shown to a person, who allows it, before it is launched."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import click

from agent.errors import UsageError
from agent.programs.applying import usable_table
from kernels.editing.fencing.source_limits import parse
from kernels.editing.refused_edit import RefusedEdit
from kernels.tuned.tuned_table import TunedTable
from memory.terms import printable


def edited_code(table: TunedTable) -> list[str]:
    """The edited device code of a table for a person to read: for each row its function, its constants, its grid, and
    the whole code that would be launched, as the fence writes it: without the comments and texts of the file. The
    differences beside it in the file are not shown: nothing says that they are of this code."""
    found = []
    for row in table.rows:
        for source in (d.source for d in (row.decision, *row.also) if d is not None and d.source is not None):
            grid = f", grid ({source['grid']})" if source["grid"] else ""
            values = "".join(f" {n}={v}" for n, v in source["values"].items())
            function = f"{row.function.module}:{row.function.qualname}"
            head = f"{function}, row {row.name}, variant {source['hash']}{values}{grid}"
            found.append(f"{' '.join(head.split())}\n{_code(source['source'])}")
    return found


def _code(source: str) -> str:
    try:
        return "\n\n".join(f"{ast.unparse(function)}\n" for function in parse(source))
    except RefusedEdit as e:
        return f"This code is refused, and never launched: {e}\n"


def ask_for_edits(file: Path) -> bool:
    """Whether a person allows the edited device code of the table `file`, which is printed; False if it has none.

    Raises UsageError if the table cannot be used, or if there is nobody to ask."""
    found = edited_code(usable_table(file))
    if not found:
        return False
    for line in "\n\n".join(found).splitlines():
        click.echo(printable(line), err=True)
    if not sys.stdin.isatty():
        raise UsageError(f"{file} holds edited device code, printed above: read it, then apply the table with --yes.")
    return click.confirm("Apply this code?", err=True)
