"""The words that every room shares. This file imports the standard library alone, so that every room may import it.

Shared models, which need pydantic, are in ``memory/shared_models.py``: commands that only read the memory start without
pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

Status = Literal[
    "correct", "constraints", "compile", "runtime", "timeout", "correctness", "implausible", "infrastructure"
]
"""What became of a config: T4's vocabulary of the auto-tuning community, and two of ours: ``implausible`` (faster than
physics allows) and ``infrastructure`` (our machinery failed, the config is not to blame)."""

Regime = Literal["burst", "sustained"]
"""``burst``: single launches on an idle, cool card with a cold L2. ``sustained``: back-to-back launches at the card's
power limit. A card ranks configurations differently in the two: compare within one."""

Kind = Literal["compile", "check", "benchmark", "proof"]
"""What was tried in one attempt."""

Metric = Literal["tflops", "gbps", "latency", "tflops_per_watt", "gbps_per_watt", "joules"]
"""What an objective maximises (TFLOP/s, GB/s, either per watt) or minimises (ms or joules per launch). A kernel's own
``metric`` is one of the first three."""

UNITS: dict[str, str] = {"tflops": "TFLOP/s", "gbps": "GB/s", "latency": "ms"}
"""Of :func:`speed_in`."""
ENERGY_UNITS: dict[str, str] = {"tflops_per_watt": "TFLOP/s per W", "gbps_per_watt": "GB/s per W", "joules": "mJ"}
"""Of :func:`energy_in`. TFLOP/s per watt is 10^12 operations per joule: the most of it is the least energy per
launch."""


MEMORY_ID = 0x54414B4D
"""``TAKM``, the ``PRAGMA application_id`` of a memory file: this SQLite file is a memory of this project."""
MEMORY_SCHEMA = 8
"""The ``PRAGMA user_version`` of an up-to-date memory file: the number of migrations in ``memory/migrations.py``."""


def canonical(value: Any, finite: bool = True) -> str:
    """JSON text in which equal values are equal, in any process and on any machine: sorted keys, no spaces.

    Raises ValueError for a number that is not finite, unless `finite` is False: other programs' JSON has none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=not finite)


def count_of(n: int, one: str, many: str | None = None) -> str:
    """``1 process``, ``2 processes``; the plural is with an s unless `many` gives it."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def printable(text: str, replacement: str | None = None) -> str:
    """`text` without control characters, so that text of strangers cannot steer a terminal. Each becomes `replacement`
    or, without one, its escape sequence (``\\x1b``). A line break is a control character too."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() if replacement is None else replacement
        for c in text
    )


def speed_in(metric: str | None, ms: float, flops: int, moved: int) -> float:
    """`ms` per launch of `flops` operations and `moved` bytes in the unit of `metric`: TFLOP/s, GB/s or, for any other
    metric, ms. Old traces are replayed to the last bit: the order of the divisions stays."""
    if metric == "tflops":
        return flops / ms / 1e9
    return moved / ms / 1e6 if metric == "gbps" else ms


def energy_in(metric: str | None, joules: float, flops: int, moved: int) -> float:
    """`joules` per launch in the unit of `metric`: 10^12 operations or 10^9 bytes a joule or, for any other metric,
    mJ."""
    if metric == "tflops_per_watt":
        return flops / joules / 1e12
    return moved / joules / 1e9 if metric == "gbps_per_watt" else joules * 1e3


def variant_of(config: object) -> str:
    """The hash of the variant of device code that a config, a model or a mapping of values, chooses; empty for the
    owner's code."""
    text = config.get("edit") if isinstance(config, Mapping) else getattr(config, "edit", "")
    return str(text or "").partition(" ")[0]
