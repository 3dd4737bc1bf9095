"""Copies the readable rows of a damaged memory file into a new file. The damaged file is only read.

SQLite reads what it can. What it cannot reach, because a page of the tree, the schema or the file's header is damaged,
is read page by page (:mod:`memory.upkeep.sqlite_pages`): one bad page costs the rows on it alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from memory import file
from memory.file import MemoryFileError
from memory.store import Memory
from memory.upkeep.salvage import TABLES, Found, Values, add_lost_parents, read_by_pages


class Recovered(NamedTuple):
    """The rows saved per table, and the number of readable rows whose parent row is lost."""

    saved: dict[str, int]
    orphans: int


def recover(damaged: Path, output: Path) -> Recovered:
    """Copy the readable rows of `damaged` into the new memory `output`, which is there only when it is finished.

    Raises MemoryFileError if `output` exists or nothing can be read."""
    if output.exists():
        raise MemoryFileError(f"{output} exists: give the path of a new file with --output")
    if not file.inspect(damaged, writable=False):
        raise MemoryFileError(f"{damaged} does not exist or is empty: there is nothing to recover")
    found = _read_by_sqlite(damaged)
    if not found.whole:
        read_by_pages(damaged, found)
    if not found and not found.whole:
        raise MemoryFileError(f"{damaged} holds no row of a memory that can be read: restore it from a copy")
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        done = _write(found, part)
        part.replace(output)
    except OSError as e:
        raise MemoryFileError(f"{output} cannot be written ({e.strerror}): give a new file with --output") from e
    finally:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                part.with_name(part.name + suffix).unlink()
    return done


def _write(found: Found, output: Path) -> Recovered:
    add_lost_parents(found)
    target = Memory.open(output)
    saved, orphans = dict.fromkeys(TABLES, 0), 0
    try:
        with target.write() as c:
            for table, rows in found.rows.items():
                for row in rows.values():
                    if _insert(c, table, row):
                        saved[table] += 1
                    else:
                        orphans += 1
    finally:
        target.close()
    return Recovered(saved, orphans)


def _insert(target: sqlite3.Connection, table: str, row: Values) -> bool:
    """Whether the row was inserted. A garbled row, and one whose parent row is lost, is not."""
    marks = ", ".join("?" * len(row))
    try:
        target.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])
    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError):
        return False
    return True


def _read_by_sqlite(damaged: Path) -> Found:
    """What SQLite can read. Raises MemoryFileError for a sound file that is no memory."""
    found = Found()
    try:
        source = file.connect(damaged.absolute(), "ro", timeout_s=5.0)
    except sqlite3.DatabaseError:
        found.whole = False
        return found
    source.row_factory = sqlite3.Row
    try:
        names = {row[0] for row in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"attempts", "configs", "runs"} <= names:
            raise MemoryFileError(f"{damaged} is not a memory file: it has no attempts")
        for table, key in TABLES.items():
            if table in names:
                found.whole &= _read_table(source, table, "rowid" if table == "runs" else key, found)
        for row in [*found.rows["attempts"].values()]:
            if row["config_id"] not in found.rows["configs"]:
                # Configs have no numbers to count through: those between two damaged places are found by the
                # attempts that name them.
                config = _one(source, "SELECT id, kernel, config FROM configs WHERE id = ?", row["config_id"])
                if config is not None:
                    found.add("configs", dict(config))
    except sqlite3.DatabaseError:
        found.whole = False
    finally:
        source.close()
    return found


def _read_table(source: sqlite3.Connection, table: str, key: str, found: Found) -> bool:
    """Read the rows from the front to the damage, then from the back to the damage, then one by one those between;
    whether there was no damage."""
    try:
        columns = [row["name"] for row in source.execute(f"PRAGMA table_info ({table})")]
    except sqlite3.DatabaseError:
        return False
    select = f"SELECT {key} AS key_, {', '.join(columns)} FROM {table}"
    seen: set[Any] = set()
    for order in ("ASC", "DESC"):
        try:
            for row in source.execute(f"{select} ORDER BY key_ {order}"):
                if row["key_"] in seen:
                    break
                seen.add(row["key_"])
                found.add(table, {name: row[name] for name in columns})
            else:
                return True
        except sqlite3.DatabaseError:
            continue
    numbers = [k for k in seen if isinstance(k, int)]
    for number in range(1, max(numbers, default=0)):
        if number not in seen:
            row = _one(source, f"{select} WHERE {key} = ?", number)
            if row is not None:
                found.add(table, {name: row[name] for name in columns})
    return False


def _one(source: sqlite3.Connection, sql: str, key: Any) -> Any:
    try:
        return source.execute(sql, [key]).fetchone()
    except sqlite3.DatabaseError:
        return None
