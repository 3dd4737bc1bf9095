"""Landscapes on disk: T4 results files (``memory/formats/t4.py``), plain or gzipped, with checksums beside them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from memory.command_line.input_files import read_input
from memory.command_line.output_files import is_stream, write_stream
from memory.formats import t4
from memory.formats.kernel_tuner_import import read_json
from memory.shared_models import explain_refusal
from tools.harness.landscapes.foreign import read_kernel_tuner_cache, read_t4
from tools.harness.landscapes.readings import (
    MOST_MS,
    Entry,
    Landscape,
    LandscapeError,
    ReadingSet,
    SetName,
    config_key,
    significant,
)

SUMS = "SHA256SUMS"
SUFFIXES = (".json.gz", ".json")
RENAMED = {"attention": {"unfused": "sdpa"}}
"""Kernel → the earlier name of a baseline → today's: PyTorch's attention is fused."""


def stem(path: Path) -> str:
    """``x/NAME.json.gz`` is NAME."""
    name = path.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def write_landscape(landscape: Landscape, path: Path) -> None:
    """Write `path` and its line in ``SHA256SUMS`` beside it. Equal landscapes give equal bytes."""
    text = json.dumps(_to_t4(landscape), separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
    write_data(path, text.encode())


def write_data(path: Path, data: bytes) -> None:
    """The JSON text `data` as the file `path`, gzipped where it ends in ``.gz``, and its line in ``SHA256SUMS``."""
    if path.name.endswith(".gz"):
        buffer = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=9) as z:
            z.write(data)
        data = buffer.getvalue()
    _replace(path, data)
    if is_stream(path):
        return
    sums = read_sums(path.parent)
    sums[path.name] = hashlib.sha256(data).hexdigest()
    _replace(path.parent / SUMS, "".join(f"{sums[n]}  {n}\n" for n in sorted(sums)).encode())


MOST_KEPT = 32
_kept: dict[tuple[str, str, bool], bytes] = {}
"""What was read, pickled, by file name, SHA-256 and `head_only`. Every run asks for the heads of all landscapes, and
every game of a contest for its landscape. To unpickle one takes a third of the time that reading it takes."""


def read_landscape(path: Path, head_only: bool = False) -> Landscape:
    """Read our files and T4 or Kernel Tuner cache files of other people; of ours, `head_only` leaves out the entries.

    Raises LandscapeError in one sentence: no such file, a checksum that differs, or what in it cannot be understood."""
    try:
        data = read_input(path)
    except IsADirectoryError as e:
        raise LandscapeError(f"{path} is a folder: give one of its .json or .json.gz files") from e
    except OSError as e:
        raise LandscapeError(f"cannot read the landscape {path}: {(e.strerror or str(e)).lower()}") from e
    digest = hashlib.sha256(data).hexdigest()
    expected = read_sums(path.parent).get(path.name)
    if expected is not None and expected != digest:
        raise LandscapeError(
            f"{path} is not the file that was recorded: its SHA-256 begins {digest[:12]}, {SUMS} beside it says "
            f"{expected[:12]}; restore the file, or delete its line there if you changed it on purpose"
        )
    name, key = stem(path), (path.name, digest, head_only)
    if key in _kept:
        kept: Landscape = pickle.loads(_kept[key])
        return kept
    raw = _parse(path, data)
    try:
        if isinstance(raw.get("cache"), dict):
            landscape = read_kernel_tuner_cache(raw, name)
        elif not isinstance(raw.get("results"), list):
            raise LandscapeError("it has neither T4 `results` nor a Kernel Tuner `cache`")
        elif isinstance(raw.get("metadata"), dict) and "autokernel" in raw["metadata"]:
            landscape = _from_t4(raw, name, head_only)
        else:
            landscape = read_t4(raw, name)
    except ValidationError as e:
        why = explain_refusal(e, "a record")[0]
        raise LandscapeError(f"{path} is not a landscape this version can read: {why}") from e
    except (LandscapeError, t4.T4Error) as e:
        raise LandscapeError(f"{path} is not a landscape this version can read: {e}") from e
    landscape.file = f"{path.name} sha256:{digest[:16]}"
    if len(_kept) < MOST_KEPT:
        _kept[key] = pickle.dumps(landscape)
    return landscape


def read_sums(folder: Path) -> dict[str, str]:
    """Checksums by file name, in the format of ``sha256sum``; empty where the folder has none."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    try:
        data = t4.unpack(data)
    except t4.T4Error as e:
        raise LandscapeError(f"{path} is damaged: {e}") from e
    try:
        raw = read_json(data)
    except (ValueError, RecursionError) as e:
        raise LandscapeError(f"{path} is not a landscape: it does not hold JSON") from e
    if not isinstance(raw, dict):
        raise LandscapeError(f"{path} is not a landscape: its JSON is not an object")
    return raw


