"""Imports T4 results files and Kernel Tuner caches into the memory: landscapes, exports of a memory, and files of other
tools.

A result gets the identity of the attempt it was exported from, else one made of the file's checksum and its place in
the file. A second import therefore adds nothing.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from memory.attempt import COMPILED, ENVIRONMENT, FIGURES, TELEMETRY, now, to_column
from memory.command_line.input_files import read_input
from memory.formats import kernel_tuner_import
from memory.formats.t4 import Document, T4Error, as_dict, read_document, read_result, unpack
from memory.store import Memory
from memory.terms import canonical

STATUSES = frozenset({"correct", "constraints", "compile", "runtime", "timeout", "correctness", "implausible"})


class ImportFileError(ValueError):
    """A file that cannot be imported; one sentence."""


class Imported(NamedTuple):
    """What an import did."""

    label: str
    results: int
    new: int


def load(
    memory: Memory, path: Path, kernel: str | None = None, problem: str | None = None, device: str | None = None
) -> Imported:
    """Import a T4 results file or a Kernel Tuner cache, plain or gzipped: a landscape, an export or another tool's.
    `kernel`, `problem` (a JSON object or a label) and `device` are needed for a file that does not name them itself.

    Raises ImportFileError in one sentence."""
    data = _read(path)
    digest = hashlib.sha256(data).hexdigest()
    document, stated = _document(path, data)
    kernel, problem, device = (
        kernel or stated.get("kernel"),
        problem or stated.get("problem"),
        device or stated.get("device"),
    )
    own = as_dict(document.autokernel)
    about = own or {"kernel": kernel, "problem": _problem(problem), "label": problem, "device": {"name": device}}
    if not own and not (kernel and problem and device):
        raise ImportFileError(f"{path} does not say what it measured: add --kernel, --problem and --device")
    attempts = [_attempt(path, i, raw, document.unit, digest) for i, raw in enumerate(document.results)]
    if not isinstance(about.get("problem"), dict):
        raise ImportFileError(f"{path} does not describe its problem as an object of dimensions and options")
    try:
        environment = memory.environment(_environment(document, about, f"{path.name} sha256:{digest[:16]}"))
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
        return unpack(read_input(path))
    except T4Error as e:
        raise ImportFileError(f"{path} is damaged: {e}") from e
    except OSError as e:
        raise ImportFileError(f"{path} cannot be read: {e.strerror or e}") from e


def _document(path: Path, data: bytes) -> tuple[Document, dict[str, str]]:
    """The document, and what the file of another tool states of kernel, problem and device."""
    try:
        raw = kernel_tuner_import.read_json(data)
    except (ValueError, RecursionError) as e:
        raise ImportFileError(f"{path} does not hold JSON: give a T4 results file or a Kernel Tuner cache") from e
    try:
        if kernel_tuner_import.is_cache(raw):
            return read_document(kernel_tuner_import.to_t4(raw)), kernel_tuner_import.about(raw)
        return read_document(raw), {}
    except T4Error as e:
        raise ImportFileError(f"{path} is neither a T4 results file nor a Kernel Tuner cache: {e}") from e


def _problem(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"label": text}


def _environment(document: Document, about: dict[str, Any], landscape: str) -> dict[str, Any]:
    """The environment of an export is the one it was made in. The times of any other file are a recording."""
    stated = as_dict(as_dict(document.metadata.get("memory")).get("environment"))
    if stated:
        return stated
    device = {k: v for k, v in dict(about["device"]).items() if k in ENVIRONMENT}
    return device | {"kind": "recorded", "landscape": landscape}


def _attempt(path: Path, index: int, raw: Any, unit: str | None, digest: str) -> dict[str, Any]:
    try:
        result = read_result(raw, index, unit)
    except T4Error as e:
        raise ImportFileError(f"{path} is not a T4 results file: {e}") from e
    where = f"{path} {result.where}"
    status = result.raw.get("status", result.invalidity)
    if status == "infrastructure":
        status = "runtime"
    if status not in STATUSES:
        raise ImportFileError(f"{where} has invalidity {status!r}; known are {', '.join(sorted(STATUSES))}")
    samples = result.samples_ms
    ms = result.stated_ms or (sorted(samples)[len(samples) // 2] if samples else None)
    if status == "correct" and ms is None:
        raise ImportFileError(f"{where} is `correct` but has no time")
    identity = _uid(result.raw.get("attempt")) or hashlib.sha256(f"{digest} {index}".encode()).digest()[:16]
    figures = {k: result.raw.get(k) for k in ("reason", "error", "bound")} | {"seconds": result.raw.get("run_seconds")}
    figures |= {k: v for k, v in as_dict(result.raw.get("compile")).items() if k in COMPILED}
    telemetry = as_dict(as_dict(as_dict(result.raw.get("sets")).get("A")).get("telemetry"))
    figures |= {k: v for k, v in telemetry.items() if k in TELEMETRY}
    if status == "correct":
        figures |= {"ms": ms, "samples": samples or None}
    try:
        stored = {k: to_column(k, x) for k, x in figures.items() if k in FIGURES and x is not None}
    except (TypeError, ValueError) as e:
        raise ImportFileError(f"{where} has a value of a wrong type ({e})") from e
    return {
        "uid": identity,
        "created_at": _utc(result.timestamp),
        "status": status,
        "config": result.configuration,
        **stored,
    }


def _uid(value: Any) -> bytes | None:
    good = isinstance(value, str) and len(value) == 32 and not set(value) - set("0123456789abcdef")
    return bytes.fromhex(value) if good else None


def _utc(timestamp: str | None) -> str:
    """A timestamp in the memory's one form, so that it sorts; the moment of the import if it cannot be read."""
    try:
        at = datetime.fromisoformat(timestamp or "")
    except ValueError:
        return now()
    at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
