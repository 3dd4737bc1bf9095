"""Other people's spaces as landscapes: T4 files and Kernel Tuner's cache files.

The reader of T4 (``memory/formats/t4.py``) accepts files that differ from the schema. On top of it, this file decides
what became of each config from ``1e20``, NaN or an error's name in the place of a time. ``Landscape.notes`` names what
was accepted although it is wrong. A config whose outcome is unclear counts as failed, unless every outcome is unclear:
then the file holds something else and is refused.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast, get_args

from memory.formats.t4 import ERROR_TIME, Result, read_document, read_result, read_time, read_times
from memory.shared_models import DeviceInfo
from memory.terms import Status
from tools.harness.landscapes.readings import Entry, Landscape, LandscapeError, ReadingSet, config_key, is_time

STATUSES = get_args(Status)
KERNEL_TUNER_ERRORS: dict[str, Status] = {
    "InvalidConfig": "constraints",
    "CompilationFailedConfig": "compile",
    "RuntimeFailedConfig": "runtime",
    "ErrorConfig": "runtime",
}
TIMES = ("compile_time", "verification_time", "benchmark_time", "strategy_time", "framework_time")
NOT_MEASURED = {*TIMES, "time", "times", "timestamp", "__error__"}
"""What a row of a Kernel Tuner cache holds besides parameters and metrics."""


@dataclass(frozen=True)
class _Outcome:
    """What a file says became of one config."""

    status: Status
    ms: float | None = None
    """Of a correct config."""
    reason: str = ""
    doubt: str = ""
    """Why the file says it in a way that had to be guessed at."""


def read_t4(raw: dict[str, Any], name: str) -> Landscape:
    """A T4 results file of any tool. Raises T4Error or LandscapeError if it cannot be read."""
    document = read_document(raw)
    notes = [] if document.has_version else ["no schema_version"]
    if document.unit is None:
        notes.append("no metadata.timeunit")
    read = [_t4_entry(read_result(result, i, document.unit)) for i, result in enumerate(document.results)]
    kernel, device = _text(document.metadata, "kernel") or name, _text(document.metadata, "device") or "unknown"
    return _landscape(name, kernel, device, read, notes)


def read_kernel_tuner_cache(raw: dict[str, Any], name: str) -> Landscape:
    """A Kernel Tuner cache file; its times are in milliseconds."""
    parameters = raw.get("tune_params")
    keys = raw.get("tune_params_keys", list(parameters) if isinstance(parameters, dict) else None)
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise LandscapeError("the Kernel Tuner cache has no tune_params_keys, a list of names")
    read = [_cache_entry(row, where, keys) for where, row in raw["cache"].items()]
    notes = [f"Kernel Tuner cache, problem size {raw.get('problem_size')}"]
    lacking = sum(len(entry.config) < len(keys) for entry, _ in read)
    if lacking:
        notes.append(f"{lacking} configurations lack some of {', '.join(keys)}")
    kernel, device = _text(raw, "kernel_name") or name, _text(raw, "device_name") or "unknown"
    return _landscape(name, kernel, device, read, notes)


def _cache_entry(row: Any, key: str, keys: list[str]) -> tuple[Entry, str]:
    where = f"cache entry {key!r}"
    config = {k: row[k] for k in keys if k in row} if isinstance(row, dict) else {}
    if not config:
        raise LandscapeError(f"{where} lacks a value for {', '.join(keys)}")
    stated_values = {k: v for k, v in row.items() if k not in keys}
    samples = [ms for ms in read_times(stated_values.get("times"), 1.0) if is_time(ms)]
    metrics = [k for k in stated_values if k not in NOT_MEASURED]
    outcome = _outcome(where, stated_values.get("time"), 1.0, samples, stated_values.values(), metrics)
    spent = {k: read_time(stated_values.get(k)) or 0.0 for k in TIMES}
    entry = _entry(config, outcome, samples, spent["benchmark_time"] * 1e-3).model_copy(
        update={
            "timestamp": _text(stated_values, "timestamp"),
            "compile_seconds": spent["compile_time"] * 1e-3,
            "check_seconds": spent["verification_time"] * 1e-3,
            "run_seconds": spent["benchmark_time"] * 1e-3,
        }
    )
    return entry, outcome.doubt


def _t4_entry(result: Result) -> tuple[Entry, str]:
    values = [m.get("value") for m in result.measurements]
    names = [str(m.get("name")) for m in result.measurements if m is not result.time]
    samples = [ms for ms in result.samples_ms if is_time(ms)]
    outcome = _outcome(result.where, result.time.get("value"), result.to_ms, samples, values, names)
    outcome = _with_invalidity(outcome, result)
    entry = _entry(result.configuration, outcome, samples, 0.0).model_copy(
        update={
            "timestamp": result.timestamp,
            "compile_seconds": result.compile_seconds,
            "check_seconds": result.check_seconds,
            "run_seconds": result.run_seconds,
        }
    )
    return entry, outcome.doubt


def _outcome(
    where: str, stated: Any, to_ms: float, samples: list[float], values: Iterable[Any], metrics: list[str]
) -> _Outcome:
    """By an error's name anywhere in `values`, else by the time `stated`, else by the mean of `samples`."""
    word = next((v for v in values if isinstance(v, str) and v in KERNEL_TUNER_ERRORS), None)
    if word is not None:
        return _Outcome(KERNEL_TUNER_ERRORS[word], reason=word)
    ms = read_time(stated)
    if ms is not None and is_time(ms * to_ms):
        return _Outcome("correct", ms * to_ms)
    if stated is None and samples:
        return _Outcome("correct", math.fsum(samples) / len(samples))
    if stated is None:
        there = f", only {', '.join(metrics)}" if metrics else ""
        doubt = f"{where} holds no time{there}; landscapes here hold times"
        return _Outcome("runtime", reason="no time was stated", doubt=doubt)
    value = reprlib.repr(stated)
    doubt = "" if stated == ERROR_TIME else f"{where} has time {value}, which is neither a time nor an error"
    return _Outcome("runtime", reason=f"its time is {value}", doubt=doubt)


