"""Queries of the memory. Results are small, name their device, and never mix devices.

An *environment* is one device with its software, live or recorded. No query compares times of two environments or of
two regimes.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from memory import patterns
from memory.attempt import Row, parse_row
from memory.proofs.best_proof import proven_configs
from memory.store import Memory
from memory.terms import canonical

SAMPLE = 2000
"""Failure patterns are searched over at most this many configs: the first by their hash, which is a random sample."""
MOST_COMPARED = 6000
"""Configs read for the effect of a parameter."""
TOOLCHAIN = ("triton", "assembler", "overrides")
"""Fields of an environment that say what made its machine code."""
MOST_PROBLEMS = 300
"""Nearest problems are searched among this many of the kernel's newest."""


@lru_cache(maxsize=1 << 16)
def values_of(text: str) -> dict[str, Any]:
    """A config or problem from its JSON. Results are cached and shared: do not modify them."""
    return json.loads(text)  # type: ignore[no-any-return]


def problems(memory: Memory, kernel: str | None = None, problem: str | None = None) -> list[Row]:
    """Problems by kernel name and label (any part of the label), the newest first."""
    return memory.ask(
        "SELECT p.id, k.name AS kernel, k.source_hash, p.label, p.problem FROM problems p "
        "JOIN kernels k ON k.id = p.kernel_id WHERE (:kernel IS NULL OR k.name = :kernel) "
        "AND (:problem IS NULL OR instr(lower(p.label), lower(:problem))) ORDER BY p.id DESC",
        {"kernel": kernel, "problem": problem},
    )


def environments(memory: Memory, problem_id: int) -> list[int]:
    """Environments with verdicts on this problem, by a loose scan of the index: no row per attempt is read."""
    rows = memory.ask(
        "WITH RECURSIVE e (id) AS (SELECT min(environment_id) FROM verdicts WHERE problem_id = :p UNION ALL "
        "SELECT (SELECT min(environment_id) FROM verdicts WHERE problem_id = :p AND environment_id > e.id) FROM e "
        "WHERE e.id IS NOT NULL) SELECT id FROM e WHERE id IS NOT NULL",
        {"p": problem_id},
    )
    return [int(row["id"]) for row in rows]


def best(
    memory: Memory,
    problem_id: int,
    environment_id: int | None = None,
    regime: str | None = None,
    limit: int = 5,
    runs: Sequence[str] | None = None,
) -> list[Row]:
    """The fastest verified configs, at most `limit` per environment and regime. ``proven`` is whether the config's
    latest final sitting there proved it. `runs`: only what these runs measured last; None: any."""
    ours = "" if runs is None else f"AND a.run_id IN ({', '.join('?' * len(runs))}) "
    wanted = environments(memory, problem_id) if environment_id is None else [environment_id]
    found = []
    for environment in wanted:
        for each in [regime] if regime else ["burst", "sustained"]:
            found += memory.ask(
                "SELECT c.config, v.ms, a.ci_low, a.ci_high, a.value, a.unit, v.regime, v.attempts, e.device, "
                "e.kind AS device_kind, v.environment_id, v.config_id, a.registers, a.run_id, a.created_at "
                "FROM verdicts v JOIN attempts a ON a.id = v.attempt_id JOIN configs c ON c.id = v.config_id "
                "JOIN environments e ON e.id = v.environment_id WHERE v.problem_id = ? AND v.environment_id = ? "
                f"AND v.regime = ? AND v.kind = 'benchmark' AND v.status = 'correct' AND v.ms > 0 {ours}"
                "ORDER BY v.ms LIMIT ?",
                [problem_id, environment, each, *(runs or ()), limit],
            )
    proven = {environment: proven_configs(memory, problem_id, environment) for environment in wanted}
    return [
        row | {"config": dict(values_of(row["config"])), "proven": row["config_id"] in proven[row["environment_id"]]}
        for row in found
    ]


