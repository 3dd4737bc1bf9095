"""A Kernel Tuner cache file as a T4 document, so that one importer reads both. Its times are in ms."""

from __future__ import annotations

import json
import re
from typing import Any

from memory.formats.t4 import T4Error, build_result, read_time, read_times

STATUSES = {
    "InvalidConfig": "constraints",
    "CompilationFailedConfig": "compile",
    "RuntimeFailedConfig": "runtime",
    "ErrorConfig": "runtime",
}
"""Kernel Tuner's words in the place of a time."""


def read_json(data: bytes) -> Any:
    """The JSON in a file's bytes, in any Unicode encoding. Raises ValueError if they hold neither JSON nor a cache that
    was left open."""
    text = data.decode(json.detect_encoding(data)).strip()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return _read_open_cache(text)


def _read_open_cache(text: str) -> Any:
    """The JSON of a Kernel Tuner cache whose run was interrupted: that tool appends a row and a comma at a time and
    closes the braces at the end of a run. A row that was cut off is left out. Raises ValueError where it is none."""
    closed = re.sub(r"[,}\s]+$", "", text)
    whole = text[: text.rfind("},")]
    for candidate in (closed + "}}}", closed + "}}", whole + "}}}"):
        try:
            return json.loads(candidate)
        except json.JSONDecodeError:
            continue
    raise ValueError("neither JSON nor a Kernel Tuner cache that was left open")


def is_cache(raw: Any) -> bool:
    """Whether parsed JSON has the form of a cache file."""
    return isinstance(raw, dict) and isinstance(raw.get("cache"), dict) and "results" not in raw


def to_t4(raw: dict[str, Any]) -> dict[str, Any]:
    """The cache as a T4 document. Raises T4Error."""
    parameters = raw.get("tune_params")
    keys = raw.get("tune_params_keys", list(parameters) if isinstance(parameters, dict) else None)
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise T4Error("the Kernel Tuner cache has no `tune_params_keys`, a list of names")
    if raw.get("objective", "time") != "time":
        raise T4Error(f"its objective is {raw['objective']!r}, and the memory holds times")
    results = [_result(row, where, keys) for where, row in raw["cache"].items()]
    return {"metadata": {"timeunit": "milliseconds"}, "results": results}


def about(raw: dict[str, Any]) -> dict[str, Any]:
    """What a cache states of its kernel, problem and device, each under the name of an option of the import."""
    size = raw.get("problem_size")
    label = "x".join(map(str, size)) if isinstance(size, list) else None if size is None else str(size)
    stated = {"kernel": raw.get("kernel_name"), "problem": label, "device": raw.get("device_name")}
    return {n: v for n, v in stated.items() if isinstance(v, str) and v}


def _result(row: Any, where: str, keys: list[str]) -> dict[str, Any]:
    if not isinstance(row, dict) or any(k not in row for k in keys):
        raise T4Error(f"cache entry {where!r} lacks a value for one of {', '.join(keys)}")
    word = next((v for v in (row.get("time"), row.get("__error__")) if isinstance(v, str) and v in STATUSES), None)
    ms, samples = read_time(row.get("time")), read_times(row.get("times"), 1.0)
    status = STATUSES[word] if word else "correct" if ms is not None else "runtime"
    result = build_result(
        timestamp=str(row.get("timestamp") or ""),
        configuration={k: row[k] for k in keys},
        status=status,
        compile_ms=read_time(row.get("compile_time")) or 0.0,
        check_ms=read_time(row.get("verification_time")) or 0.0,
        runtimes_ms=samples if status == "correct" else [],
        measured_ms={"time": ms} if status == "correct" and ms is not None else {},
    )
    reason = word or ("" if status == "correct" else f"its time is {row.get('time')!r}")
    return result | {"reason": reason, "run_seconds": (read_time(row.get("benchmark_time")) or 0.0) * 1e-3}
