"""Writes the memory: environments, kernels, problems, configs, runs, attempts, lessons.

An environment, a kernel, a problem and a config are addressed by their content: the same content gives the same row.
Attempts are append-only: a row is written as ``pending`` and committed before the launch, and is finished once. Every
write is one ``BEGIN IMMEDIATE`` transaction with synchronous FULL: once a call has returned, a power cut loses nothing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memory import file
from memory.attempt import (
    ADDED,
    ENVIRONMENT,
    FIGURES,
    Begin,
    Figures,
    Finish,
    Outcome,
    Row,
    content_hash,
    new_uid,
    now,
    parse_row,
    to_column,
)
from memory.file import MemoryFileError
from memory.terms import Kind, Status, canonical

__all__ = ["Begin", "Figures", "Finish", "Kind", "Memory", "MemoryFileError", "Outcome", "Row", "Status"]

TIMEOUT_S = 10.0
"""Seconds that a write waits for the writes of other processes."""
LESSON_CHARS = 2000


def _dict_row(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}


class Memory:
    """An open memory. Several threads may use one object (each gets its own connection), and several processes may open
    one file."""

    def __init__(self, path: Path, timeout_s: float, mode: str) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.mode = mode
        self._local = threading.local()
        self._inherited: list[sqlite3.Connection] = []
        self._known_configs: set[str] = set()

    @classmethod
    def open(cls, path: Path | None = None, *, timeout_s: float = TIMEOUT_S) -> Memory:
        """Open for reading and writing; a missing file is created, an older schema brought up to date.

        ``None`` means ``memory.db`` in the user's data directory. Raises MemoryFileError with one sentence for an
        unwritable, read-only, damaged, foreign, newer or locked file and for a directory."""
        path = Path(path).absolute() if path is not None else file.default_path()
        file.prepare(path, timeout_s)
        return cls(path, timeout_s, "rw")

    @classmethod
    def read(cls, path: Path | None = None, *, timeout_s: float = TIMEOUT_S) -> Memory | None:
        """Open for reading, which needs no permission to write; ``None`` if there is no memory yet."""
        path = Path(path).absolute() if path is not None else file.default_path()
        if not file.inspect(path, writable=False):
            return None
        opened = file.open_for_reading(path, timeout_s)
        if opened is None:
            return cls.open(path, timeout_s=timeout_s)
        memory = cls(path, timeout_s, opened[1])
        memory._adopt(opened[0])
        return memory

    def _adopt(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.row_factory = _dict_row
        self._local.connection, self._local.pid = connection, os.getpid()
        return connection

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection. A forked child opens its own, as SQLite demands, and never closes its parent's."""
        pid = getattr(self._local, "pid", None)
        if pid == os.getpid():
            return self._local.connection  # type: ignore[no-any-return]
        if pid is not None:
            self._inherited.append(self._local.connection)
        with file.explain_errors(self.path, self.timeout_s):
            return self._adopt(file.connect(self.path, self.mode, self.timeout_s))

    def close(self) -> None:
        """Close this thread's connection. The next use opens it again."""
        if getattr(self._local, "pid", None) == os.getpid():
            self._local.connection.close()
        self._local.pid = None

    def ask(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Rows of a query as dicts."""
        with file.explain_errors(self.path, self.timeout_s):
            return self.connection.execute(sql, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction. It takes the write lock at its start, because SQLite does not wait for a lock taken later."""
        with file.explain_errors(self.path, self.timeout_s):
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            try:
                connection.execute("COMMIT")
            except sqlite3.DatabaseError:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _find_or_insert(self, table: str, key: Row, rest: Row) -> int:
        """The id of the row with this key. A new row is inserted."""
        where = " AND ".join(f"{k} = ?" for k in key)
        find = f"SELECT id FROM {table} WHERE {where}"
        rows = self.ask(find, [*key.values()])
        if not rows:
            row = {**key, **rest}
            marks = ", ".join("?" * len(row))
            with self.write() as c:
                c.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])
            rows = self.ask(find, [*key.values()])
        return int(rows[0]["id"])

    def environment(self, info: Mapping[str, Any]) -> int:
        """The id of this environment. `info` is ``DeviceInfo.model_dump()``. Raises ValueError for an unknown field."""
        unknown = sorted(set(info) - set(ENVIRONMENT))
        if unknown:
            raise ValueError(f"an environment has no field {', '.join(unknown)}; it has {', '.join(ENVIRONMENT)}")
        row = {name: info.get(name) for name in ENVIRONMENT}
        # Facts are measured: they describe an environment and do not tell it from another.
        address = {k: v for k, v in row.items() if k != "facts" and (k not in ADDED or v is not None)}
        row["facts"] = None if row["facts"] is None else canonical(row["facts"])
        return self._find_or_insert("environments", {"hash": content_hash(canonical(address))}, row)

    def kernel(self, name: str, source_hash: str, reference_hash: str = "") -> int:
        """The id of this version of a kernel: its name and the hashes of its source and its reference."""
        key = {"name": name, "source_hash": source_hash, "reference_hash": reference_hash}
        return self._find_or_insert("kernels", key, {"created_at": now()})

    def problem(self, kernel_id: int, problem: Mapping[str, Any], label: str) -> int:
        """The id of this problem of a kernel version; `problem` is ``Problem.model_dump(mode="json")``."""
        return self._find_or_insert(
            "problems", {"kernel_id": kernel_id, "problem": canonical(problem)}, {"label": label}
        )

    def config(self, kernel_id: int, config: Mapping[str, Any]) -> str:
        """The content address of this config. A new config is stored."""
        return self.configs(kernel_id, [config])[0]

    def configs(self, kernel_id: int, configs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Content addresses in the order of `configs`. New configs are stored in one transaction."""
        kernels = self.ask("SELECT name FROM kernels WHERE id = ?", [kernel_id])
        if not kernels:
            raise ValueError(f"there is no kernel {kernel_id} in {self.path}")
        kernel = kernels[0]["name"]
        texts = [canonical(config) for config in configs]
        ids = [content_hash(kernel, text) for text in texts]
        new = {i: (i, kernel, t) for i, t in zip(ids, texts, strict=True) if i not in self._known_configs}
        if new:
            with self.write() as c:
                c.executemany("INSERT OR IGNORE INTO configs (id, kernel, config) VALUES (?, ?, ?)", new.values())
            self._known_configs.update(new)
        return ids

    def start_run(
        self,
        run_id: str,
        goal: str,
        objective: Mapping[str, Any],
        model: str,
        environment_id: int,
        problem_id: int,
        budget: Mapping[str, Any],
        trace: str | None = None,
    ) -> None:
        """Write the run. A run that exists is resumed: it is open again, and its pending attempts become
        ``infrastructure``."""
        row = (run_id, new_uid(), goal, canonical(objective), model, environment_id, problem_id, canonical(budget))
        with self.write() as c:
            c.execute(
                "INSERT INTO runs (run_id, uid, goal, objective, model, environment_id, problem_id, budget, trace, "
                "started_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (run_id) DO UPDATE SET outcome = NULL, finished_at = NULL",
                (*row, trace, now()),
            )
            _fail_pending(c, run_id)

    def finish_run(self, run_id: str, outcome: Outcome, summary: Mapping[str, Any]) -> None:
        """Close the run. ``evaluations``, ``seconds``, ``tokens`` and ``cost_usd`` of `summary` have their own
        columns."""
        figures = [summary.get(k) for k in ("evaluations", "seconds", "tokens", "cost_usd")]
        with self.write() as c:
            done = c.execute(
                "UPDATE runs SET outcome = ?, finished_at = ?, evaluations = ?, seconds = ?, tokens = ?, cost_usd = ?, "
                "summary = ? WHERE run_id = ?",
                (outcome, now(), *figures, canonical(summary), run_id),
            )
            if not done.rowcount:
                raise ValueError(f"there is no run {run_id} in {self.path}")
            _fail_pending(c, run_id)

    def begin_attempts(self, attempts: Sequence[Begin]) -> list[int]:
        """Write ``pending`` attempts before their launches, in one transaction. Returns their ids in order."""
        sql = (
            "INSERT INTO attempts (uid, created_at, run_id, tool_call_id, environment_id, problem_id, config_id, kind) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        with self.write() as c:
            return [int(c.execute(sql, (new_uid(), now(), *attempt)).lastrowid or 0) for attempt in attempts]

    def finish_attempts(self, attempts: Sequence[Finish]) -> None:
        """Finish pending attempts in one transaction, all or none. Raises ValueError if one is finished already or a
        figure is unknown."""
        with self.write() as c:
            for attempt_id, status, figures in attempts:
                unknown = sorted(set(figures) - set(FIGURES))
                if unknown:
                    raise ValueError(f"an attempt has no figure {', '.join(unknown)}; it has {', '.join(FIGURES)}")
                values = {name: to_column(name, value) for name, value in figures.items()}
                assignments = "".join(f", {name} = ?" for name in values)
                done = c.execute(
                    f"UPDATE attempts SET status = ?{assignments} WHERE id = ? AND status = 'pending'",
                    (status, *values.values(), attempt_id),
                )
                if not done.rowcount:
                    raise ValueError(f"attempt {attempt_id} is not pending: an attempt is finished once")

    def finished(self, run_id: str, tool_call_id: str | None = None) -> list[Row]:
        """The finished attempts of a run, or of one of its tool calls, in order. ``config`` and the lists are parsed. A
        run that was resumed after a crash answers from them."""
        rows = self.ask(
            "SELECT a.*, c.config FROM attempts a JOIN configs c ON c.id = a.config_id "
            "WHERE a.run_id = :run AND (:call IS NULL OR a.tool_call_id = :call) AND a.status <> 'pending' "
            "ORDER BY a.id",
            {"run": run_id, "call": tool_call_id},
        )
        return [parse_row(row) for row in rows]

    def record_lesson(
        self, run_id: str | None, kernel: str, problem_id: int | None, environment_id: int | None, text: str
    ) -> int:
        """Store a note of an agent, as data to be quoted. Raises ValueError if it is empty or over 2,000 characters."""
        text = text.strip()
        if not text or len(text) > LESSON_CHARS:
            raise ValueError(f"a lesson has 1 to {LESSON_CHARS} characters, this one has {len(text)}")
        row = (new_uid(), run_id, kernel, problem_id, environment_id, text, now())
        columns = "uid, run_id, kernel, problem_id, environment_id, text, created_at"
        with self.write() as c:
            done = c.execute(f"INSERT INTO lessons ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return int(done.lastrowid or 0)


def _fail_pending(connection: sqlite3.Connection, run_id: str) -> None:
    connection.execute(
        "UPDATE attempts SET status = 'infrastructure', reason = 'the run stopped before this attempt ended' "
        "WHERE run_id = ? AND status = 'pending'",
        [run_id],
    )
