"""Rows as a table for people, as JSON or as CSV. A table escapes control characters: text from a memory file, such as a
kernel's name or a lesson, cannot steer a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from memory.attempt import Row
from memory.terms import printable

CELL_CHARS = 110


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
    """Lines of `cells`, as wide as their text, under `headers` and a rule. `right` tells which columns are aligned
    right; without it, none is."""
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rule_under_headers = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
    grid = Table(box=rule_under_headers, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for i, header in enumerate(headers):
        grid.add_column(Text(header), justify="right" if right and right[i] else "left", no_wrap=True)
    for row in cells:
        grid.add_row(*map(Text, row))
    out = io.StringIO()
    Console(file=out, width=1_000_000, color_system=None).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


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
