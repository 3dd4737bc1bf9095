"""The best proof ever made on a problem in one environment. A worse one never takes its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memory.proofs.rule import Judged, judge_rows, widen_row
from memory.store import Memory
from memory.terms import ENERGY_UNITS

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
    """The proven win with the largest ratio over its strongest baseline; ``None`` if there is none.

    Proofs of the run `except_run` do not count. `energy` and `against` say how proofs are judged, as in
    :func:`memory.proofs.rule.judge_rows`."""
    rows = memory.ask(PROOFS, {"problem": problem_id, "environment": environment_id, "regime": regime})
    found = []
    for row in rows:
        judged = judge_proof(row, energy, against)
        if row["run_id"] != except_run and judged.proven and judged.against is not None:
            r = judged.against
            at, config = row["created_at"], json.loads(row["config"])
            found.append(BestProof(row["run_id"], at, config, row["ms"], r.name, r.value, (r.low, r.high)))
    return max(found, key=lambda proof: proof.ratio, default=None)


LATEST = """
SELECT v.config_id, a.comparisons, json_extract(r.objective, '$.metric') AS metric,
    json_extract(r.objective, '$.against') AS against,
    (SELECT count(*) FROM attempts o WHERE o.run_id = a.run_id AND o.kind = 'proof' AND o.status = 'correct'
        AND o.id <= a.id) AS tried
FROM verdicts v JOIN attempts a ON a.id = v.attempt_id JOIN runs r ON r.run_id = a.run_id
WHERE v.problem_id = :problem AND v.environment_id = :environment AND v.kind = 'proof' AND v.status = 'correct'
    AND a.comparisons IS NOT NULL
"""
"""The latest sitting of each config."""


def proven_configs(memory: Memory, problem_id: int, environment_id: int) -> set[str]:
    """Ids of the configs whose latest sitting proved them, judged as their run asked for."""
    rows = memory.ask(LATEST, {"problem": problem_id, "environment": environment_id})
    return {
        row["config_id"]
        for row in rows
        if judge_proof(row, row["metric"] in ENERGY_UNITS, json.loads(row["against"] or "[]")).proven
    }


SETTINGS = """
SELECT k.name AS kernel, p.label AS problem, e.device, a.problem_id, a.environment_id, a.regime
FROM attempts a JOIN problems p ON p.id = a.problem_id JOIN kernels k ON k.id = p.kernel_id
JOIN environments e ON e.id = a.environment_id
WHERE a.kind = 'proof' AND a.status = 'correct' AND a.comparisons IS NOT NULL
GROUP BY a.problem_id, a.environment_id, a.regime ORDER BY kernel, problem, device, a.regime
"""


def best_proofs(memory: Memory) -> list[dict[str, Any]]:
    """The best proof by time of every problem in every environment, as rows for a table; ``config`` is ``None`` where
    sittings proved nothing."""
    rows = []
    for row in memory.ask(SETTINGS):
        found = best_proof(memory, row.pop("problem_id"), row.pop("environment_id"), row["regime"])
        ratio = "" if found is None else f"{found.ratio:.3f}x [{found.ci[0]:.3f}, {found.ci[1]:.3f}]"
        about = {"proof": f"{ratio} over {found.against}" if found else "nothing is proven", "ms": found and found.ms}
        rows.append(row | about | {"config": found and found.config, "run_id": found and found.run})
    return rows


def judge_proof(row: Mapping[str, Any], energy: bool = False, against: Sequence[str] = ()) -> Judged:
    """Judge an attempt's row by its ``comparisons`` (JSON) and its place ``tried`` in the run."""
    comparisons = [widen_row(each, row.get("tried", 1)) for each in json.loads(row["comparisons"])]
    return judge_rows(comparisons, energy, against)