def _with_invalidity(outcome: _Outcome, result: Result) -> _Outcome:
    """The outcome in view of T4's words ``invalidity`` and ``correctness``, which overrule the numbers."""
    word = result.invalidity
    status = word.strip().lower() if isinstance(word, str) else word
    if status == "correct" or (status is None and result.raw.get("correctness") != 0):
        return outcome
    if status in STATUSES:
        reason = result.raw.get("reason") or result.time.get("value") or status
        return _Outcome(cast(Status, status), reason=str(reason))
    if status is None:
        return outcome if outcome.ms is None else _Outcome("correctness", reason="correctness is 0")
    doubt = f"{result.where} has invalidity {reprlib.repr(word)}, not one of {', '.join(STATUSES)}"
    return _Outcome("runtime", reason=str(word), doubt=doubt)


def _entry(config: dict[str, Any], outcome: _Outcome, samples: list[float], seconds: float) -> Entry:
    """Single launches are set A where the file keeps them."""
    correct = outcome.status == "correct"
    sets = {"A": ReadingSet(samples_ms=samples, seconds=seconds)} if correct and samples else {}
    return Entry(
        config=config, status=outcome.status, reason=outcome.reason, sets=cast(Any, sets), stated_ms=outcome.ms
    )


def _landscape(name: str, kernel: str, device: str, read: list[tuple[Entry, str]], notes: list[str]) -> Landscape:
    kept: dict[str, Entry] = {}
    for e, _ in read:
        kept.setdefault(e.key, e)
    doubts = [doubt for _, doubt in read if doubt]
    if not any(e.config for e in kept.values()):
        raise LandscapeError("it holds no configuration")
    if doubts and not any(e.status == "correct" for e in kept.values()):
        raise LandscapeError(doubts[0])
    if len(kept) < len(read):
        notes.append(f"{len(read) - len(kept)} repeated configurations, the first of each is kept")
    if doubts:
        notes.append(f"{len(doubts)} configurations count as failed, the first because {doubts[0]}")
    return Landscape(
        name=name,
        kernel=kernel,
        device=DeviceInfo(kind="recorded", name=device, hardware=None),
        entries={config_key(e.config): e for e in kept.values()},
        notes=notes,
    )


def _text(raw: dict[str, Any], key: str) -> str | None:
    value = raw.get(key)
    return value if isinstance(value, str) else None
