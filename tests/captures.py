"""Captures for the tests: one of the example program, made in the interpreter, and the same as if a GPU had made it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from kernels.capture.capture_file import append, begin, line_of, read
from kernels.capture.start import run_program

ROOT = Path(__file__).parents[1]
GPU = "NVIDIA H200"


def capture_example(path: Path) -> Path:
    """The launches of examples/captured_program.py in Triton's interpreter."""
    begin(str(path), {"command": ["example"]})
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        code = run_program([sys.executable, str(ROOT / "examples" / "captured_program.py")], str(path), "summary")
    finally:
        if before is None:
            del os.environ["TRITON_INTERPRET"]
    assert code == 0
    return path


def capture_text(path: Path, text: str) -> Path:
    """The launches of a program with `text`, which finds the path of the capture in ``sys.argv[1]``."""
    program = path.with_suffix(".py")
    program.write_text(text)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(program), str(path)], env=environment, check=True, timeout=300)
    return path


def as_if_on(gpu: str, source: Path, path: Path, ms: float = 0.1, scale: int = 1) -> Path:
    """`source` with `gpu` as the device of every launch and `ms` as its time; each kernel's later launches take a
    hundredth of it."""
    parts, _ = read(str(source))
    renamed: dict[str, str] = {}
    slow: set[str] = set()
    for digest, kind, body in parts:
        if kind == "launch":
            body = {**body, "device": {**body["device"], "kind": "cuda", "name": gpu}}
            renamed[digest] = line_of(kind, body)[0]
            if body["name"] not in slow:
                slow.add(body["name"])
                slow.add(digest)
        elif kind == "counts":
            launches = {renamed[d]: n for d, n in body["launches"].items()}
            times = {renamed[d]: [ms if d in slow else ms / 100] * 5 for d in body["launches"]}
            body = {**body, "launches": launches, "ms": times}
        elif kind == "observed":
            body = {**body, "launch": renamed.get(body["launch"], body["launch"])}
        append(str(path), line_of(kind, body)[1])
    return path


def as_if_moved(source: Path, path: Path, lines: int, only: str | None = None) -> Path:
    """`source` as if its program had `lines` more above its functions, or above the one that is named `only`: all
    digests that rest on them are others."""
    renamed: dict[str, str] = {}
    for digest, kind, body in read(str(source))[0]:
        text = json.dumps(body)
        for old, new in renamed.items():
            text = text.replace(old, new)
        body = json.loads(text)
        if kind == "function" and only in (None, body["name"]):
            body["line"] += lines
        now, line = line_of(kind, body)
        if now != digest:
            renamed[digest] = now
        append(str(path), line)
    return path


def as_if_larger(source: Path, path: Path, times: int) -> Path:
    """`source` with `times` as many programs in the first dimension of every grid. Its program launched few, on
    arguments for all of them: to interpret all takes minutes."""
    renamed: dict[str, str] = {}
    for digest, kind, body in read(str(source))[0]:
        if kind == "launch":
            grid = body["grid"]
            table = [{**row, "grid": _times(row["grid"], times)} for row in grid.get("table", ())]
            more = {"table": table} if "table" in grid else {}
            body = {**body, "grid": {**grid, "came_out": _times(grid["came_out"], times), **more}}
            renamed[digest] = line_of(kind, body)[0]
        elif kind == "counts":
            body = {**body, **{k: {renamed[d]: n for d, n in body[k].items()} for k in ("launches", "ms") if k in body}}
        elif kind == "observed":
            body = {**body, "launch": renamed.get(body["launch"], body["launch"])}
        append(str(path), line_of(kind, body)[1])
    return path


def _times(grid: list[int], times: int) -> list[int]:
    return [grid[0] * times, *grid[1:]]
