"""Opens a memory file, or says in one sentence why it cannot be opened. A file that is not ours is never changed."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from memory.terms import MEMORY_ID, MEMORY_SCHEMA

QUICK_CHECK_BYTES = 4 << 20
"""Files up to this size are checked for damage on opening (about 10 ms)."""


class MemoryFileError(Exception):
    """The memory file cannot be used; the message is one sentence for people that names the mend."""


def default_path() -> Path:
    """``memory.db`` in the user's data directory."""
    from platformdirs import user_data_path

    return user_data_path("triton-autokernel") / "memory.db"


@contextmanager
def explained(path: Path, timeout_s: float) -> Iterator[None]:
    """Turns SQLite's complaints about the *file* into a MemoryFileError; mistakes of ours pass through unchanged."""
    try:
        yield
    except sqlite3.DatabaseError as e:
        code = getattr(e, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            text = f"{path} has been locked by another process for {timeout_s:g} s: wait for it to end, then try again"
        elif code.startswith("SQLITE_FULL"):
            text = f"no space is left to write {path}: free some, then run the same command again; nothing was lost"
        elif code.startswith("SQLITE_NOTADB"):
            text = f"{path} is not a SQLite file: give the path of a memory file, or of a new one"
        elif code.startswith("SQLITE_CORRUPT"):
            text = f"{path} is damaged and was left as it is: `python -m memory recover {path}` saves what is readable"
        elif code.startswith("SQLITE_READONLY"):
            text = f"{path} cannot be written (read-only file or disk): make it writable or give another file"
        elif code.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            text = f"{path} cannot be opened ({e}): check its directory's permissions or give another file"
        elif code.startswith("SQLITE_IOERR"):
            text = f"{path} cannot be read or written ({e}): check the disk's space and health; nothing was lost"
        else:
            raise
        raise MemoryFileError(text) from e


def address(path: Path, mode: str) -> str:
    """SQLite's URI for a file. `mode` is SQLite's ``ro``, ``rw`` or ``rwc``, or ``immutable``: read where no lock can
    be placed."""
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    return f"file:{quote(os.fsencode(path))}?{query}"


def connect(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    """A connection without implicit transactions, foreign keys on, every commit on the disk before it returns."""
    connection = sqlite3.connect(
        address(path, mode), uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -16384")
    return connection


def pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def inspect(path: Path, writable: bool) -> bool:
    """Looks at the directory entry before SQLite does; True where the file exists and is not empty."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    except OSError as e:
        raise MemoryFileError(f"{path} cannot be opened ({e.strerror}): give another file") from e
    if stat.S_ISDIR(status.st_mode):
        raise MemoryFileError(f"{path} is a directory: give the path of a file in it, e.g. {path / 'memory.db'}")
    if not stat.S_ISREG(status.st_mode):
        raise MemoryFileError(f"{path} is not a regular file: give the path of a memory file, or of a new one")
    # Asked of the mode bits and not of the kernel, because root may write what its owner has protected.
    if writable and not status.st_mode & 0o222:
        raise MemoryFileError(f"{path} is read-only: make it writable (chmod u+w) or give another file")
    if writable and not os.access(path, os.W_OK):
        raise MemoryFileError(f"{path} may not be written by this user: change its permissions or give another file")
    if not os.access(path, os.R_OK):
        raise MemoryFileError(f"{path} may not be read by this user: change its permissions or give another file")
    # The content is left to SQLite: opening and closing the file here would drop the locks that this process' other
    # connections hold on it (POSIX; "How to corrupt an SQLite database file", section 2.2).
    return status.st_size > 0


def identify(path: Path, connection: sqlite3.Connection) -> int:
    """The file's schema version, 0 for a database without tables. Refuses what is not ours and what is newer."""
    version, tables = pragma(connection, "user_version"), pragma(connection, "schema_version")
    if pragma(connection, "application_id") != MEMORY_ID:
        names = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 3")]
        if tables or names:
            found = f" (it has the tables {', '.join(names)})" if names else ""
            raise MemoryFileError(f"{path} is another program's SQLite file{found}: give the path of a memory file")
        return 0
    if version > MEMORY_SCHEMA:
        raise MemoryFileError(
            f"{path} was written by a newer version (schema {version}, this one knows {MEMORY_SCHEMA}): "
            "upgrade triton-autokernel or give another file"
        )
    if path.stat().st_size <= QUICK_CHECK_BYTES:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise MemoryFileError(
                f"{path} is damaged and was left as it is: `python -m memory recover {path}` saves what is readable"
            )
    return version


def open_for_reading(path: Path, timeout_s: float) -> tuple[sqlite3.Connection, str] | None:
    """A connection to an up-to-date file and its mode; ``None`` where the schema is older or the file is new.

    A write-ahead log cannot be shared on a read-only disk; without one, the file is read as immutable there."""
    wal = path.with_name(path.name + "-wal")
    modes = ["ro"] if wal.exists() and wal.stat().st_size else ["ro", "immutable"]
    with explained(path, timeout_s):
        for mode in modes:
            connection = None
            try:
                connection = connect(path, mode, timeout_s)
                if identify(path, connection) == MEMORY_SCHEMA:
                    return connection, mode
            except sqlite3.OperationalError as e:
                if mode == modes[-1] or not e.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                    raise
                continue
            if connection is not None:
                connection.close()
            return None
    raise AssertionError("the last mode returns or raises")


def prepare(path: Path, timeout_s: float) -> None:
    """Makes the file ready for writing: creates it, or brings its schema up to date, or raises MemoryFileError."""
    if not inspect(path, writable=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise MemoryFileError(f"{path} cannot be created ({e.strerror}): give a path that you may write") from e
    else:
        with explained(path, timeout_s):
            probe = connect(path, "ro", timeout_s)
            try:
                identify(path, probe)
            except sqlite3.OperationalError as e:
                # A journal left by a crash is rolled back by a connection that may write.
                if not e.sqlite_errorname.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
                    raise
            finally:
                probe.close()
    with explained(path, timeout_s):
        connection = connect(path, "rwc", timeout_s)
        try:
            # Taking the write lock proves that the file can be written and lets one process at a time migrate.
            connection.execute("BEGIN IMMEDIATE")
            try:
                if identify(path, connection) < MEMORY_SCHEMA:
                    _migrate(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            _enable_wal(connection, timeout_s)
        finally:
            connection.close()


def _migrate(connection: sqlite3.Connection) -> None:
    from sqlite_utils import Database

    from memory.migrations import migrations

    migrations.apply(Database(connection, execute_plugins=False))
    connection.execute(f"PRAGMA application_id = {MEMORY_ID}")
    connection.execute(f"PRAGMA user_version = {MEMORY_SCHEMA}")


def _enable_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """SQLite does not wait for the lock that this switch needs, so we do."""
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as e:
            if not e.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
