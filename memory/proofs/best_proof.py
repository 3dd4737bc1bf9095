"""The best proof ever made on a problem in one environment. A worse one never takes its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memory.proofs.rule import Judged, judge_rows, widened
from memory.store import Memory

PROOFS = """
SELECT a.run_id, a.created_at, a.ms, a.comparisons, c.config,
    row_number() OVER (PARTITION BY a.run_id ORDER BY a.id) AS tried
FROM attempts a JOIN configs c ON c.id = a.config_id
WHERE a.problem_id = :problem AND a.environment_id = :environment AND a.kind = 'proof' AND a.status = 'correct'
    AND a.regime = :regime AND a.comparisons IS NOT NULL
"""
"""`tried`: the place among the configs that the run tried."""


@dataclass(frozen=True)
class BestProof:
    """A final sitting whose config is proven."""

    run: str
    at: str
    """ISO 8601, UTC."""
    config: dict[str, Any]
    ms: float
    against: str
    """The strongest baseline of its sitting."""
    ratio: float
    """Over ``against``: a speed-up, or a saving in joules."""
    ci: tuple[float, float]


def best_proof(
    memory: Memory,
    problem_id: int,
    environment_id: int,
    regime: str,
    energy: bool = False,
    against: Sequence[str] = (),
    except_run: str | None = None,
) -> BestProof | None:
    """The proof with the largest ratio over its strongest baseline, of all runs but `except_run`. `energy` and
    `against` say how proofs are judged, as in :func:`memory.proofs.rule.judge_rows`."""
    rows = memory.ask(PROOFS, {"problem": problem_id, "environment": environment_id, "regime": regime})
    found = []
    for row in rows:
        judged = judge_proof(row, energy, against)
        if row["run_id"] != except_run and judged.proven and judged.against is not None:
            r = judged.against
            at, config = row["created_at"], json.loads(row["config"])
            found.append(BestProof(row["run_id"], at, config, row["ms"], r.name, r.value, (r.low, r.high)))
    return max(found, key=lambda proof: proof.ratio, default=None)


def judge_proof(row: Mapping[str, Any], energy: bool = False, against: Sequence[str] = ()) -> Judged:
    """Judge an attempt's row by its ``comparisons`` (JSON) and its place ``tried`` in the run."""
    comparisons = json.loads(row["comparisons"])
    for each in comparisons:
        for value, ci in (("speedup", "ci"), ("saving", "saving_ci")):
            if each.get(value) is not None and each.get(ci) is not None:
                each[ci] = widened(each[value], each[ci], row.get("tried", 1))
    return judge_rows(comparisons, energy, against)
