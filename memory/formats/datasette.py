"""``python -m memory metadata``: titles and prepared queries for Datasette."""

from __future__ import annotations

from pathlib import Path
from typing import Any

QUERIES: dict[str, tuple[str, str]] = {
    "fastest_configs": (
        "Fastest verified configs of one problem",
        "SELECT p.label AS problem, e.device, v.regime, v.ms, v.attempts, c.config FROM verdicts v "
        "JOIN problems p ON p.id = v.problem_id JOIN environments e ON e.id = v.environment_id "
        "JOIN configs c ON c.id = v.config_id "
        "WHERE v.kind = 'benchmark' AND v.status = 'correct' AND p.label LIKE '%' || :problem || '%' "
        "ORDER BY p.label, e.device, v.regime, v.ms LIMIT 100",
    ),
    "why_it_failed": (
        "Failures whose reason holds a word",
        "SELECT * FROM failures_by_reason WHERE reason LIKE '%' || :word || '%' ORDER BY configs DESC LIMIT 100",
    ),
    "one_run": (
        "Everything one run measured, in order",
        "SELECT * FROM learning_curve WHERE run_id = :run_id ORDER BY evaluation",
    ),
    "proofs": (
        "Proofs, and what they were compared with",
        "SELECT a.created_at, k.name AS kernel, p.label AS problem, e.device, a.regime, a.status, a.ms, a.comparisons, "
        "a.how, a.run_id FROM attempts a JOIN problems p ON p.id = a.problem_id JOIN kernels k ON k.id = p.kernel_id "
        "JOIN environments e ON e.id = a.environment_id WHERE a.kind = 'proof' ORDER BY a.id DESC LIMIT 100",
    ),
    "runs_by_model": (
        "How often each model's runs ended proven, and at what cost",
        "SELECT model, count(*) AS runs, sum(outcome = 'proven') AS proven, round(avg(evaluations), 1) AS evaluations, "
        "round(avg(seconds), 1) AS seconds, sum(tokens) AS tokens, round(sum(cost_usd), 4) AS usd "
        "FROM runs GROUP BY model ORDER BY runs DESC",
    ),
}
"""Name → (title, SQL)."""

VIEWS = {
    "best_per_problem": "The fastest verified config of every problem, device and regime.",
    "failures_by_reason": "What failed, at which step, with which words, how often.",
    "learning_curve": "Every evaluation of every run with the best time so far.",
    "runs_overview": "A row per run: goal, model, outcome, cost.",
}


def metadata(path: Path) -> dict[str, Any]:
    """For the file at `path`: Datasette calls a database by its file's stem."""
    return {
        "title": "Triton Autokernel: the memory",
        "databases": {
            path.stem: {
                "tables": {name: {"description": text} for name, text in VIEWS.items()},
                "queries": {name: {"title": title, "sql": sql} for name, (title, sql) in QUERIES.items()},
            }
        },
    }
