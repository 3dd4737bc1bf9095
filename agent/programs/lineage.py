"""How a variant came about: the edits from the owner's code to it, as memory holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memory.file import default_path
from memory.store import Memory

SHOWN = ("hash", "parent", "reason", "limit_before", "limit_after", "verdict", "grid", "diff")


def lineage_of(path: Path | None, name: str) -> list[dict[str, Any]]:
    """The edits that led to the variant `name`, the first one of the owner's code first; empty if memory knows none.
    `path`: of the memory."""
    memory = Memory.open(path or default_path())
    try:
        return lineage_in(memory, name)
    finally:
        memory.close()


def lineage_in(memory: Memory, name: str) -> list[dict[str, Any]]:
    """The same from an open memory."""
    found: list[dict[str, Any]] = []
    while name and all(step["hash"] != name for step in found):
        rows = memory.ask("SELECT * FROM variants WHERE hash = ? ORDER BY id DESC LIMIT 1", [name])
        if not rows:
            break
        found.append({field: rows[0][field] for field in SHOWN})
        name = str(rows[0]["parent"])
    return found[::-1]
