"""Other people's spaces as landscapes: T4 files as they are found in the wild, and Kernel Tuner's cache files.

Public files deviate from the schema: ``compilation`` for ``compilation_time``, no ``schema_version``, times in
``metadata.timeunit`` (also spelt "miliseconds"), no ``measurements`` for invalid configs, ``1e20``, NaN or an error's
name where a time should be. What can be understood is; what was forgiven stands in ``Landscape.notes``. A config whose
outcome cannot be made out counts as failed, unless that holds for every one: then the file holds something else.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast, get_args

from tools.harness.landscapes.readings import Entry, Landscape, LandscapeError, ReadingSet, config_key
from tools.harness.results import DeviceInfo, Status

UNIT_S = {
    "seconds": 1.0, "second": 1.0, "s": 1.0, "sec": 1.0,
    "milliseconds": 1e-3, "miliseconds": 1e-3, "millisecond": 1e-3, "ms": 1e-3, "msec": 1e-3,
    "microseconds": 1e-6, "microsecond": 1e-6, "us": 1e-6, "usec": 1e-6, "μs": 1e-6,
    "nanoseconds": 1e-9, "nanosecond": 1e-9, "ns": 1e-9,
}  # fmt: skip
STATUSES = get_args(Status)
KERNEL_TUNER_ERRORS: dict[str, Status] = {
    "InvalidConfig": "constraints",
    "CompilationFailedConfig": "compile",
    "RuntimeFailedConfig": "runtime",
    "ErrorConfig": "runtime",
}
KERNEL_TUNER_ERROR_VALUE = 1e20
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
    """A T4 results file of any tool. Without ``timeunit`` times are in the unit of the ``time`` measurement, else in
    seconds, the default of the community's reference reader (``autotuning_methodology``)."""
    notes = [] if "schema_version" in raw else ["no schema_version"]
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    unit = metadata.get("timeunit")
    if unit is not None and _seconds(unit) is None:
        raise LandscapeError(f"metadata.timeunit is {unit!r}, not one of {', '.join(UNIT_S)}")
    if unit is None:
        notes.append("no metadata.timeunit")
    read = [_t4_entry(result, i, unit) for i, result in enumerate(raw["results"])]
    return _landscape(name, _text(metadata, "kernel") or name, _text(metadata, "device") or "unknown", read, notes)


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


def read_open_cache(text: str) -> Any:
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


def _cache_entry(row: Any, key: str, keys: list[str]) -> tuple[Entry, str]:
    where = f"cache entry {key!r}"
    config = {k: row[k] for k in keys if k in row} if isinstance(row, dict) else {}
    if not config:
        raise LandscapeError(f"{where} lacks a value for {', '.join(keys)}")
    stated_values = {k: v for k, v in row.items() if k not in keys}
    samples = _times(stated_values.get("times"), 1.0)
    metrics = [k for k in stated_values if k not in NOT_MEASURED]
    outcome = _outcome(where, stated_values.get("time"), 1.0, samples, stated_values.values(), metrics)
    spent = {k: _time(stated_values.get(k)) or 0.0 for k in TIMES}
    entry = _entry(config, outcome, samples, spent["benchmark_time"] * 1e-3).model_copy(
        update={
            "timestamp": _text(stated_values, "timestamp"),
            "compile_seconds": spent["compile_time"] * 1e-3,
            "check_seconds": spent["verification_time"] * 1e-3,
            "run_seconds": spent["benchmark_time"] * 1e-3,
        }
    )
    return entry, outcome.doubt


