"""Exports the memory's verdicts as a T4 results file, which is also a landscape of this project.

Each result carries the identity of its attempt, so that importing the file twice, or into the memory that it came from,
adds nothing.
"""

from __future__ import annotations

import json
from typing import Any

from memory.attempt import COMPILED, ENVIRONMENT, TELEMETRY
from memory.formats.t4 import build_document, build_result
from memory.subject import Subject


def dump(subject: Subject) -> str:
    """The subject as a T4 results file."""
    environment = {name: subject.environment[name] for name in ENVIRONMENT}
    environment["facts"] = json.loads(environment["facts"] or "null")
    about = {
        "kernel": subject.kernel,
        "source": subject.source_hash,
        "problem": subject.problem,
        "label": subject.label,
        "device": environment,
        "regime": subject.regime,
    }
    results = [_result(v) for v in subject.verdicts if v["status"] != "correct" or v["ms"]]
    return json.dumps(
        build_document(environment, about, {"memory": {"environment": environment}}, results),
        indent=1,
    )


def _result(verdict: dict[str, Any]) -> dict[str, Any]:
    correct = verdict["status"] == "correct"
    compiled = verdict["compiled"] or (verdict if verdict["kind"] == "compile" else None)
    run_seconds = float(verdict["seconds"] or 0.0) if verdict["kind"] == "benchmark" else 0.0
    result = build_result(
        timestamp=verdict["created_at"],
        configuration=verdict["config"],
        status=verdict["status"],
        compile_ms=1e3 * float((compiled or {}).get("seconds") or 0.0),
        check_ms=0,
        runtimes_ms=(verdict["samples"] or [verdict["ms"]]) if correct else [],
        measured_ms={"time": verdict["ms"]} if correct else {},
    )
    result |= {
        "status": verdict["status"],
        "reason": verdict["reason"] or "",
        "run_seconds": run_seconds,
        "attempt": verdict["uid_hex"],
    }
    result |= {k: verdict[k] for k in ("error", "bound") if verdict[k] is not None}
    if compiled:
        figures = {k: compiled[k] for k in COMPILED if compiled[k] is not None}
        result["compile"] = {"status": compiled["status"], "reason": compiled["reason"] or ""} | figures
    if correct:
        telemetry = {k: verdict[k] for k in TELEMETRY if verdict[k] is not None}
        result["sets"] = {"A": {"seconds": run_seconds} | ({"telemetry": telemetry} if telemetry else {})}
    return result
