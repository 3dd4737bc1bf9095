"""Exports a subject as a Kernel Tuner cache file (schema 1.1.0, github.com/KernelTuner/kernel_tuner,
``schema/cache/1.1.0``), which that tool's simulation mode and plots read. Times are in ms."""

from __future__ import annotations

import json
from typing import Any

from memory.subject import Subject

WORDS = {"constraints": "InvalidConfig", "compile": "CompilationFailedConfig"}
"""Kernel Tuner's words for our statuses; any other failure is ``RuntimeFailedConfig``."""


def kernel_tuner(subject: Subject) -> str:
    """The cache file as JSON text."""
    keys = sorted({k for v in subject.verdicts for k in v["config"]})
    dims = [v for v in subject.problem.values() if isinstance(v, int) and not isinstance(v, bool)]
    cache = {}
    for v in subject.verdicts:
        correct = v["status"] == "correct" and v["ms"] is not None
        if v["status"] == "correct" and not correct:
            continue  # compiled or checked only: Kernel Tuner has no word for it
        times = v["samples"] or [v["ms"]] if correct else []
        entry = {k: v["config"].get(k) for k in keys}
        entry |= {"time": v["ms"] if correct else WORDS.get(v["status"], "RuntimeFailedConfig")}
        entry |= {"times": times} if times else {}
        entry |= {"compile_time": _compile_ms(v), "verification_time": 0, "benchmark_time": _run_ms(v)}
        entry |= {"strategy_time": 0, "framework_time": 0, "timestamp": v["created_at"].replace("Z", "+00:00")}
        if correct and v["unit"] == "TFLOP/s":
            entry["GFLOP/s"] = v["value"] * 1e3
        cache[",".join(str(v["config"].get(k)) for k in keys)] = entry
    head = {
        "schema_version": "1.1.0",
        "device_name": subject.environment["name"],
        "kernel_name": subject.kernel,
        "problem_size": dims or subject.label,
        "tune_params_keys": keys,
        "tune_params": {k: _distinct([v["config"].get(k) for v in subject.verdicts]) for k in keys},
        "objective": "time",
    }
    return json.dumps(head | {"cache": cache}, indent=1)


def _compile_ms(v: dict[str, Any]) -> float:
    return 1e3 * float((v["compiled"] or {}).get("seconds") or 0.0)


def _run_ms(v: dict[str, Any]) -> float:
    return 1e3 * float(v["seconds"] or 0.0) if v["kind"] == "benchmark" else 0.0


def _distinct(values: list[Any]) -> list[Any]:
    return sorted(dict.fromkeys(values), key=lambda v: (str(type(v)), v if isinstance(v, int | float) else str(v)))
