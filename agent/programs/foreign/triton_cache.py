"""Triton's own cache of autotuning results, ``KERNEL.autotune.json``: every config with its times, for one key.

    {"key": […], "configs_timings": [[{"kwargs": {…}, "num_warps": …, …}, [median, q20, q80]], …]}

Times are in ms. A config that failed has infinite times. Configs with a ``pre_hook`` are never in such a file: Triton
does not read or write the cache then. Source: triton/runtime/autotuner.py, ``check_disk_cache``."""

from __future__ import annotations

import json

from agent.programs.foreign.foreign_table import (
    ForeignRow,
    ForeignTable,
    NotReadable,
    nested,
    parse_object,
    row_of_nested,
)

SUFFIX = ".autotune.json"


def read(name: str, text: str) -> ForeignTable:
    """Raises NotReadable."""
    found = parse_object(text)
    key, timings = found.get("key"), found.get("configs_timings")
    if not isinstance(key, list) or not isinstance(timings, list):
        raise NotReadable("it has no key and configs_timings")
    rows = []
    for i, pair in enumerate(timings):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], list):
            raise NotReadable(f"configs_timings[{i}] is no pair of config and times")
        rows.append(row_of_nested({"key": key}, pair[0], f"configs_timings[{i}]", tuple(map(float, pair[1]))))
    return ForeignTable({"kernel_name": name.removesuffix(SUFFIX)}, tuple(rows), {"key": key})


def write(table: ForeignTable) -> tuple[str, str]:
    """File name and text."""
    timings = [[nested(r), list(r.ms)] for r in table.rows]
    return f"{table.about['kernel_name']}{SUFFIX}", json.dumps({"key": table.more["key"], "configs_timings": timings})


def best(table: ForeignTable) -> ForeignRow | None:
    """The config that Triton takes: the least times, compared as lists."""
    return min(table.rows, key=lambda r: r.ms, default=None)