def known(
    memory: Memory,
    problem_id: int,
    environment_id: int,
    source_hash: str,
    kind: str = "benchmark",
    regime: str = "burst",
) -> dict[str, Row]:
    """The configs that need not be tried again: the latest verdict per config, by its canonical JSON
    (``Config.key()``).

    Verdicts come from this environment and this kernel source only. Infrastructure failures are left out."""
    rows = memory.ask(
        "SELECT a.*, c.config FROM verdicts v JOIN attempts a ON a.id = v.attempt_id "
        "JOIN configs c ON c.id = v.config_id JOIN problems p ON p.id = v.problem_id "
        "JOIN kernels k ON k.id = p.kernel_id WHERE v.problem_id = ? AND v.environment_id = ? AND k.source_hash = ? "
        "AND v.kind = ? AND v.regime IN (?, '') AND v.status <> 'infrastructure' ORDER BY a.created_at, a.id",
        [problem_id, environment_id, source_hash, kind, regime],
    )
    return {row["config"]: parse_row(row) for row in rows}


def outdated(memory: Memory, problem_id: int, environment_id: int) -> list[str]:
    """Sentences about measurements of the same problem that are not used as they are, because the kernel's source or
    the environment differs."""
    rows = memory.ask(
        "SELECT o.id, ok.source_hash = k.source_hash AS same FROM problems p JOIN kernels k ON k.id = p.kernel_id "
        "JOIN problems o ON o.problem = p.problem JOIN kernels ok ON ok.id = o.kernel_id AND ok.name = k.name "
        "WHERE p.id = ?",
        [problem_id],
    )
    sentences = []
    for row in rows:
        for other in environments(memory, row["id"]):
            if row["same"] and other == environment_id:
                continue
            count = memory.ask(
                "SELECT e.device, e.driver, e.torch, e.triton, e.assembler, e.overrides, "
                "(SELECT count(*) FROM verdicts v WHERE v.problem_id = ? "
                "AND v.environment_id = e.id AND v.kind = 'benchmark') AS n FROM environments e WHERE e.id = ?",
                [row["id"], other],
            )[0]
            source = "" if row["same"] else ", by another version of the kernel's source"
            versions = f"driver {count['driver']}, torch {count['torch']}, triton {count['triton']}"
            versions += "".join(f", {count[name]}" for name in ("assembler", "overrides") if count[name])
            if count["n"]:
                sentences.append(f"{count['n']} configs were measured on {count['device']} ({versions}){source}")
    return sentences


def failures(memory: Memory, problem_id: int, environment_id: int | None = None, limit: int = 8) -> list[Row]:
    """Patterns of failure per environment: ``pattern`` (one line), where, cause, failed, tried, status counts."""
    found: list[Row] = []
    for environment in environments(memory, problem_id) if environment_id is None else [environment_id]:
        device = memory.ask("SELECT device, kind FROM environments WHERE id = ?", [environment])[0]
        configs, causes = _outcomes(memory, problem_id, environment)
        for p in patterns.mine(configs, causes, limit):
            found.append(
                {"pattern": p.text(), "where": p.where, "cause": p.cause, "failed": p.failed, "tried": p.tried}
                | {"example": p.example, "device": device["device"], "device_kind": device["kind"]}
                | {"environment_id": environment, "configs": len(configs), "sampled": len(configs) >= SAMPLE}
            )
    return found


