"""T4, the results format of the auto-tuning community (schema 1.0.0, github.com/odgaard/TuningSchema): the one codec.

Landscapes (``tools/harness/landscapes/files.py``) and the memory's exports and imports are T4 documents.

    1. :func:`unpack` and :func:`read_document` turn the bytes of a file into a :class:`Document`.
    2. :func:`read_result` reads one result, written by any tool, into a :class:`Result` with times in ms and seconds.
    3. :func:`build_result` and :func:`build_document` build what is written. What only this project records stands in
       ``metadata.autokernel`` and in extra keys of each result. The schema allows both.

Public files differ from the schema, and the reader accepts the differences: ``compilation`` for ``compilation_time``,
no ``schema_version``, ``timeunit`` "miliseconds", no ``measurements`` for invalid configs, times written as text. The
codec does not decide what a missing or odd time means: a landscape counts such a config as failed, an import refuses
the file.
"""

from __future__ import annotations

import gzip
import math
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = "1.0.0"
FORMAT = 1
"""Version of ``metadata.autokernel``."""
WORDS = {"implausible": "correctness", "infrastructure": "runtime"}
"""T4's words for our two statuses outside its vocabulary. The exact status stands beside them under ``status``."""
UNIT_SECONDS = {
    "seconds": 1.0, "second": 1.0, "s": 1.0, "sec": 1.0,
    "milliseconds": 1e-3, "miliseconds": 1e-3, "millisecond": 1e-3, "ms": 1e-3, "msec": 1e-3,
    "microseconds": 1e-6, "microsecond": 1e-6, "us": 1e-6, "usec": 1e-6, "μs": 1e-6,
    "nanoseconds": 1e-9, "nanosecond": 1e-9, "ns": 1e-9,
}  # fmt: skip
ERROR_TIME = 1e20
"""Kernel Tuner writes this number as the time of a config that failed."""


class T4Error(ValueError):
    """A file that is not a T4 document; the message is a clause that says why: ``it has no list of `results```."""


@dataclass(frozen=True)
class Document:
    """A T4 file."""

    metadata: dict[str, Any]
    """Empty if the file has none."""
    autokernel: Any
    """Our part of the metadata, unchecked; ``None`` in a file of another tool."""
    unit: str | None
    """Unit of the times in each result's ``times``; ``None`` if another tool's file does not state it."""
    results: list[Any]
    """As written: :func:`read_result` reads one."""
    has_version: bool
    """Whether the file states its ``schema_version``."""


@dataclass(frozen=True)
class Result:
    """What a file states about one config."""

    where: str
    """``results[INDEX]``, for error messages."""
    raw: dict[str, Any]
    """The whole result, extra keys included."""
    configuration: dict[str, Any]
    invalidity: Any
    """As written; ``None`` if it is missing."""
    measurements: list[dict[str, Any]]
    time: dict[str, Any]
    """The measurement called ``time``, else the first in a unit of time, else empty."""
    to_ms: float
    """Factor from the value of ``time`` to ms."""
    samples_ms: list[float]
    """Positive, finite times of single launches."""
    timestamp: str | None
    compile_seconds: float
    check_seconds: float
    run_seconds: float
    """0 where the file states none, for all three."""

    @property
    def stated_ms(self) -> float | None:
        """The time that the file states, in ms; ``None`` if it is missing or is not a positive, finite number."""
        value = read_time(self.time.get("value"))
        return value * self.to_ms if value is not None and 0 < value * self.to_ms < math.inf else None


