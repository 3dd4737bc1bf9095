"""Lists the runs whose traces are in the user's folder, with their state and result."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path

from agent.models.base import CLIENT
from agent.trace.trace import JSON, SCHEMA_VERSION
from memory.terms import printable

TAIL = 1 << 18
"""Bytes that are read from the end of a trace. They usually hold many events."""


@dataclass(frozen=True)
class Row:
    """One run."""

    run: str
    began: str
    state: str
    """``proven``, ``unproven``, ``error``, ``going`` (in another process), ``stopped`` (can be resumed), or the reason
    why the file cannot be read."""
    problem: str
    device: str
    model: str
    evaluations: int | None
    best: str
    parent: str
    trace: str


def runs(folder: Path) -> list[Row]:
    """All runs, the latest first. A file that is not a trace is listed too, with the reason."""
    paths = sorted(folder.glob("*.jsonl"), key=lambda p: p.stat().st_mtime, reverse=True) if folder.is_dir() else []
    return [row(path) for path in paths]


def row(path: Path) -> Row:
    """Read one run from the first and the last lines of its trace, so that a long trace is not read as a whole."""
    try:
        with path.open("rb") as file:
            line = file.readline()
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            last = [found for line in file.read().split(b"\n") if (found := event(line)) is not None]
    except OSError as e:
        return broken(path, f"cannot be read: {e.strerror}")
    first = event(line)
    if first is None or first.get("type") != "header":
        return broken(path, "not a trace" if line.endswith(b"\n") else "killed before it began")
    header = first["body"]
    if header.get("schema_version") != SCHEMA_VERSION:
        return broken(path, f"trace version {header.get('schema_version')}")
    setting, objective = header.get("setting") or {}, header.get("objective") or {}
    end = next((e["body"] for e in last if e.get("type") == "end"), None)
    left: JSON = next((e["body"]["left"] for e in reversed(last) if isinstance(e["body"].get("left"), dict)), {})
    parent = header.get("parent") or {}
    best = (end or {}).get("best") or {}
    device = setting.get("device") or {}
    return Row(
        run=str(header.get("run")),
        began=str(first.get("at"))[:19],
        state=state(path, end),
        problem=f"{setting.get('kernel')} {setting.get('label')}",
        device=f"{'recorded ' if device.get('kind') == 'recorded' else ''}{device.get('name')}",
        model=str(objective.get("model")),
        evaluations=(end or {}).get("evaluations", left.get("used")),
        best=f"{best['value']:.4g} {setting.get('unit')}" if isinstance(best.get("value"), float) else "",
        parent=str(parent.get("run") or ""),
        trace=str(path),
    )


def event(line: bytes) -> JSON | None:
    """The event of a line; ``None`` if the line is incomplete or not an event."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("body"), dict) else None


def state(path: Path, end: JSON | None) -> str:
    if end is not None:
        return "error" if end.get("infrastructure") else "proven" if end.get("proven") else "unproven"
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return "going"
    return "stopped"


def broken(path: Path, why: str) -> Row:
    return Row(path.stem, "", why, "", "", "", None, "", "", str(path))


def table(rows: list[Row]) -> str:
    """A table of the runs, and the command that resumes each stopped one."""
    if not rows:
        return 'No runs yet: python -m agent "maximise fused TFLOPS" makes one.'
    from memory.formats.tables import ruled

    headers = ("run", "state", "began (UTC)", "evals", "best", "model", "device", "problem", "from")
    cells = []
    for r in rows:
        count = "" if r.evaluations is None else str(r.evaluations)
        row = (r.run, r.state, r.began[:16], count, r.best, r.model, r.device, r.problem, r.parent)
        cells.append([printable(cell, " ") for cell in row])
    shown = [i for i in range(len(headers)) if any(row[i] for row in cells)]
    lines = [ruled([[row[i] for i in shown] for row in cells], [headers[i] for i in shown])]
    stopped = [r for r in rows if r.state == "stopped"]
    for model_of_client in (False, True):
        which = [r for r in stopped if (r.model == CLIENT) == model_of_client]
        command = "tools serve --resume" if model_of_client else "agent resume"
        if which:
            word = "RUN" if len(which) > 1 else which[0].run
            lines.append(f"To continue a stopped run{' of a client' * model_of_client}: python -m {command} {word}")
    return "\n".join(lines)
