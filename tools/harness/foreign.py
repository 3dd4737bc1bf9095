"""Other people's spaces as landscapes: T4 files as they are found in the wild, and Kernel Tuner's cache files.

Public files deviate from the schema: ``compilation`` for ``compilation_time``, no ``schema_version``, times in
``metadata.timeunit`` (also spelt "miliseconds"), no ``measurements`` for invalid configs, ``1e20`` or an error's name
where a time should be. What can be understood is; what was forgiven stands in ``Landscape.notes``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeGuard, get_args

from tools.harness.readings import Entry, Landscape, LandscapeError, ReadingSet, config_key
from tools.harness.results import DeviceInfo, Status

UNIT_S = {
    "seconds": 1.0, "second": 1.0, "s": 1.0, "sec": 1.0,
    "milliseconds": 1e-3, "miliseconds": 1e-3, "millisecond": 1e-3, "ms": 1e-3,
    "microseconds": 1e-6, "us": 1e-6, "µs": 1e-6,
    "nanoseconds": 1e-9, "ns": 1e-9,
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
    entries = [_t4_entry(result, i, unit) for i, result in enumerate(raw["results"])]
    return _landscape(name, _text(metadata, "kernel") or name, _text(metadata, "device") or "unknown", entries, notes)


def read_kernel_tuner_cache(raw: dict[str, Any], name: str) -> Landscape:
    """A Kernel Tuner cache file; its times are in milliseconds."""
    keys = raw.get("tune_params_keys")
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise LandscapeError("the Kernel Tuner cache has no tune_params_keys, a list of names")
    entries = []
    for where, row in raw["cache"].items():
        if not isinstance(row, dict) or any(k not in row for k in keys):
            raise LandscapeError(f"cache entry {where!r} lacks a value for some of {', '.join(map(str, keys))}")
        stated, error = row.get("time"), row.get("__error__")
        failed = KERNEL_TUNER_ERRORS.get(str(error if error is not None else stated))
        if failed is None and not _is_time(stated):
            raise LandscapeError(f"cache entry {where!r} has time {stated!r}, which is neither a time nor an error")
        stated_ms = float(stated) if failed is None and _is_time(stated) else None
        if stated_ms is not None and stated_ms >= KERNEL_TUNER_ERROR_VALUE:
            failed, stated_ms = "runtime", None
        spent = {k: _number(row.get(k)) * 1e-3 for k in TIMES}
        entries.append(
            Entry(
                config={k: row[k] for k in keys},
                status=failed or "correct",
                reason="" if failed is None else str(error or stated),
                sets=_set_a(row.get("times"), 1.0, spent["benchmark_time"]) if failed is None else {},
                timestamp=_text(row, "timestamp"),
                compile_seconds=spent["compile_time"],
                check_seconds=spent["verification_time"],
                run_seconds=spent["benchmark_time"],
                stated_ms=stated_ms,
            )
        )
    kernel, device = _text(raw, "kernel_name") or name, _text(raw, "device_name") or "unknown"
    return _landscape(name, kernel, device, entries, [f"Kernel Tuner cache, problem size {raw.get('problem_size')}"])


def _t4_entry(result: Any, index: int, unit: str | None) -> Entry:
    where = f"results[{index}]"
    if not isinstance(result, dict) or not isinstance(result.get("configuration"), dict):
        raise LandscapeError(f"{where} has no `configuration` object")
    times = result.get("times")
    times = times if isinstance(times, dict) else {}
    measurements = result.get("measurements")
    rows = [m for m in measurements if isinstance(m, dict)] if isinstance(measurements, list) else []
    stated = next((m for m in rows if m.get("name") == "time"), {})
    unit_s = _seconds(unit) or _seconds(stated.get("unit")) or 1.0
    stated_ms = _ms(stated, unit_s)
    spent = times.get("runtimes")
    sets = _set_a(spent, unit_s * 1e3, 0.0)
    if stated_ms is None and sets:
        readings = sets["A"].samples_ms
        stated_ms = math.fsum(readings) / len(readings)
    status = result.get("invalidity", "correct" if stated_ms is not None else None)
    if status not in STATUSES:
        raise LandscapeError(f"{where} has invalidity {status!r}, not one of {', '.join(STATUSES)}")
    if status == "correct" and stated_ms is None:
        objectives = result.get("objectives") or [m.get("name") for m in rows] or "nothing"
        raise LandscapeError(f"{where} is `correct` but holds no time, only {objectives}; landscapes here hold times")
    correct = status == "correct"
    run = spent if isinstance(spent, list) else [spent]
    return Entry(
        config=result["configuration"],
        status=status,
        reason="" if correct else str(result.get("reason") or stated.get("value") or status),
        sets=sets if correct else {},
        timestamp=_text(result, "timestamp"),
        compile_seconds=_number(times.get("compilation_time", times.get("compilation"))) * unit_s,
        check_seconds=_number(times.get("validation")) * unit_s,
        run_seconds=_number(times["benchmark"]) * unit_s if "benchmark" in times else sum(map(_number, run)) * unit_s,
        stated_ms=stated_ms if correct else None,
    )


def _landscape(name: str, kernel: str, device: str, entries: Iterable[Entry], notes: list[str]) -> Landscape:
    kept: dict[str, Entry] = {}
    repeats = 0
    for e in entries:
        repeats += e.key in kept
        kept.setdefault(e.key, e)
    if not kept:
        raise LandscapeError("it holds no configuration")
    if repeats:
        notes.append(f"{repeats} repeated configurations, the first of each is kept")
    return Landscape(
        name=name,
        kernel=kernel,
        device=DeviceInfo(kind="recorded", name=device, hardware=None),
        entries={config_key(e.config): e for e in kept.values()},
        notes=notes,
    )


def _set_a(samples: Any, to_ms: float, seconds: float) -> dict[Any, ReadingSet]:
    """Single launches as set A where the file keeps them; a reading that is no time drops out."""
    good = [float(t) * to_ms for t in samples if _is_time(t)] if isinstance(samples, list) else []
    return {"A": ReadingSet(samples_ms=good, seconds=seconds)} if good else {}


def _ms(measurement: dict[str, Any], unit_s: float) -> float | None:
    value = measurement.get("value")
    if not _is_time(value) or value >= KERNEL_TUNER_ERROR_VALUE:
        return None
    return float(value) * (_seconds(measurement.get("unit")) or unit_s) * 1e3


def _seconds(unit: Any) -> float | None:
    return UNIT_S.get(unit.lower()) if isinstance(unit, str) else None


def _is_time(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _number(value: Any) -> float:
    """A duration, 0 where there is none (missing, an error's name, NaN)."""
    return float(value) if _is_time(value) else 0.0


def _text(raw: dict[str, Any], key: str) -> str | None:
    value = raw.get(key)
    return value if isinstance(value, str) else None
