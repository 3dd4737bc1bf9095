"""Opens a memory file, or raises an error of one sentence. A file of another program is never changed."""

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
    """The memory file cannot be used. The message is one sentence that names the problem and what to do."""


class MemoryFull(MemoryFileError):
    """The disk has no room for the memory, or does not work: whatever file is named, the machine is to blame."""


def default_path() -> Path:
    """``memory.db`` in the user's data directory."""
    from platformdirs import user_data_path

    return user_data_path("triton-autokernel") / "memory.db"


@contextmanager
def explain_errors(path: Path, timeout_s: float) -> Iterator[None]:
    """Turns SQLite's errors about the file into MemoryFileError. Errors in our SQL pass through unchanged."""
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
        kind = MemoryFull if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")) else MemoryFileError
        raise kind(text) from e


def address(path: Path, mode: str) -> str:
    """SQLite's URI for a file. `mode` is SQLite's ``ro``, ``rw`` or ``rwc``, or ``immutable``, which reads without
    locks."""
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    return f"file:{quote(os.fsencode(path))}?{query}"


def connect(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    """A connection without implicit transactions and with foreign keys. A commit is on the disk when it returns."""
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
    """Whether the file exists and is not empty, by its directory entry. Raises MemoryFileError if it cannot be used."""
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
    # The mode bits decide and not the kernel, because root may write a file that its owner has protected.
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
    """The file's schema version, 0 for a database without tables. Raises MemoryFileError for another program's file, a
    newer schema and a damaged file."""
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
    """A connection to an up-to-date file and its mode; ``None`` if the schema is older or the file is new.

    A read-only disk has no room for the file by which readers share a write-ahead log. A memory there that has no log
    is opened as immutable."""
    wal = path.with_name(path.name + "-wal")
    modes = ["ro"] if wal.exists() and wal.stat().st_size else ["ro", "immutable"]
    with explain_errors(path, timeout_s):
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
    """Creates the file, or brings its schema up to date. Raises MemoryFileError if that is impossible."""
    if not inspect(path, writable=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise MemoryFileError(f"{path} cannot be created ({e.strerror}): give a path that you may write") from e
    else:
        with explain_errors(path, timeout_s):
            probe = connect(path, "ro", timeout_s)
            try:
                identify(path, probe)
            except sqlite3.OperationalError as e:
                # A journal left by a crash is rolled back by a connection that may write.
                if not e.sqlite_errorname.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
                    raise
            finally:
                probe.close()
    with explain_errors(path, timeout_s):
        connection = connect(path, "rwc", timeout_s)
        try:
            # Taking the write lock proves that the file can be written and lets one process at a time migrate.
            connection.execute("BEGIN IMMEDIATE")
            try:
                if identify(path, connection) < MEMORY_SCHEMA:
                    migrate(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            _enable_wal(connection, timeout_s)
        finally:
            connection.close()


def migrate(connection: sqlite3.Connection) -> None:
    """Create the tables, or bring them up to date."""
    from sqlite_utils import Database

    from memory.migrations import migrations

    migrations.apply(Database(connection, execute_plugins=False))
    connection.execute(f"PRAGMA application_id = {MEMORY_ID}")
    connection.execute(f"PRAGMA user_version = {MEMORY_SCHEMA}")


def _enable_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Switch to a write-ahead log. SQLite does not wait for the lock that the switch needs, so this function does."""
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as e:
            if not e.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
