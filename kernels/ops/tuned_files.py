"""Chooses the config of an op's call: the one tuned for its GPU, shape and dtype, else that of the nearest tuned
problem, else the kernel's default.

Tuned configs come from one file, which :func:`use` or the variable ``AUTOKERNEL_TUNED`` names. It is a file that
``python -m kernels bench --out tuned.json`` wrote, or a memory file (``.db``). Without a file every call takes the
default.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kernels.hardware import Hardware
from kernels.ops import memory_file
from kernels.spec import Config, KernelSpec, Problem

VARIABLE = "AUTOKERNEL_TUNED"


class TunedFileError(ValueError):
    """The file of tuned configs cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Entry:
    """The best config of one problem on one GPU."""

    kernel: str
    hardware: str
    """Name in ``kernels.hardware``."""
    problem: dict[str, Any]
    config: dict[str, Any]
    ms: float
    recorded: bool = False
    """Whether the time was looked up in a recording, as far as the file tells."""


@dataclass(frozen=True)
class Choice:
    """The config of a call, and the reason for it."""

    config: Config
    why: str
    """``tuned``, ``nearest 4096x4096x4096 fp16`` or ``default``."""


def choose(spec: KernelSpec[Any, Any], problem: Problem, hardware: Hardware, entries: list[Entry]) -> Choice:
    """The fastest entry for this problem, else that of the nearest problem whose config is legal here, else the
    default.

    :func:`distance` decides which problem is nearest."""
    here = [e for e in entries if e.kernel == spec.name and e.hardware == hardware.name]
    for entry in sorted(here, key=lambda e: (distance(problem, e.problem), e.ms)):
        try:
            config: Config = spec.config_type.model_validate(entry.config)
        except ValidationError:
            continue  # an entry of an older version, whose config had other fields
        if spec.constraint(problem, config, hardware) is None:
            there = spec.problem_type.model_construct(**{**spec.default_problem().model_dump(), **entry.problem})
            exact = distance(problem, entry.problem) == 0
            return Choice(config, "tuned" if exact else f"nearest {there.label()}")
    return Choice(spec.default_config(problem, hardware), "default")


def distance(problem: Problem, other: dict[str, Any]) -> float:
    """The distance of two problems: for each dimension the factor between them in powers of two, and 1 for a different
    dtype and for each other option that differs."""
    total = 0.0
    for name, value in problem.model_dump().items():
        if name in problem.dims:
            there = other.get(name)
            total += abs(math.log2(value / there)) if isinstance(there, int) and there > 0 else 64.0
        else:
            total += float(other.get(name, type(problem).model_fields[name].default) != value)
    return total


def load(path: Path) -> list[Entry]:
    """Every entry of a file. Raises TunedFileError."""
    if not path.is_file():
        raise TunedFileError(f"there is no file of tuned configs at {path}: check {VARIABLE} or the call of ops.use()")
    return _read_memory(path) if path.suffix == ".db" else _read_rows(path)


def from_environment() -> list[Entry]:
    """The entries of the file that the variable names; none if it is not set. Raises TunedFileError."""
    named = os.environ.get(VARIABLE)
    return load(Path(named).expanduser()) if named else []


def _read_rows(path: Path) -> list[Entry]:
    from kernels.hardware import hardware_for

    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        rows = json.loads(path.read_text(encoding="utf-8-sig"))["rows"]
        found = []
        for row in rows:
            hardware = hardware_for(row["device"])
            if row["status"] == "correct":
                fields, config = dict(row["fields"]), dict(row["config"])
                if not all(isinstance(v, int | float | str | None) for v in (*fields.values(), *config.values())):
                    raise ValueError(f"a row of {row['kernel']} has fields that are neither numbers nor words")
                name = hardware.name if hardware else str(row["device"])
                found.append(Entry(row["kernel"], name, fields, config, float(row["ms"])))
        return found
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as e:
        raise TunedFileError(
            f"{path} holds no tuned configs ({type(e).__name__}: {e}): give what `python -m kernels bench --out` "
            "wrote, or a memory file that ends in .db"
        ) from e


def _read_memory(path: Path) -> list[Entry]:
    """The fastest config of each problem, device and regime in a memory file."""
    try:
        return [Entry(*found) for found in memory_file.read_fastest(path)]
    except memory_file.MemoryUnusable as e:
        raise TunedFileError(str(e)) from e
