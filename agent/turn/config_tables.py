"""Rows of configs as tables: field names once, values as rows, what is the same in all rows once. Nothing is lost but
digits beyond the fourth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

JSON = dict[str, Any]

ROWS = ("results", "proposals", "rows", "neighbours", "finalists")
"""Fields of an answer that may hold rows of configs."""
DIGITS = 4
"""Significant digits of a number that was measured or computed."""
COMMON = 0.5
"""A field of the rows is a column if at least this share of them has it; the others stand in the column ``more``."""


def compact(answer: JSON) -> JSON:
    """An answer with its rows as tables."""
    found = {name: table(value) if name in ROWS and is_rows(value) else short(value) for name, value in answer.items()}
    best = answer.get("best")
    if isinstance(best, dict) and isinstance(answer.get("results"), list) and best in answer["results"]:
        found["best"] = {"row": answer["results"].index(best) + 1}
    return found


def is_rows(value: Any) -> bool:
    """Whether `value` is a list of rows that each name a config."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(row, dict) and isinstance(row.get("config"), dict) for row in value)
    )


def table(rows: Sequence[JSON]) -> JSON:
    """``{"same": fields of every config, "columns": names, "rows": values}``. A row's own field that is called as a
    field of the config is marked with an underscore."""
    configs = [row["config"] for row in rows]
    names = list(dict.fromkeys(name for config in configs for name in config))
    whole = [name for name in names if all(name in config for config in configs)]
    same = {name: configs[0][name] for name in whole if all(c[name] == configs[0][name] for c in configs)}
    varying = [name for name in names if name not in same]
    others = list(dict.fromkeys(name for row in rows for name in row if name != "config"))
    often = [name for name in others if sum(name in row for row in rows) >= COMMON * len(rows)]
    shared = {
        name: rows[0][name]
        for name in often
        if not isinstance(rows[0].get(name), dict) and all(name in r and r[name] == rows[0][name] for r in rows)
    }
    often = [name for name in often if name not in shared]
    clauses = {name: common for name in often if (common := common_clauses([row.get(name) for row in rows]))}
    seldom = [name for name in others if name not in often and name not in shared]
    columns = [*varying, *(f"_{name}" if name in names else name for name in often), *(["more"] if seldom else [])]
    lines = []
    for row, config in zip(rows, configs, strict=True):
        line = [config.get(name) for name in varying] + [
            without_clauses(row.get(name), clauses.get(name, ())) for name in often
        ]
        if seldom:
            line.append({name: short(row[name]) for name in seldom if name in row} or None)
        lines.append(line)
    found: JSON = {"same": same} if same else {}
    if shared or clauses:
        found["all"] = short(shared) | {name: "; ".join(common) for name, common in clauses.items()}
    return {**found, "columns": columns, "rows": lines}


def common_clauses(texts: Sequence[Any]) -> list[str]:
    """The clauses, separated by semicolons, that all `texts` have; none if one of them is no text."""
    if not all(isinstance(text, str) for text in texts):
        return []
    split = [text.split("; ") for text in texts]
    return [clause for clause in split[0] if all(clause in other for other in split)]


def without_clauses(value: Any, clauses: Sequence[str]) -> Any:
    """`value`, a text without these clauses, or anything else."""
    if not clauses or not isinstance(value, str):
        return short(value)
    return "; ".join(clause for clause in value.split("; ") if clause not in clauses)


def short(value: Any) -> Any:
    """`value` with its numbers to four significant digits; whole numbers stay as they are."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: short(item) for name, item in value.items()}
    return [short(item) for item in value] if isinstance(value, list) else value


def compact_call(arguments: JSON) -> JSON:
    """A call's arguments with its configs as a table, a form in which they may be given."""
    configs = arguments.get("configs")
    if not (isinstance(configs, list) and len(configs) > 1 and all(isinstance(c, dict) for c in configs)):
        return arguments
    made = table([{"config": config} for config in configs])
    return {**arguments, "configs": made}


def dumps(value: Any) -> str:
    """JSON without spaces after commas, which are tokens."""
    return json.dumps(value, separators=(",", ":"))