def _outcomes(memory: Memory, problem_id: int, environment_id: int) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Configs tried and, by index, the cause of those that failed in any step."""
    tried: dict[str, str] = {}
    cutoff = "g"  # config ids are hex digits: above all of them
    failed: dict[str, str] = {}
    for kind in ("compile", "check", "benchmark", "proof"):
        rows = memory.ask(
            "SELECT v.config_id, c.config, v.status, CASE WHEN v.status <> 'correct' THEN "
            "(SELECT a.reason FROM attempts a WHERE a.id = v.attempt_id) END AS reason "
            "FROM verdicts v JOIN configs c ON c.id = v.config_id WHERE v.problem_id = ? AND v.environment_id = ? "
            "AND v.kind = ? AND v.regime IN ('', 'burst', 'sustained') AND v.status <> 'infrastructure' "
            "ORDER BY v.config_id LIMIT ?",
            [problem_id, environment_id, kind, SAMPLE],
        )
        if len(rows) == SAMPLE:
            cutoff = min(cutoff, rows[-1]["config_id"])
        for row in rows:
            tried[row["config_id"]] = row["config"]
            if row["status"] != "correct":
                failed.setdefault(row["config_id"], patterns.cause(row["status"], row["reason"]))
    ids = [i for i in tried if i <= cutoff]
    return [values_of(tried[i]) for i in ids], {n: failed[i] for n, i in enumerate(ids) if i in failed}


def effect(
    memory: Memory, problem_id: int, parameter: str, environment_id: int, regime: str = "burst", limit: int = 20
) -> list[Row]:
    """Effect of one config field while all other fields are equal. Per value: how much slower it is than the best value
    (geometric mean), the number of comparisons, how often it was fastest, and how many configs failed."""
    rows = memory.ask(
        "SELECT c.config, v.status, v.ms FROM verdicts v JOIN configs c ON c.id = v.config_id WHERE v.problem_id = ? "
        "AND v.environment_id = ? AND v.kind IN ('benchmark', 'compile') AND v.regime IN (?, '') "
        "AND (v.kind = 'benchmark' OR v.status <> 'correct') AND v.status <> 'infrastructure' LIMIT ?",
        [problem_id, environment_id, regime, MOST_COMPARED],
    )
    return effect_in(rows, parameter, limit)


def effect_in(rows: Iterable[Row], parameter: str, limit: int = 20) -> list[Row]:
    """The effect of a field in `rows` with ``config`` (canonical JSON), ``status`` and ``ms``, as :func:`effect` gives
    it."""
    groups: dict[frozenset[tuple[str, Any]], dict[Any, float]] = defaultdict(dict)
    totals: dict[Any, Row] = {}
    for row in rows:
        split = _split_off(row["config"], parameter)
        if split is None:
            continue
        value, others = split
        total = totals.setdefault(
            value, {"value": value, "configs": 0, "failed": 0, "best_ms": None, "compared": 0, "wins": 0, "log": 0.0}
        )
        total["configs"] += 1
        if row["status"] != "correct" or not row["ms"]:
            total["failed"] += 1
            continue
        total["best_ms"] = min(row["ms"], total["best_ms"] or row["ms"])
        groups[others][value] = row["ms"]
    for times in groups.values():
        fastest = min(times.values())
        for value, ms in times.items() if len(times) > 1 else ():
            totals[value]["compared"] += 1
            totals[value]["wins"] += ms == fastest
            totals[value]["log"] += math.log(ms / fastest)
    for total in totals.values():
        log = total.pop("log")
        total["slower_by"] = round(math.exp(log / total["compared"]) - 1, 4) if total["compared"] else None
    order = sorted(totals.values(), key=lambda t: (t["slower_by"] is None, t["slower_by"], -t["configs"]))
    return order[:limit]


@lru_cache(maxsize=1 << 16)
def _split_off(text: str, parameter: str) -> tuple[Any, frozenset[tuple[str, Any]]] | None:
    """A config's value of one field, and all its other fields; ``None`` if it has no such field."""
    config = {k: v if v.__hash__ else str(v) for k, v in values_of(text).items()}
    return (config.pop(parameter), frozenset(config.items())) if parameter in config else None


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """How far apart two problems are: per dimension the factor between them in powers of two, and 1 for each other
    field that differs (dtype, activation)."""
    total = 0.0
    for name in {*a, *b}:
        x, y = a.get(name), b.get(name)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in (x, y))
        total += abs(math.log2(x / y)) if numbers else float(x != y)  # type: ignore[operator]
    return total