def _t4_entry(result: Any, index: int, unit: str | None) -> tuple[Entry, str]:
    where = f"results[{index}]"
    if not isinstance(result, dict) or not isinstance(result.get("configuration"), dict):
        raise LandscapeError(f"{where} has no `configuration` object")
    times = result.get("times")
    times = times if isinstance(times, dict) else {}
    measurements = result.get("measurements")
    rows = [m for m in measurements if isinstance(m, dict)] if isinstance(measurements, list) else []
    stated = _time_measurement(rows)
    unit_s = _seconds(unit) or _seconds(stated.get("unit")) or 1.0
    to_ms = (_seconds(stated.get("unit")) or unit_s) * 1e3
    samples = _times(times.get("runtimes"), unit_s * 1e3)
    names = [str(m.get("name")) for m in rows if m is not stated]
    outcome = _outcome(where, stated.get("value"), to_ms, samples, [m.get("value") for m in rows], names)
    outcome = _with_invalidity(where, outcome, result, stated)
    entry = _entry(result["configuration"], outcome, samples, 0.0).model_copy(
        update={
            "timestamp": _text(result, "timestamp"),
            "compile_seconds": (_time(times.get("compilation_time", times.get("compilation"))) or 0.0) * unit_s,
            "check_seconds": (_time(times.get("validation")) or 0.0) * unit_s,
            "run_seconds": sum(_times(times.get("benchmark", times.get("runtimes")), unit_s)),
        }
    )
    return entry, outcome.doubt


def _time_measurement(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The measurement called ``time``, else the first one in a unit of time."""
    named = [m for m in rows if m.get("name") == "time"]
    return next(iter(named or [m for m in rows if _seconds(m.get("unit")) is not None]), {})


def _outcome(
    where: str, stated: Any, to_ms: float, samples: list[float], values: Iterable[Any], metrics: list[str]
) -> _Outcome:
    """By an error's name anywhere in `values`, else by the time `stated`, else by the mean of `samples`."""
    word = next((v for v in values if isinstance(v, str) and v in KERNEL_TUNER_ERRORS), None)
    if word is not None:
        return _Outcome(KERNEL_TUNER_ERRORS[word], reason=word)
    ms = _time(stated)
    if ms is not None and 0 < ms * to_ms < math.inf:
        return _Outcome("correct", ms * to_ms)
    if stated is None and samples:
        return _Outcome("correct", math.fsum(samples) / len(samples))
    if stated is None:
        there = f", only {', '.join(metrics)}" if metrics else ""
        doubt = f"{where} holds no time{there}; landscapes here hold times"
        return _Outcome("runtime", reason="no time was stated", doubt=doubt)
    value = reprlib.repr(stated)
    doubt = (
        "" if stated == KERNEL_TUNER_ERROR_VALUE else f"{where} has time {value}, which is neither a time nor an error"
    )
    return _Outcome("runtime", reason=f"its time is {value}", doubt=doubt)


def _with_invalidity(where: str, outcome: _Outcome, result: dict[str, Any], stated: dict[str, Any]) -> _Outcome:
    """What T4 says in a word goes before what its numbers say."""
    word = result.get("invalidity")
    status = word.strip().lower() if isinstance(word, str) else word
    if status == "correct" or (status is None and result.get("correctness") != 0):
        return outcome
    if status in STATUSES:
        return _Outcome(cast(Status, status), reason=str(result.get("reason") or stated.get("value") or status))
    if status is None:
        return outcome if outcome.ms is None else _Outcome("correctness", reason="correctness is 0")
    doubt = f"{where} has invalidity {reprlib.repr(word)}, not one of {', '.join(STATUSES)}"
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
    if not kept:
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


def _times(samples: Any, factor: float) -> list[float]:
    """A time or a list of them, brought to another unit; what is no time drops out."""
    read = [_time(v) for v in (samples if isinstance(samples, list) else [samples])]
    return [t * factor for t in read if t is not None and 0 < t * factor < math.inf]


def _time(value: Any) -> float | None:
    """A positive duration as a number or in writing; ``None`` where it is something else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < KERNEL_TUNER_ERROR_VALUE else None


def _seconds(unit: Any) -> float | None:
    return UNIT_S.get(unicodedata.normalize("NFKC", unit).lower()) if isinstance(unit, str) else None


def _text(raw: dict[str, Any], key: str) -> str | None:
    value = raw.get(key)
    return value if isinstance(value, str) else None
