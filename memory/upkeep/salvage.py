"""The rows of a damaged memory that SQLite cannot reach: told by the shape of what stands on readable pages, and, for a
parent that is lost, by the copies in indexes or by a row that says so."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memory import file
from memory.upkeep import sqlite_pages

TABLES = {
    "environments": "id", "kernels": "id", "problems": "id", "configs": "id", "runs": "run_id", "attempts": "id",
    "lessons": "id",
}  # fmt: skip
"""The key of each table, in the order in which they refer to one another."""
Values = dict[str, Any]
LOST = "(its row was lost)"
"""Stands for what only the lost row told: a run's goal, a device's name."""


class Found:
    """The readable rows of a damaged file, by table and key."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[Any, Values]] = {table: {} for table in TABLES}
        self.whole = True
        """Whether SQLite read every table to its end."""

        self.copies: dict[str, dict[int, Values]] = {"kernels": {}, "problems": {}}
        """Rows that indexes hold, by the row's number, in case the row itself is lost."""

    def add(self, table: str, row: Values) -> None:
        self.rows[table].setdefault(row[TABLES[table]], row)

    def __bool__(self) -> bool:
        return any(self.rows.values())


def read_by_pages(damaged: Path, found: Found) -> None:
    """Add the rows that stand on readable pages; their table is told by what stands in their columns."""
    columns = _columns()
    for number, values in sqlite_pages.rows(damaged):
        if number is None:
            _keep_copy(values, found)
        table = _table_of(number, values, columns)
        if table is not None:
            row: Values = dict(zip(columns[table], values, strict=False))
            if number is not None and table != "runs":
                row["id"] = number  # an integer key is the row number, and NULL in the record
            found.add(table, row)
    for rows in found.rows.values():
        ordered = sorted(rows.items(), key=lambda item: (isinstance(item[0], str), item[0]))
        rows.clear()
        rows.update(ordered)


def _columns() -> dict[str, list[str]]:
    """The stored columns of each table, in the order of their records, of the newest schema; older rows end early."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        file.migrate(connection)
        return {t: [r[1] for r in connection.execute(f"PRAGMA table_info ({t})")] for t in TABLES}
    finally:
        connection.close()


def _table_of(number: int | None, values: Sequence[Any], columns: dict[str, list[str]]) -> str | None:
    """The table that a record can belong to; its constraints are tried when the row is inserted."""
    return next((t for t in _tables_with(number, len(values), columns) if _fits(t, values)), None)


def _tables_with(number: int | None, count: int, columns: dict[str, list[str]]) -> Iterator[str]:
    for table, names in columns.items():
        added = 1 if table in ("environments", "attempts") else 0  # by a later version of the schema
        if (number is None) == (table == "configs") and len(names) - added <= count <= len(names):
            yield table


def _fits(table: str, values: Sequence[Any]) -> bool:
    text = [isinstance(v, str) for v in values]
    if table == "environments":
        return values[0] is None and values[2] in ("live", "recorded")
    if table == "kernels":
        return values[0] is None and all(text[1:])
    if table == "problems":
        return values[0] is None and isinstance(values[1], int) and text[2] and values[2].startswith("{")
    if table == "configs":
        return all(text) and values[2].startswith("{")
    if table == "runs":
        return text[0] and isinstance(values[1], bytes)
    return values[0] is None and isinstance(values[1], bytes)


def _keep_copy(values: Sequence[Any], found: Found) -> None:
    """Keep an entry of the unique indexes on kernels (name, two hashes) and problems (kernel, problem): all but the
    row's date or label."""
    *entry, number = values
    if not isinstance(number, int):
        return
    if len(entry) == 3 and all(isinstance(v, str) for v in entry):
        found.copies["kernels"][number] = dict(zip(("name", "source_hash", "reference_hash"), entry, strict=True))
    elif len(entry) == 2 and isinstance(entry[0], int) and isinstance(entry[1], str) and entry[1].startswith("{"):
        found.copies["problems"][number] = {"kernel_id": entry[0], "problem": entry[1]}


def add_lost_parents(found: Found) -> None:
    """A row for each run, problem, kernel and device that attempts name and whose own row is lost. What nothing tells
    of it is said to be lost. A config that is lost cannot be replaced: its attempts mean nothing."""
    for attempt in found.rows["attempts"].values():
        run, device = attempt["run_id"], attempt["environment_id"]
        if isinstance(run, str) and run not in found.rows["runs"]:
            row = {"run_id": run, "uid": hashlib.sha256(run.encode()).digest()[:16], "goal": LOST, "objective": "{}"}
            row |= {"model": "unknown", "budget": "{}", "started_at": attempt["created_at"]}
            found.add("runs", row | {name: attempt[name] for name in ("environment_id", "problem_id")})
        if isinstance(device, int) and device not in found.rows["environments"]:
            name = f"unknown device {device} {LOST}"
            found.add("environments", {"id": device, "hash": f"lost-{device}", "kind": "recorded", "name": name})
        number = attempt["problem_id"]
        if number not in found.rows["problems"] and number in found.copies["problems"]:
            copy = found.copies["problems"][number]
            found.add("problems", {"id": number, "label": _label_of(copy["problem"]), **copy})
    for problem in found.rows["problems"].values():
        number = problem["kernel_id"]
        if number not in found.rows["kernels"] and number in found.copies["kernels"]:
            found.add("kernels", {"id": number, "created_at": "", **found.copies["kernels"][number]})


def _label_of(problem: str) -> str:
    """A problem whose label is lost, by its fields."""
    try:
        return " ".join(f"{name}={value}" for name, value in json.loads(problem).items())
    except ValueError:
        return LOST