def unpack(data: bytes) -> bytes:
    """The bytes of a file, unzipped if they are gzip data. Raises T4Error if that data is damaged."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as e:
        raise T4Error("its gzip data ends or breaks off early") from e


def read_document(raw: Any) -> Document:
    """The document in parsed JSON. Raises T4Error if it has no list of results or states an unknown unit of time."""
    if not isinstance(raw, dict) or not isinstance(raw.get("results"), list):
        raise T4Error("it has no list of `results`")
    metadata = as_dict(raw.get("metadata"))
    own = metadata.get("autokernel")
    unit = metadata.get("timeunit")
    if unit is None and own:
        unit = "milliseconds"
    if unit is not None and unit_seconds(unit) is None:
        raise T4Error(f"metadata.timeunit is {unit!r}, not one of {', '.join(UNIT_SECONDS)}")
    return Document(metadata, own, unit, raw["results"], "schema_version" in raw)


def read_result(raw: Any, index: int, unit: str | None) -> Result:
    """Result number `index` of a document whose times are in `unit`.

    Without a unit, the times are in the unit of the ``time`` measurement, else in seconds, which is the default of the
    community's reader (``autotuning_methodology``). Raises T4Error if the result has no configuration, and if its
    objective is no time."""
    where = f"results[{index}]"
    if not isinstance(raw, dict) or not isinstance(raw.get("configuration"), dict):
        raise T4Error(f"{where} has no `configuration` object")
    times = as_dict(raw.get("times"))
    listed = raw.get("measurements")
    measurements = [m for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []
    time = _time_measurement(measurements)
    _require_time(where, raw.get("objectives"), measurements)
    unit_s = unit_seconds(unit) or unit_seconds(time.get("unit")) or 1.0
    timestamp = raw.get("timestamp")
    return Result(
        where=where,
        raw=raw,
        configuration=raw["configuration"],
        invalidity=raw.get("invalidity"),
        measurements=measurements,
        time=time,
        to_ms=(unit_seconds(time.get("unit")) or unit_s) * 1e3,
        samples_ms=read_times(times.get("runtimes"), unit_s * 1e3),
        timestamp=timestamp if isinstance(timestamp, str) else None,
        compile_seconds=(read_time(times.get("compilation_time", times.get("compilation"))) or 0.0) * unit_s,
        check_seconds=(read_time(times.get("validation")) or 0.0) * unit_s,
        run_seconds=sum(read_times(times.get("benchmark", times.get("runtimes")), unit_s), start=0.0),
    )


def _require_time(where: str, objectives: Any, measurements: list[dict[str, Any]]) -> None:
    """Raises T4Error if the file says what was optimised, and that is no time."""
    names = [o for o in objectives if isinstance(o, str)] if isinstance(objectives, list) else []
    times = {"time", *(str(m.get("name")) for m in measurements if unit_seconds(m.get("unit")) is not None)}
    if names and not times & set(names):
        raise T4Error(f"{where} optimises {', '.join(names)}, and only times can be read: give a file of times")


def _time_measurement(measurements: list[dict[str, Any]]) -> dict[str, Any]:
    named = [m for m in measurements if m.get("name") == "time"]
    return next(iter(named or [m for m in measurements if unit_seconds(m.get("unit")) is not None]), {})


def read_times(values: Any, factor: float) -> list[float]:
    """A time or a list of times, each multiplied by `factor`. What is not a positive, finite time is left out."""
    read = [read_time(v) for v in (values if isinstance(values, list) else [values])]
    return [t * factor for t in read if t is not None and 0 < t * factor < math.inf]


def read_time(value: Any) -> float | None:
    """A positive duration written as a number or as text; ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < ERROR_TIME else None


def unit_seconds(unit: Any) -> float | None:
    """Seconds in a unit of time, whatever its case and form of μ; ``None`` if it is not a unit of time."""
    return UNIT_SECONDS.get(unicodedata.normalize("NFKC", unit).lower()) if isinstance(unit, str) else None


def as_dict(value: Any) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def build_result(
    timestamp: str,
    configuration: Mapping[str, Any],
    status: str,
    compile_ms: float,
    check_ms: float,
    runtimes_ms: Sequence[float],
    measured_ms: Mapping[str, float],
) -> dict[str, Any]:
    """A result with the schema's keys alone. `measured_ms` gives each measurement's time by its name."""
    return {
        "timestamp": timestamp,
        "configuration": configuration,
        "times": {
            "compilation_time": compile_ms,
            # The schema's word is the one above; the reference reader of the community asks for this one.
            "compilation": compile_ms,
            "framework": 0,
            "search_algorithm": 0,
            "validation": check_ms,
            "runtimes": runtimes_ms,
        },
        "invalidity": WORDS.get(status, status),
        "correctness": int(status == "correct"),
        "measurements": [{"name": name, "value": ms, "unit": "ms"} for name, ms in measured_ms.items()],
        "objectives": ["time"],
    }


def build_document(
    device: Mapping[str, Any],
    autokernel: Mapping[str, Any],
    more_metadata: Mapping[str, Any],
    results: list[dict[str, Any]],
) -> dict[str, Any]:
    """A document. `device` has the fields of ``DeviceInfo``; `autokernel` is our part of the metadata."""
    requirements = [f"{package}=={device[package]}" for package in ("torch", "triton") if device[package]]
    return {
        "schema_version": SCHEMA_VERSION,
        "metadata": {
            "timeunit": "milliseconds",
            "hardware": {"hardware_description": [{"product": device["name"]}]},
            "environment": {"device_query": {}, "requirements": requirements},
            "autokernel": {"format": FORMAT, **autokernel},
            **more_metadata,
        },
        "results": results,
    }
