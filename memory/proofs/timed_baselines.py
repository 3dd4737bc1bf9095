"""What the baselines of a problem took in the newest sitting of an earlier run."""

from __future__ import annotations

import json

from memory.store import Memory

NEWEST = """
SELECT comparisons FROM attempts
WHERE problem_id = :problem AND environment_id = :environment AND kind = 'proof' AND status = 'correct'
    AND regime = :regime AND comparisons IS NOT NULL
ORDER BY id DESC LIMIT 1
"""


def baseline_times(memory: Memory, problem_id: int, environment_id: int, regime: str) -> dict[str, float]:
    """Name → ms per launch of every baseline that was timed; empty if no run has proven anything yet."""
    rows = memory.ask(NEWEST, {"problem": problem_id, "environment": environment_id, "regime": regime})
    comparisons = json.loads(rows[0]["comparisons"]) if rows else []
    return {str(c["name"]): float(c["ms"]) for c in comparisons if c.get("ms") is not None}
