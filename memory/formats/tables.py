"""Prints rows as a table for people, as JSON or as CSV. Text from the file is shown, never obeyed: control characters
are escaped, so that a kernel's name or a lesson cannot steer a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from memory.attempt import Row

CELL_CHARS = 110


def plain(text: str) -> str:
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


def cell(value: Any) -> str:
    """A value in a table: configs as ``BLOCK_M=128 num_warps=8``, numbers with five significant digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return plain(" ".join(f"{k}={v}" for k, v in value.items()))
    text = plain(str(value))
    return text if len(text) <= CELL_CHARS else text[: CELL_CHARS - 1] + "…"


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """`columns` of `rows` with headers; the keys' underscores become spaces."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    headers = [c.replace("_", " ") for c in columns]
    body = [[cell(row.get(c)) for c in columns] for row in rows]
    numbers = [all(isinstance(row.get(c), int | float | None) for row in rows) for c in columns]
    align = ["right" if n else "left" for n in numbers]
    return str(tabulate(body, headers, tablefmt="simple", disable_numparse=True, colalign=align if rows else None))


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps(list(rows), indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """All columns, those of the table first; nested values as JSON."""
    names = [*columns, *(k for k in (rows[0] if rows else ()) if k not in columns)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (row.get(name) for name in names)
        writer.writerow([json.dumps(v) if isinstance(v, dict | list) else "" if v is None else v for v in values])
    return out.getvalue().rstrip("\n")
