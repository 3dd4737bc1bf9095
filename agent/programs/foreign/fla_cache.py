"""The config cache of flash-linear-attention: ``configs/GPU/KERNEL.json``.

    {"kernel_name": …, "triton_version": …,
     "autotune_entries": {HASH: {"autotune_key": […], "config": {"kwargs": {…}, "num_warps": …, …}}},
     "default_config": {…}}

HASH is the MD5 of the key's JSON. Older files hold one config and nothing else. The library sets no ``pre_hook`` for a
config from the cache. Source: fla/ops/utils/cache.py, read 2026-11-28."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from agent.programs.foreign.foreign_table import (
    ForeignTable,
    Json,
    NotReadable,
    nested,
    parse_object,
    row_of_nested,
)

DEFAULT = {"default": True}


def read(name: str, text: str) -> ForeignTable:
    """Raises NotReadable."""
    found = parse_object(text)
    if "kwargs" in found:
        row = row_of_nested(dict(DEFAULT), found, "the config")
        return ForeignTable({"kernel_name": name.removesuffix(".json")}, (row,), {"one": True})
    entries = found.get("autotune_entries")
    if "kernel_name" not in found or not isinstance(entries, dict):
        raise NotReadable("it has no kernel_name and autotune_entries")
    rows = []
    for where, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("autotune_key"), list):
            raise NotReadable(f"entry {where} has no autotune_key")
        if key_hash(entry["autotune_key"]) != where:
            raise NotReadable(f"entry {where} is not the hash of its autotune_key, so the library would not find it")
        rows.append(row_of_nested({"key": entry["autotune_key"]}, entry.get("config"), f"entry {where}"))
    if found.get("default_config") is not None:
        rows.append(row_of_nested(dict(DEFAULT), found["default_config"], "default_config"))
    about = {n: v for n, v in found.items() if n not in ("autotune_entries", "default_config")}
    return ForeignTable(about, tuple(rows))


def write(table: ForeignTable) -> tuple[str, str]:
    """File name and text."""
    name = f"{table.about['kernel_name']}.json"
    default = next((nested(r) for r in table.rows if r.key == DEFAULT), None)
    if table.more.get("one"):
        return name, json.dumps(default, indent=2) + "\n"
    entries: Json = {
        key_hash(r.key["key"]): {"autotune_key": r.key["key"], "config": nested(r)}
        for r in table.rows
        if "key" in r.key
    }
    body = {**table.about, "autotune_entries": entries}
    return name, json.dumps(body if default is None else {**body, "default_config": default}, indent=2) + "\n"


def key_hash(key: list[Any]) -> str:
    """The library's name of a key."""
    text = json.dumps(key, separators=(",", ":"), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
