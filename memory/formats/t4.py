"""T4, the results format of the auto-tuning community (schema 1.0.0, github.com/odgaard/TuningSchema): out and in.

An export is also a landscape of this project: what only we record stands in ``metadata.autokernel`` and in extra keys
of each result, as in ``tools.harness.landscapes.t4`` (not imported: memory knows nothing above it; a test reads the one
with the other). The identity of each attempt goes along, so that importing a file twice, or where it came from,
changes nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import sqlite3
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from memory.attempt import ENVIRONMENT, FIGURES, now, storable
from memory.store import Memory
from memory.subject import Subject
from memory.terms import canonical

FORMAT = 1
T4_WORD = {"implausible": "correctness", "infrastructure": "runtime"}
STATUSES = frozenset({"correct", "constraints", "compile", "runtime", "timeout", "correctness", "implausible"})
COMPILED = (
    "registers", "spill_bytes", "stack_bytes", "shared_bytes", "num_warps", "tensor_core", "tma", "blocks_per_sm",
    "occupancy", "limited_by", "warnings",
)  # fmt: skip
TELEMETRY = ("sm_mhz", "memory_mhz", "power_w", "temperature_c", "throttle")
UNIT_MS = {
    "seconds": 1e3, "second": 1e3, "s": 1e3, "milliseconds": 1.0, "miliseconds": 1.0, "ms": 1.0,
    "microseconds": 1e-3, "us": 1e-3, "nanoseconds": 1e-6, "ns": 1e-6,
}  # fmt: skip


class ImportFileError(ValueError):
    """A file that cannot be imported; one sentence."""


class Imported(NamedTuple):
    """What an import did."""

    label: str
    results: int
    new: int


def dump(subject: Subject) -> str:
    """The subject as a T4 results file."""
    e = subject.environment
    requirements = [f"{p}=={e[p]}" for p in ("torch", "triton") if e[p]]
    verdicts = [v for v in subject.verdicts if v["status"] != "correct" or v["ms"]]
    return json.dumps(
        {
            "schema_version": "1.0.0",
            "metadata": {
                "timeunit": "milliseconds",
                "hardware": {"hardware_description": [{"product": e["name"]}]},
                "environment": {"device_query": {}, "requirements": requirements},
                "autokernel": {
                    "format": FORMAT,
                    "kernel": subject.kernel,
                    "source": subject.source_hash,
                    "problem": subject.problem,
                    "label": subject.label,
                    "device": {name: e[name] for name in ENVIRONMENT},
                    "regime": subject.regime,
                },
                "memory": {"environment": {name: e[name] for name in ENVIRONMENT}},
            },
            "results": [_result(v) for v in verdicts],
        },
        indent=1,
    )


def _result(v: dict[str, Any]) -> dict[str, Any]:
    samples = (v["samples"] or [v["ms"]]) if v["status"] == "correct" else []
    compiled = v["compiled"] or (v if v["kind"] == "compile" else None)
    compile_ms = 1e3 * float((compiled or {}).get("seconds") or 0.0)
    run_s = float(v["seconds"] or 0.0) if v["kind"] == "benchmark" else 0.0
    times = {"compilation_time": compile_ms, "compilation": compile_ms, "framework": 0, "search_algorithm": 0}
    result = {
        "timestamp": v["created_at"],
        "configuration": v["config"],
        "times": times | {"validation": 0, "runtimes": samples},
        "invalidity": T4_WORD.get(v["status"], v["status"]),
        "correctness": int(v["status"] == "correct"),
        "measurements": [{"name": "time", "value": v["ms"], "unit": "ms"}] if samples else [],
        "objectives": ["time"],
        "status": v["status"],
        "reason": v["reason"] or "",
        "run_seconds": run_s,
        "attempt": v["uid_hex"],
    }
    result |= {k: v[k] for k in ("error", "bound") if v[k] is not None}
    if compiled:
        figures = {k: compiled[k] for k in COMPILED if compiled[k] is not None}
        result["compile"] = {"status": compiled["status"], "reason": compiled["reason"] or ""} | figures
    if samples:
        telemetry = {k: v[k] for k in TELEMETRY if v[k] is not None}
        result["sets"] = {"A": {"seconds": run_s} | ({"telemetry": telemetry} if telemetry else {})}
    return result


def load(
    memory: Memory, path: Path, kernel: str | None = None, problem: str | None = None, device: str | None = None
) -> Imported:
    """Import a T4 results file, plain or gzipped: a landscape, an export, or another tool's file, for which `kernel`,
    `problem` (a JSON object or a label) and `device` say what the file does not. A second import adds nothing.

    Raises ImportFileError in one sentence."""
    data = _read(path)
    digest = hashlib.sha256(data).hexdigest()
    raw = _object(path, data)
    metadata = _dict(raw.get("metadata"))
    own = _dict(metadata.get("autokernel"))
    about = own or {"kernel": kernel, "problem": _problem(problem), "label": problem, "device": {"name": device}}
    if not own and not (kernel and problem and device):
        raise ImportFileError(f"{path} does not say what it measured: add --kernel, --problem and --device")
    unit = metadata.get("timeunit", "milliseconds" if own else "seconds")
    if not isinstance(unit, str) or unit not in UNIT_MS:
        raise ImportFileError(f"{path} has times in {unit!r}; known are {', '.join(UNIT_MS)}")
    attempts = [_attempt(path, i, r, UNIT_MS[unit], digest) for i, r in enumerate(raw["results"])]
    if not isinstance(about.get("problem"), dict):
        raise ImportFileError(f"{path} does not describe its problem as an object of dimensions and options")
    try:
        environment = memory.environment(_environment(metadata, about, f"{path.name} sha256:{digest[:16]}"))
        version = memory.kernel(str(about["kernel"]), str(about.get("source") or f"file {digest[:16]}"))
        label = str(about.get("label") or canonical(about["problem"]))
        problem_id = memory.problem(version, about["problem"], label)
        regime = about.get("regime") if about.get("regime") in ("burst", "sustained") else "burst"
        ids = memory.configs(version, [a.pop("config") for a in attempts])
    except (KeyError, TypeError, ValueError) as e:
        raise ImportFileError(f"{path} does not describe its kernel, problem and device ({e})") from e
    run = f"import-{digest[:12]}"
    if not memory.ask("SELECT 1 FROM runs WHERE run_id = ?", [run]):
        memory.start_run(run, f"import of {path.name}", {}, "import", environment, problem_id, {})
        memory.finish_run(run, "unproven", {})
    shared = {"run_id": run, "tool_call_id": "import", "environment_id": environment, "problem_id": problem_id}
    shared |= {"kind": "benchmark", "regime": regime}
    try:
        new = _insert(memory, [shared | {"config_id": i} | a for i, a in zip(ids, attempts, strict=True)])
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError, ValueError) as e:
        raise ImportFileError(f"{path} has a value of a wrong type ({e})") from e
    return Imported(label, len(attempts), new)


def _insert(memory: Memory, rows: list[dict[str, Any]]) -> int:
    new = 0
    with memory.write() as c:
        for row in rows:
            marks = ", ".join("?" * len(row))
            sql = f"INSERT INTO attempts ({', '.join(row)}) VALUES ({marks}) ON CONFLICT (uid) DO NOTHING"
            new += c.execute(sql, [*row.values()]).rowcount
    return new


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except zlib.error as e:
        raise ImportFileError(f"{path} is damaged: its gzip data breaks off") from e
    except (OSError, EOFError) as e:
        raise ImportFileError(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _object(path: Path, data: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise ImportFileError(f"{path} does not hold JSON: give a T4 results file") from e
    if not isinstance(raw, dict) or not isinstance(raw.get("results"), list):
        raise ImportFileError(f"{path} has no list of `results`: give a T4 results file")
    return raw


def _problem(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"label": text}


def _environment(metadata: dict[str, Any], about: dict[str, Any], landscape: str) -> dict[str, Any]:
    """An export keeps the environment it was made in; any other file's times are a recording."""
    kept = _dict(_dict(metadata.get("memory")).get("environment"))
    if kept:
        return kept
    device = {k: v for k, v in dict(about["device"]).items() if k in ENVIRONMENT}
    return device | {"kind": "recorded", "landscape": landscape}