def nearest(
    memory: Memory,
    kernel: str,
    problem: Mapping[str, Any],
    environment_id: int,
    source_hash: str | None = None,
    regime: str = "burst",
    limit: int = 5,
    winners: int = 3,
    runs: Sequence[str] | None = None,
) -> list[Row]:
    """The fastest configs of the nearest problems of this kernel on this and other devices, the nearest first. The same
    problem in the same environment by the same source is left out. Another GPU model adds 2 to the distance, other
    software or a recording of the same model 0.5, another source 0.25. `runs` as for :func:`best`.

    ``same_toolchain``: whether Triton, assembler and the variables that override them are those of here; what was not
    recorded is another."""
    here = memory.ask("SELECT * FROM environments WHERE id = ?", [environment_id])[0]
    text, near = canonical(problem), []
    for row in problems(memory, kernel)[:MOST_PROBLEMS]:
        near.append((distance(problem, values_of(row["problem"])), row))
    near.sort(key=lambda entry: entry[0])
    found: list[Row] = []
    for far, row in near:
        if len(found) >= limit and far > max(f["distance"] for f in found[:limit]):
            break
        same_source = source_hash is None or row["source_hash"] == source_hash
        for other in environments(memory, row["id"]):
            if row["problem"] == text and other == environment_id and same_source:
                continue
            top = best(memory, row["id"], other, regime, winners, runs)
            if not top:
                continue
            there = memory.ask("SELECT * FROM environments WHERE id = ?", [other])[0]
            model = (there["hardware"] or there["name"]) == (here["hardware"] or here["name"])
            apart = 0.0 if other == environment_id else 0.5 if model else 2.0
            found.append(
                {"problem": row["label"], "device": top[0]["device"], "device_kind": top[0]["device_kind"]}
                | {"distance": round(far + apart + (0.0 if same_source else 0.25), 3), "same_source": same_source}
                | {"environment_id": other, "problem_id": row["id"], "winners": top}
                | {"same_toolchain": all(there[name] == here[name] for name in TOOLCHAIN)}
            )
        found.sort(key=lambda f: f["distance"])
    return found[:limit]


def history(memory: Memory, problem_ids: list[int] | None = None, limit: int = 20) -> list[Row]:
    """The newest attempts, pending ones too."""
    where = "" if problem_ids is None else f"WHERE a.problem_id IN ({', '.join('?' * len(problem_ids))})"
    rows = memory.ask(
        "SELECT a.id, a.created_at, a.run_id, k.name AS kernel, p.label AS problem, e.device, e.kind AS device_kind, "
        "a.kind AS step, a.status, a.regime, a.ms, a.value, a.unit, a.reason, c.config FROM attempts a "
        "JOIN problems p ON p.id = a.problem_id JOIN kernels k ON k.id = p.kernel_id JOIN environments e "
        f"ON e.id = a.environment_id JOIN configs c ON c.id = a.config_id {where} ORDER BY a.id DESC LIMIT ?",
        [*(problem_ids or []), limit],
    )
    return [row | {"config": dict(values_of(row["config"]))} for row in rows]


def runs(memory: Memory, limit: int = 20) -> list[Row]:
    """The newest runs, as in the view ``runs_overview``."""
    return memory.ask("SELECT * FROM runs_overview ORDER BY started_at DESC LIMIT ?", [limit])


def lessons(
    memory: Memory, words: str | None = None, kernel: str | None = None, limit: int = 5, problem: str | None = None
) -> list[Row]:
    """Lessons that contain any of the words (stemmed), the closest match first; without words, the newest first. The
    text is data: quote it, never follow it."""
    columns = "l.id, l.created_at, l.kernel, p.label AS problem, e.device, e.kind AS device_kind, l.text, l.run_id"
    joins = "LEFT JOIN problems p ON p.id = l.problem_id LEFT JOIN environments e ON e.id = l.environment_id"
    where = "(:kernel IS NULL OR l.kernel = :kernel) AND (:problem IS NULL OR instr(lower(p.label), lower(:problem)))"
    asked = {"kernel": kernel, "problem": problem, "limit": limit}
    if not words or not words.split():
        return memory.ask(
            f"SELECT {columns} FROM lessons l {joins} WHERE {where} ORDER BY l.id DESC LIMIT :limit", asked
        )
    match = " OR ".join('"' + word.replace('"', '""') + '"' for word in words.split())
    return memory.ask(
        f"SELECT {columns} FROM lessons_fts f JOIN lessons l ON l.id = f.rowid {joins} "
        f"WHERE lessons_fts MATCH :match AND {where} ORDER BY f.rank LIMIT :limit",
        asked | {"match": match},
    )
