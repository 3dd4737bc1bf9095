"""What agents have made of device code: each edit with its parent, difference, reason, verdict and limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memory.attempt import Row, new_uid, now
from memory.store import Memory

REASON_CHARS = 600
FIELDS = (
    "run_id", "kernel", "problem_id", "environment_id", "hash", "parent", "reason", "source", "diff", "meta", "grid",
    "verdict", "why", "limit_before", "limit_after",
)  # fmt: skip


@dataclass(frozen=True)
class VariantRow:
    """One edit, refused ones included."""

    run_id: str | None
    kernel: str
    problem_id: int | None
    environment_id: int | None
    reason: str
    """In the model's words: data, to be quoted."""
    verdict: str
    """``refused``, or the status of compilation and interpreter: ``correct``, ``compile``, ``correctness``, …"""
    why: str = ""
    hash: str = ""
    parent: str = ""
    """Hash of the variant that it was made from; empty: the owner's code."""
    source: str = ""
    diff: str = ""
    """Unified, against the parent."""
    meta: Mapping[str, Any] | None = None
    grid: str = ""
    limit_before: str = ""
    """What limits the parent, and the variant, by the name that ``explain_kernel`` gives it."""
    limit_after: str = ""


def record_variant(memory: Memory, row: VariantRow) -> int:
    """Write an edit down; its row."""
    values: dict[str, Any] = {name: getattr(row, name) for name in FIELDS}
    values |= {"meta": json.dumps(row.meta or {}, sort_keys=True), "reason": row.reason[:REASON_CHARS]}
    columns = ", ".join(("uid", *FIELDS, "created_at"))
    marks = ", ".join("?" * (len(FIELDS) + 2))
    with memory.write() as c:
        done = c.execute(
            f"INSERT INTO variants ({columns}) VALUES ({marks})", [new_uid(), *(values[n] for n in FIELDS), now()]
        )
        return int(done.lastrowid or 0)


def refute_variant(memory: Memory, name: str, problem_id: int, why: str) -> None:
    """The variant with this hash has turned out to be wrong on a problem: what its rows say of it."""
    with memory.write() as c:
        c.execute(
            "UPDATE variants SET verdict = 'correctness', why = ? WHERE hash = ? AND problem_id = ?",
            [why, name, problem_id],
        )


def edits_of(memory: Memory, kernel: str, limit: int = 5) -> list[Row]:
    """The newest edits of a kernel, each variant once."""
    return memory.ask(
        "SELECT * FROM variants WHERE id IN (SELECT max(id) FROM variants WHERE kernel = ? "
        "GROUP BY CASE hash WHEN '' THEN id ELSE hash END) ORDER BY id DESC LIMIT ?",
        [kernel, limit],
    )


def edits_for_limit(memory: Memory, name: str, kernel: str, limit: int = 5) -> list[Row]:
    """Sound edits of other kernels that had the same limit, those that moved it first."""
    return memory.ask(
        "SELECT * FROM variants WHERE id IN (SELECT max(id) FROM variants WHERE limit_before = ? AND kernel <> ? AND "
        "verdict = 'correct' GROUP BY hash) ORDER BY limit_after = limit_before, id DESC LIMIT ?",
        [name, kernel, limit],
    )
