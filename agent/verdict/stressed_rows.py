"""What a tool's answer says of variants that were tried on inputs that nobody chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rows_of_wrong(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of variants that were wrong there. A row without a status is of one that was left out."""
    rows = result.get("stressed")
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [row for row in known if row.get("status") not in (None, "correct", "infrastructure")]
