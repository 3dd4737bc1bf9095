"""Reads the fastest configs from a memory file by SQL alone: kernels do not import memory.

The tables and columns of :data:`FASTEST` are in every memory file since schema 2, and a shipped migration is never
edited (``memory/migrations.py``). A test compares the answer with ``memory.queries.best``.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from memory.terms import MEMORY_ID, MEMORY_SCHEMA

FASTEST = """
SELECT kernel, hardware, problem, config, ms, recorded FROM (
    SELECT k.name AS kernel, coalesce(e.hardware, '') AS hardware, p.problem, c.config, v.ms,
        e.kind = 'recorded' AS recorded,
        v.problem_id, v.environment_id, v.regime,
        row_number() OVER (PARTITION BY v.problem_id, v.environment_id, v.regime ORDER BY v.ms, v.config_id) AS place
    FROM verdicts v
    JOIN problems p ON p.id = v.problem_id
    JOIN kernels k ON k.id = p.kernel_id
    JOIN environments e ON e.id = v.environment_id
    JOIN configs c ON c.id = v.config_id
    WHERE v.kind = 'benchmark' AND v.status = 'correct' AND v.ms > 0 AND v.regime IN ('burst', 'sustained')
)
WHERE place = 1 ORDER BY problem_id DESC, environment_id, regime
"""
QUICK_CHECK_BYTES = 4 << 20
"""Files up to this size are checked for damage on opening (about 10 ms)."""


class MemoryUnusable(ValueError):
    """The memory file cannot be read; the message is one sentence."""


class Fastest(NamedTuple):
    """The fastest verified config of one problem on one device in one regime."""

    kernel: str
    hardware: str
    """Name in ``kernels.hardware``; empty for a card without facts."""
    problem: dict[str, Any]
    config: dict[str, Any]
    ms: float
    """Per launch."""
    recorded: bool
    """Whether the time was looked up, not measured."""


def read_fastest(path: Path) -> list[Fastest]:
    """The fastest configs, those of the newest problem first; none for an empty file. The file is never written.

    Raises MemoryUnusable for a file that is unreadable, damaged, newer or not a memory."""
    if not os.access(path, os.R_OK):
        raise MemoryUnusable(f"{path} may not be read by this user: change its permissions or give another file")
    if path.stat().st_size == 0:
        return []
    try:
        with closing(_open(path)) as connection:
            rows = connection.execute(FASTEST).fetchall()
    except sqlite3.DatabaseError as e:
        raise MemoryUnusable(_explain(path, e)) from e
    return [
        Fastest(kernel, hardware, json.loads(p), json.loads(c), ms, bool(recorded))
        for kernel, hardware, p, c, ms, recorded in rows
    ]


def _open(path: Path) -> sqlite3.Connection:
    """A read-only connection. Readers share a write-ahead log through a file next to the memory. If that file cannot be
    created (a read-only disk) and there is no log, the memory is opened as immutable."""
    log = path.with_name(path.name + "-wal")
    modes = ["mode=ro"] if log.exists() and log.stat().st_size else ["mode=ro", "mode=ro&immutable=1"]
    for mode in modes:
        connection = sqlite3.connect(f"file:{quote(os.fsencode(path.absolute()))}?{mode}", uri=True)
        try:
            _check(path, connection)
            return connection
        except sqlite3.OperationalError as e:
            connection.close()
            if mode == modes[-1] or not e.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("the last mode returns or raises")


def _check(path: Path, connection: sqlite3.Connection) -> None:
    identity, schema = (connection.execute(f"PRAGMA {p}").fetchone()[0] for p in ("application_id", "user_version"))
    if identity != MEMORY_ID:
        raise MemoryUnusable(f"{path} is another program's SQLite file: give the path of a memory file")
    if schema > MEMORY_SCHEMA:
        raise MemoryUnusable(
            f"{path} was written by a newer version (schema {schema}, this one knows {MEMORY_SCHEMA}): "
            "upgrade triton-autokernel or give another file"
        )
    if path.stat().st_size <= QUICK_CHECK_BYTES and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise MemoryUnusable(_damaged(path))


def _explain(path: Path, error: sqlite3.DatabaseError) -> str:
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith("SQLITE_NOTADB"):
        return f"{path} is not a SQLite file: give the path of a memory file"
    if code.startswith("SQLITE_CORRUPT"):
        return _damaged(path)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{path} is locked by another process: wait for it to end, then try again"
    return f"{path} cannot be read as a memory file ({error}): give another file"


def _damaged(path: Path) -> str:
    return f"{path} is damaged: `python -m memory recover {path}` saves what is readable"
