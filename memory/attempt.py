"""What an attempt is, how a row gets its address from its content, and how figures are stored in SQLite."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypedDict

from memory.terms import Kind, Status, canonical

Outcome = Literal["proven", "unproven", "error", "stopped"]

Row = dict[str, Any]
ENVIRONMENT = (
    "kind", "name", "hardware", "driver", "cuda", "torch", "triton", "landscape", "recorded_at", "host",
    "power_limit_w", "assembler", "overrides", "facts",
)  # fmt: skip
"""Fields of an environment: those of ``DeviceInfo``."""
ADDED = ("assembler", "overrides")
"""Those that came later: an environment without them has the address that it had before there was such a field."""


class Begin(NamedTuple):
    """An attempt that is about to start."""

    run_id: str
    tool_call_id: str
    environment_id: int
    problem_id: int
    config_id: str
    kind: Kind


class Figures(TypedDict, total=False):
    """What an attempt measured. Times are in ms per launch, sizes in bytes; `error` and `bound` are scale-relative."""

    reason: str | None
    seconds: float | None
    regime: str | None
    ms: float | None
    ci_low: float | None
    ci_high: float | None
    samples: Sequence[float] | None
    value: float | None
    unit: str | None
    error: float | None
    bound: float | None
    checked_where: str | None
    registers: int | None
    spill_bytes: int | None
    stack_bytes: int | None
    shared_bytes: int | None
    num_warps: int | None
    tensor_core: str | None
    tma: bool | None
    blocks_per_sm: int | None
    occupancy: float | None
    limited_by: str | None
    fingerprint: str | None
    warnings: Sequence[str] | None
    sm_mhz: float | None
    memory_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    throttle: Sequence[str] | None
    joules: float | None
    comparisons: Sequence[Mapping[str, Any]] | None
    how: str | None


FIGURES = tuple(Figures.__annotations__)
COMPILED = (
    "registers", "spill_bytes", "stack_bytes", "shared_bytes", "num_warps", "tensor_core", "tma", "blocks_per_sm",
    "occupancy", "limited_by", "warnings",
)  # fmt: skip
"""Figures of a compilation."""
TELEMETRY = ("sm_mhz", "memory_mhz", "power_w", "temperature_c", "throttle")
"""Figures read from the GPU's sensors beside a measurement."""
LISTS = frozenset({"samples", "warnings", "throttle", "comparisons"})
"""Figures kept as JSON text."""


class Finish(NamedTuple):
    """The end of one attempt."""

    attempt_id: int
    status: Status
    figures: Figures


def content_hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def config_id(kernel: str, config: Mapping[str, Any]) -> str:
    """The address of a config: the hash of the kernel's name and the canonical config. It is the same in every file."""
    return content_hash(kernel, canonical(config))


def new_uid() -> bytes:
    """16 bytes that no other row in any file has: 48 bits of the time in ms, then 80 random bits. New uids sort last,
    so that the index grows at its end."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def to_column(name: str, value: Any) -> Any:
    """A figure as a value for SQLite: a number that is not finite becomes NULL, a list becomes JSON text (samples with
    7 significant digits)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if name in LISTS and value is not None:
        if name == "samples":
            return json.dumps([float(f"{x:.7g}") if math.isfinite(x) else None for x in value], separators=(",", ":"))
        return json.dumps(list(value), separators=(",", ":"))
    return value


def parse_row(row: Row) -> Row:
    """An attempt's row with its config and lists parsed from JSON, without the uid, which only merging needs."""
    row.pop("uid", None)
    for name in ("config", *LISTS):
        row[name] = None if row[name] is None else json.loads(row[name])
    row["tma"] = None if row["tma"] is None else bool(row["tma"])
    return row
