"""Rows as a table for people, as JSON or as CSV. A table escapes control characters: text from a memory file, such as a
kernel's name or a lesson, cannot steer a terminal."""

from __future__ import annotations

import csv
import io
import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from memory.attempt import Row
from memory.terms import printable

CELL_CHARS = 400
"""Characters of a cell; a longer text ends with the sign for what is left out."""
LEAST_WIDTH = 40


def cell(value: Any) -> str:
    """A value in a table: configs as ``BLOCK_M=128 num_warps=8``, numbers with five significant digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return printable(" ".join(f"{k}={v}" for k, v in value.items()))
    text = printable(str(value))
    return text if len(text) <= CELL_CHARS else text[: CELL_CHARS - 1] + "…"


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """`columns` of `rows` with headers, in which the keys' underscores become spaces. Numbers are aligned right."""
    numbers = {c for c in columns if rows and all(isinstance(row.get(c), int | float | None) for row in rows)}
    headers = [c.replace("_", " ") for c in columns]
    return ruled([[cell(row.get(c)) for c in columns] for row in rows], headers, [c in numbers for c in columns])


def ruled(cells: Sequence[Sequence[str]], headers: Sequence[str], right: Sequence[bool] | None = None) -> str:
    """Lines of `cells` under `headers` and a rule, as wide as the terminal at most, 80 columns without one. `right`
    tells which columns are aligned right; without it, none is.

    If the table is too wide, what all rows share stands above it, and the widest columns stand below each row, wrapped
    at words. Nothing is cut."""
    width = terminal_width()
    columns = [Column(header, [row[i] for row in cells], bool(right and right[i])) for i, header in enumerate(headers)]
    above: list[Column] = []
    below: list[Column] = []
    while total_width(columns) > width and (len(columns) > 1 or below):
        shared = [c for c in columns if len(cells) > 1 and len(set(c.cells)) == 1]
        widest = max(shared or columns[1:] or columns, key=lambda c: c.width)  # the first column names the row
        (above if shared else below).append(widest)
        columns.remove(widest)
    for moved in (above, below):
        moved.sort(key=lambda c: headers.index(c.header))
    told = " · ".join(f"{c.header}: {c.cells[0]}" for c in above if c.cells[0])
    lines = wrapped(told, width, "") if told else []
    table_lines = rendered(columns)
    lines += table_lines[:2]
    for i in range(len(cells)):
        lines += table_lines[i + 2 : i + 3]
        for c in below:
            if c.cells[i]:
                lines += wrapped(f"{c.header}: {c.cells[i]}", width, "    ")
    return "\n".join(lines)


@dataclass(eq=False)
class Column:
    """A column of a table."""

    header: str
    cells: Sequence[str]
    right: bool

    @property
    def width(self) -> int:
        return max(map(cell_len, [self.header, *self.cells]))


def total_width(columns: Sequence[Column]) -> int:
    return sum(c.width + 2 for c in columns) - 2


def terminal_width() -> int:
    """Columns of the terminal, or what COLUMNS says; 80 if the output goes elsewhere."""
    return max(LEAST_WIDTH, shutil.get_terminal_size((80, 24)).columns)


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """`text` in lines of `width` at most, broken at words, and within a word that is longer than a line."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
        replace_whitespace=False,
    ) or [indent.rstrip()]


def rendered(columns: Sequence[Column]) -> list[str]:
    """Headers, rule and a line for each row; nothing without columns."""
    if not columns:
        return []
    rows = [[c.header for c in columns], *([c.cells[i] for c in columns] for i in range(len(columns[0].cells)))]
    lines = ["  ".join(map(aligned, row, columns)).rstrip() for row in rows]
    return [lines[0], " ".join("-" * (c.width + (c is not columns[-1])) for c in columns), *lines[1:]]


def aligned(text: str, column: Column) -> str:
    fill = " " * (column.width - cell_len(text))
    return fill + text if column.right else text + fill


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps(list(rows), indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """All columns, those of the table first. Nested values are JSON."""
    names = [*columns, *(k for k in (rows[0] if rows else ()) if k not in columns)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (row.get(name) for name in names)
        writer.writerow([json.dumps(v) if isinstance(v, dict | list) else "" if v is None else v for v in values])
    return out.getvalue().rstrip("\n")