def _replace(path: Path, data: bytes) -> None:
    """Readers see the old file or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if is_stream(path):
            write_stream(path, data)
            return
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as e:
        raise LandscapeError(f"cannot write {path}: {(e.strerror or str(e)).lower()}") from e


def _short(value: Any, digits: int = 5) -> Any:
    """Floats to `digits` significant digits, all the way down."""
    if isinstance(value, float):
        return significant(value, digits)
    if isinstance(value, dict):
        return {k: _short(v, digits) for k, v in value.items()}
    return [_short(v, digits) for v in value] if isinstance(value, list) else value


def _to_t4(landscape: Landscape) -> dict[str, Any]:
    own = landscape.model_dump(mode="json", exclude={"name", "entries", "notes", "file"})
    return t4.build_document(
        landscape.device.model_dump(),
        {k: _short(v, 9) for k, v in own.items() if k != "baselines" and (k, v) != ("default", None)},
        {"baselines": [_short(b.model_dump(mode="json", exclude_none=True)) for b in landscape.baselines]},
        [_result(landscape, e) for e in landscape.entries.values()],
    )


def _result(landscape: Landscape, e: Entry) -> dict[str, Any]:
    a = e.sets.get("A")
    named: tuple[tuple[SetName, str], ...] = (("A", "time"), ("B", "time_b"))
    result = t4.build_result(
        timestamp=e.timestamp or _timestamp(landscape, a),
        configuration=e.config,
        status=e.status,
        compile_ms=round(e.compile_seconds * 1e3, 2),
        check_ms=round(e.check_seconds * 1e3, 2),
        runtimes_ms=_short(a.samples_ms) if a else [],
        measured_ms={name: _short(ms) for s, name in named if (ms := landscape.ms(e, s)) is not None},
    )
    extra: dict[str, Any] = {"status": e.status, "run_seconds": _short(e.run_seconds)}
    verdict = {"reason": e.reason or None, "error": _short(e.error, 3), "bound": e.bound}
    extra |= {k: v for k, v in verdict.items() if v is not None}
    if e.compiled:
        figures = e.compiled.model_dump(mode="json", exclude_none=True, exclude={"config", "seconds"})
        extra["compile"] = {k: _short(v) for k, v in figures.items() if v not in ("", [])}
    sets = {n: _short(s.model_dump(mode="json", exclude_none=True)) for n, s in e.sets.items()}
    if a:
        del sets["A"]["samples_ms"]  # they are times.runtimes
    return result | extra | ({"sets": sets} if sets else {})


def _timestamp(landscape: Landscape, readings: ReadingSet | None) -> str:
    if landscape.recorded_at is None:
        return ""
    start = datetime.fromisoformat(landscape.recorded_at)
    at = readings.at if readings and readings.at is not None else 0.0
    return (start + timedelta(seconds=at)).isoformat(timespec="seconds")


def _from_t4(raw: dict[str, Any], name: str, head_only: bool) -> Landscape:
    own = raw["metadata"]["autokernel"]
    if not isinstance(own, dict) or own.get("format") != t4.FORMAT:
        version = own.get("format") if isinstance(own, dict) else own
        raise LandscapeError(f"metadata.autokernel has format {version!r}, this version reads format {t4.FORMAT}")
    entries: dict[str, Entry] = {}
    for i, result in enumerate([] if head_only else raw["results"]):
        try:
            entry = _entry(result)
        except KeyError as e:
            raise LandscapeError(f"results[{i}] lacks {e}") from e
        except (ValidationError, _WrongType) as e:
            why = explain_refusal(e)[0] if isinstance(e, ValidationError) else str(e)
            raise LandscapeError(f"results[{i}]: {why}") from e
        if entry.key in entries:
            raise LandscapeError(f"results[{i}] repeats an earlier configuration")
        entries[entry.key] = entry
    fields = {k: v for k, v in own.items() if k != "format"}
    renamed = RENAMED.get(str(own.get("kernel")), {})
    baselines = raw["metadata"].get("baselines", [])
    if isinstance(baselines, list):
        baselines = [
            {**b, "name": renamed.get(b["name"], b["name"])}
            if isinstance(b, dict) and isinstance(b.get("name"), str)
            else b
            for b in baselines
        ]
    fields["reference"] = renamed.get(str(fields.get("reference")), fields.get("reference"))
    landscape = Landscape.model_validate({**fields, "name": name, "baselines": baselines, "entries": entries})
    if head_only:
        return landscape
    if not any(e.config for e in entries.values()):
        raise LandscapeError("it holds no configuration")
    if landscape.default is not None and config_key(landscape.default) not in entries:
        landscape.notes.append("metadata.autokernel.default is none of the configurations: no owner's config is known")
    return landscape


class _WrongType(ValueError):
    """A part of a result that is not what its place asks for."""


def _entry(result: Any) -> Entry:
    """Raises KeyError for what is missing, and ValidationError or _WrongType for what is something else."""
    result = _table(result, "it")
    config, times = _table(result["configuration"], "configuration"), _table(result["times"], "times")
    sets = {n: dict(_table(s, f"sets.{n}")) for n, s in _table(result.get("sets", {}), "sets").items()}
    if "A" in sets:
        sets["A"]["samples_ms"] = times["runtimes"]
    compile_seconds = _milliseconds(times, "compilation_time") / 1e3
    compiled = result.get("compile")
    if compiled is not None:
        compiled = {**_table(compiled, "compile"), "config": config, "seconds": compile_seconds}
    return Entry.model_validate(
        {
            "config": config,
            "status": result["status"],
            "reason": result.get("reason", ""),
            "sets": sets,
            "compiled": compiled,
            "error": result.get("error"),
            "bound": result.get("bound"),
            "timestamp": result["timestamp"],
            "compile_seconds": compile_seconds,
            "check_seconds": _milliseconds(times, "validation") / 1e3,
            "run_seconds": result["run_seconds"],
        }
    )


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _WrongType(f"{where} must be a table of names and values")
    return value


def _milliseconds(times: dict[str, Any], name: str) -> float:
    """A duration in ms, 0 included."""
    value = times[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST_MS:
        raise _WrongType(f"times.{name} must be a number of milliseconds, at least 0")
    return value