def _attempt(path: Path, index: int, result: Any, to_ms: float, digest: str) -> dict[str, Any]:
    where = f"{path} results[{index}]"
    if not isinstance(result, dict) or not isinstance(result.get("configuration"), dict):
        raise ImportFileError(f"{where} has no `configuration` object")
    status = result.get("status", result.get("invalidity"))
    if status == "infrastructure":
        status = "runtime"
    if status not in STATUSES:
        raise ImportFileError(f"{where} has invalidity {status!r}; known are {', '.join(sorted(STATUSES))}")
    runtimes = _dict(result.get("times")).get("runtimes")
    samples = [t * to_ms for t in runtimes if _is_time(t)] if isinstance(runtimes, list) else []
    ms = _stated(result, to_ms) or (sorted(samples)[len(samples) // 2] if samples else None)
    if status == "correct" and ms is None:
        raise ImportFileError(f"{where} is `correct` but has no time")
    own_uid = _uid(result.get("attempt"))
    identity = own_uid or hashlib.sha256(f"{digest} {index}".encode()).digest()[:16]
    figures = {k: result.get(k) for k in ("reason", "error", "bound")} | {"seconds": result.get("run_seconds")}
    figures |= {k: v for k, v in _dict(result.get("compile")).items() if k in COMPILED}
    telemetry = _dict(_dict(_dict(result.get("sets")).get("A")).get("telemetry"))
    figures |= {k: v for k, v in telemetry.items() if k in TELEMETRY}
    if status == "correct":
        figures |= {"ms": ms, "samples": samples or None}
    try:
        kept = {k: storable(k, x) for k, x in figures.items() if k in FIGURES and x is not None}
    except (TypeError, ValueError) as e:
        raise ImportFileError(f"{where} has a value of a wrong type ({e})") from e
    return {
        "uid": identity,
        "created_at": _utc(result.get("timestamp")),
        "status": status,
        "config": result["configuration"],
        **kept,
    }


def _stated(result: dict[str, Any], to_ms: float) -> float | None:
    rows = result.get("measurements")
    for m in rows if isinstance(rows, list) else []:
        if isinstance(m, dict) and m.get("name") == "time" and _is_time(m.get("value")):
            return float(m["value"]) * UNIT_MS.get(str(m.get("unit")), to_ms)
    return None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 < value < 1e20


def _uid(value: Any) -> bytes | None:
    good = isinstance(value, str) and len(value) == 32 and not set(value) - set("0123456789abcdef")
    return bytes.fromhex(value) if good else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _utc(value: Any) -> str:
    """A timestamp in the memory's one form, so that it sorts; the moment of the import where there is none."""
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return now()
    at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
