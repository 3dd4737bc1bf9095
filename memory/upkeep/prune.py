"""Makes the file smaller by deleting old attempts. The latest verdict on each config stays, unless the caller asks to
delete it too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from memory import file
from memory.migrations import DELETE_GUARD, FILL_VERDICTS, statements
from memory.store import Memory


class Pruned(NamedTuple):
    """Rows that would be deleted, or were."""

    attempts: int
    runs: int
    bytes_freed: int


def prune(memory: Memory, older_than_days: float, verdicts_too: bool, really: bool) -> Pruned:
    """Delete attempts that are older than so many days and superseded by a later attempt of the same config, and
    finished runs without attempts or lessons. With `verdicts_too`, the latest verdict on a config is deleted as well.

    Without `really` nothing changes, and the result counts what would be deleted."""
    moment = datetime.now(UTC) - timedelta(days=older_than_days)
    before = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    size = memory.path.stat().st_size
    old = "status <> 'pending' AND created_at < ?"
    if not verdicts_too:
        old += " AND id NOT IN (SELECT attempt_id FROM verdicts)"
    empty = (
        "started_at < ? AND outcome IS NOT NULL AND run_id NOT IN (SELECT run_id FROM attempts) "
        "AND run_id NOT IN (SELECT run_id FROM lessons WHERE run_id IS NOT NULL)"
    )
    with memory.write() as c:
        c.execute("SAVEPOINT trial")
        c.execute("DROP TRIGGER attempts_keep_rows")
        c.execute("CREATE TEMP TABLE gone AS SELECT id FROM attempts WHERE " + old, [before])
        c.execute("DELETE FROM verdicts")
        attempts = c.execute("DELETE FROM attempts WHERE id IN (SELECT id FROM temp.gone)").rowcount
        c.execute("DROP TABLE temp.gone")
        runs = c.execute("DELETE FROM runs WHERE " + empty, [before]).rowcount
        for statement in statements(FILL_VERDICTS + DELETE_GUARD):
            c.execute(statement)
        if not really:
            c.execute("ROLLBACK TO trial")
    if not really:
        return Pruned(attempts, runs, 0)
    with file.explain_errors(memory.path, memory.timeout_s):
        memory.connection.execute("VACUUM")
        memory.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Pruned(attempts, runs, max(0, size - memory.path.stat().st_size))
