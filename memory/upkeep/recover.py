"""Copies the readable rows of a damaged memory file into a new file. The damaged file is only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from memory import file
from memory.file import MemoryFileError
from memory.store import Memory

TABLES = {
    "environments": "id", "kernels": "id", "problems": "id", "configs": "id", "runs": "rowid", "attempts": "id",
    "lessons": "id",
}  # fmt: skip
"""The key of each table, in the order in which they refer to one another."""
Values = dict[str, Any]


class Recovered(NamedTuple):
    """The rows saved per table, and the number of readable rows whose parent row is lost."""

    saved: dict[str, int]
    orphans: int


def recover(damaged: Path, output: Path) -> Recovered:
    """Copy the readable rows of `damaged` into the new memory `output`.

    Raises MemoryFileError if `output` exists or nothing can be read."""
    if output.exists():
        raise MemoryFileError(f"{output} exists: give the path of a new file with --output")
    if not file.inspect(damaged, writable=False):
        raise MemoryFileError(f"{damaged} does not exist or is empty: there is nothing to recover")
    source = file.connect(damaged.absolute(), "ro", timeout_s=5.0)
    source.row_factory = sqlite3.Row
    try:
        names = {row[0] for row in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as e:
        source.close()
        raise MemoryFileError(f"{damaged} is damaged at its root ({e}): nothing in it can be read") from e
    if not {"attempts", "configs", "runs"} <= names:
        source.close()
        raise MemoryFileError(f"{damaged} is not a memory file: it has no attempts")
    target = Memory.open(output)
    saved, orphans = dict.fromkeys(TABLES, 0), 0
    with target.write() as c:
        for table, key in TABLES.items():
            for row in _rows(source, table, key) if table in names else ():
                if _insert(c, table, row) or (table == "attempts" and _insert_with_config(source, c, row)):
                    saved[table] += 1
                else:
                    orphans += 1
        saved["configs"] = c.execute("SELECT count(*) AS n FROM configs").fetchone()["n"]
    source.close()
    target.close()
    return Recovered(saved, orphans)


def _rows(source: sqlite3.Connection, table: str, key: str) -> Iterator[Values]:
    """The rows from the front to the damage, then from the back to the damage, then one by one those between."""
    try:
        columns = [row["name"] for row in source.execute(f"PRAGMA table_info ({table})")]
    except sqlite3.DatabaseError:
        return
    select = f"SELECT {key} AS key_, {', '.join(columns)} FROM {table}"
    seen: set[Any] = set()
    for order in ("ASC", "DESC"):
        cursor = None
        try:
            cursor = source.execute(f"{select} ORDER BY key_ {order}")
            for row in cursor:
                if row["key_"] in seen:
                    break
                seen.add(row["key_"])
                yield {name: row[name] for name in columns}
            else:
                return  # read to the end: the table is not damaged
        except sqlite3.DatabaseError:
            continue
        finally:
            if cursor is not None:
                cursor.close()
    numbers = [k for k in seen if isinstance(k, int)]
    for number in range(1, max(numbers, default=0)):
        if number not in seen:
            row = _one(source, f"{select} WHERE {key} = ?", number)
            if row is not None:
                yield {name: row[name] for name in columns}


def _one(source: sqlite3.Connection, sql: str, key: Any) -> Any:
    try:
        return source.execute(sql, [key]).fetchone()
    except sqlite3.DatabaseError:
        return None


def _insert(target: sqlite3.Connection, table: str, row: Values) -> bool:
    """Whether the row was inserted. A garbled row, and one whose parent row is lost, is not."""
    marks = ", ".join("?" * len(row))
    try:
        target.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])
    except sqlite3.IntegrityError:
        return False
    return True


def _insert_with_config(source: sqlite3.Connection, target: sqlite3.Connection, row: Values) -> bool:
    """Insert an attempt and its config. Configs have no numbers to count through, so those between two damaged places
    are found by the attempts that name them."""
    config = _one(source, "SELECT id, kernel, config FROM configs WHERE id = ?", row["config_id"])
    return config is not None and _insert(target, "configs", dict(config)) and _insert(target, "attempts", row)
