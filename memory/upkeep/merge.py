"""Merges other memories into one. Every row has its own address (its content, or a uid), so that rows cannot conflict:
merging twice changes nothing, and the order of merges does not matter."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from memory import file
from memory.attempt import ENVIRONMENT
from memory.file import MemoryFileError
from memory.store import Memory

BATCH = 20_000
"""Attempts per transaction, so that other writers get their turn. An interrupted merge can be run again."""

DESCRIPTIONS = f"""
INSERT OR IGNORE INTO environments (hash, {", ".join(ENVIRONMENT)})
    SELECT hash, {", ".join(ENVIRONMENT)} FROM other.environments;
INSERT OR IGNORE INTO kernels (name, source_hash, reference_hash, created_at)
    SELECT name, source_hash, reference_hash, created_at FROM other.kernels;
INSERT OR IGNORE INTO configs SELECT * FROM other.configs;
CREATE TEMP TABLE environment_of AS
    SELECT o.id AS theirs, m.id AS ours FROM other.environments o JOIN main.environments m USING (hash);
CREATE TEMP TABLE kernel_of AS SELECT o.id AS theirs, m.id AS ours FROM other.kernels o
    JOIN main.kernels m USING (name, source_hash, reference_hash);
INSERT OR IGNORE INTO problems (kernel_id, problem, label)
    SELECT k.ours, p.problem, p.label FROM other.problems p JOIN kernel_of k ON k.theirs = p.kernel_id;
CREATE TEMP TABLE problem_of AS SELECT o.id AS theirs, m.id AS ours FROM other.problems o
    JOIN kernel_of k ON k.theirs = o.kernel_id JOIN main.problems m ON m.kernel_id = k.ours AND m.problem = o.problem;
INSERT INTO runs (run_id, uid, goal, objective, model, environment_id, problem_id, budget, trace, started_at,
        finished_at, outcome, evaluations, seconds, tokens, cost_usd, summary)
    SELECT CASE WHEN EXISTS (SELECT 1 FROM main.runs m WHERE m.run_id = o.run_id AND m.uid <> o.uid)
            THEN o.run_id || '~' || lower(hex(substr(o.uid, 7, 4))) ELSE o.run_id END,
        o.uid, o.goal, o.objective, o.model, e.ours, p.ours, o.budget, o.trace, o.started_at, o.finished_at, o.outcome,
        o.evaluations, o.seconds, o.tokens, o.cost_usd, o.summary
    FROM other.runs o JOIN environment_of e ON e.theirs = o.environment_id JOIN problem_of p ON p.theirs = o.problem_id
    WHERE true
    ON CONFLICT (uid) DO UPDATE SET finished_at = excluded.finished_at, outcome = excluded.outcome,
        evaluations = excluded.evaluations, seconds = excluded.seconds, tokens = excluded.tokens,
        cost_usd = excluded.cost_usd, summary = excluded.summary WHERE runs.outcome IS NULL;
CREATE TEMP TABLE run_of AS SELECT o.run_id AS theirs, m.run_id AS ours FROM other.runs o JOIN main.runs m USING (uid);
CREATE UNIQUE INDEX temp.run_of_theirs ON run_of (theirs);
INSERT INTO lessons (uid, run_id, kernel, problem_id, environment_id, text, created_at)
    SELECT o.uid, r.ours, o.kernel, p.ours, e.ours, o.text, o.created_at FROM other.lessons o
    LEFT JOIN run_of r ON r.theirs = o.run_id LEFT JOIN problem_of p ON p.theirs = o.problem_id
    LEFT JOIN environment_of e ON e.theirs = o.environment_id WHERE true ON CONFLICT (uid) DO NOTHING;
INSERT INTO variants (uid, run_id, kernel, problem_id, environment_id, hash, parent, reason, source, diff, meta, grid,
        verdict, why, limit_before, limit_after, created_at)
    SELECT o.uid, r.ours, o.kernel, p.ours, e.ours, o.hash, o.parent, o.reason, o.source, o.diff, o.meta, o.grid,
        o.verdict, o.why, o.limit_before, o.limit_after, o.created_at FROM other.variants o
    LEFT JOIN run_of r ON r.theirs = o.run_id LEFT JOIN problem_of p ON p.theirs = o.problem_id
    LEFT JOIN environment_of e ON e.theirs = o.environment_id WHERE true ON CONFLICT (uid) DO NOTHING;
"""


def merge(memory: Memory, other: Path) -> dict[str, int]:
    """Copy the rows of `other` into `memory`. Returns the number of new rows per table. `other` is only read, except
    that an older schema is brought up to date. Raises MemoryFileError if it is not a memory, or is the same file."""
    other = other.absolute()
    source = Memory.read(other)
    if source is None:
        raise MemoryFileError(f"{other} does not exist or is empty: give the path of another memory file")
    if other.samefile(memory.path):
        raise MemoryFileError(f"{other} is the memory itself: give the path of another memory file")
    last = int(source.ask("SELECT coalesce(max(id), 0) AS n FROM attempts")[0]["n"])
    source.close()
    before = _counts(memory)
    with file.explain_errors(memory.path, memory.timeout_s):
        _copy(memory, file.address(other, source.mode), last)
    return {table: n - before[table] for table, n in _counts(memory).items()}


def _counts(memory: Memory) -> dict[str, int]:
    tables = ("environments", "kernels", "problems", "configs", "runs", "attempts", "lessons", "variants")
    return {t: int(memory.ask(f"SELECT count(*) AS n FROM {t}")[0]["n"]) for t in tables}


def _copy(memory: Memory, other: str, last: int) -> None:
    from memory.migrations import statements

    c = memory.connection
    c.execute("ATTACH ? AS other", [other])
    try:
        with memory.write():
            for statement in statements(DESCRIPTIONS):
                c.execute(statement)
        for start in range(0, last, BATCH):
            with memory.write():
                _copy_attempts(c, start, start + BATCH)
    finally:
        for table in ("environment_of", "kernel_of", "problem_of", "run_of"):
            c.execute(f"DROP TABLE IF EXISTS temp.{table}")
        c.execute("DETACH other")


def _copy_attempts(c: sqlite3.Connection, start: int, end: int) -> None:
    """Copy attempts with `start` < id <= `end`. An attempt that is pending here and finished there is finished here."""
    mapped = {"run_id": "r.ours", "environment_id": "e.ours", "problem_id": "p.ours"}
    names = [row["name"] for row in c.execute("PRAGMA main.table_info (attempts)") if row["name"] != "id"]
    identity = {"uid", "run_id", "tool_call_id", "environment_id", "problem_id", "config_id", "kind", "created_at"}
    taken = ", ".join(f"{n} = excluded.{n}" for n in names if n not in identity)
    c.execute(
        f"INSERT INTO attempts ({', '.join(names)}) SELECT {', '.join(mapped.get(n, 'o.' + n) for n in names)} "
        "FROM other.attempts o JOIN run_of r ON r.theirs = o.run_id "
        "JOIN environment_of e ON e.theirs = o.environment_id JOIN problem_of p ON p.theirs = o.problem_id "
        "WHERE o.id > ? AND o.id <= ? ON CONFLICT (uid) DO UPDATE SET "
        f"{taken} WHERE attempts.status = 'pending' AND excluded.status <> 'pending'",
        [start, end],
    )
