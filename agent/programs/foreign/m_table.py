"""Tables from M to a config in a JSON file whose name says the rest.

vLLM and SGLang, mixture of experts: ``E=8,N=7168,device_name=NVIDIA_H200[,dtype=…][,block_shape=[128,128]].json``.
SGLang writes ``[128, 128]``, keeps a folder for each version of Triton, and marks a down-projection by ``_down`` before
``.json``. Block-wise products of vLLM and of Hugging Face's kernels: ``N=1536,K=7168,device_name=….json``. Newer files
hold ``triton_version`` beside the numbers. All of them take the nearest M.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from agent.programs.foreign.foreign_table import (
    ForeignRow,
    ForeignTable,
    NotReadable,
    check_config,
    fields_of_name,
    parse_object,
)

VERSION = "triton_version"
DOWN = "_down"
FIRST = ("E", "N")
"""One of these begins a name."""


def read(name: str, text: str) -> ForeignTable:
    """Raises NotReadable."""
    stem = name.removesuffix(".json")
    down = stem.endswith(DOWN)
    about = fields_of_name(stem.removesuffix(DOWN))
    if next(iter(about)) not in FIRST or "device_name" not in about:
        raise NotReadable("its name does not begin with E= or N=, or has no device_name=")
    found = parse_object(text)
    if VERSION in found:
        about[VERSION] = found[VERSION]
    rows = []
    for m, config in found.items():
        if m == VERSION:
            continue
        if not m.isdigit():
            raise NotReadable(f"{m!r} is no number of rows")
        rows.append(ForeignRow({"M": int(m)}, check_config(config, f"M={m}")))
    return ForeignTable(about, tuple(rows), {"down": down, "version_first": next(iter(found), None) == VERSION})


def write(table: ForeignTable) -> tuple[str, str]:
    """File name and text."""
    about = dict(table.about)
    version = about.pop(VERSION, None)
    name = ",".join(f"{n}={v}" for n, v in about.items()) + (DOWN if table.more.get("down") else "") + ".json"
    body = {str(r.key["M"]): r.config for r in table.rows}
    if version is not None:
        first = table.more.get("version_first", True)
        body = {VERSION: version, **body} if first else {**body, VERSION: version}
    return name, json.dumps(body, indent=4) + "\n"


def served(table: ForeignTable, m: int, logarithmic: bool = False) -> ForeignRow | None:
    """The row of the nearest M, the first of two that are equally near; None for an empty table. Hugging Face's kernels
    compare logarithms."""

    def distance(row: ForeignRow) -> float:
        return abs(math.log(row.key["M"]) - math.log(m)) if logarithmic else abs(row.key["M"] - m)

    return min(table.rows, key=distance, default=None)


def differing_blocks(up: ForeignTable, down: ForeignTable) -> Sequence[int]:
    """Values of M for which SGLang's pair of files has two values of BLOCK_SIZE_M, which must agree."""
    found = {r.key["M"]: r.config.get("BLOCK_SIZE_M") for r in up.rows}
    return [
        r.key["M"]
        for r in down.rows
        if found.get(r.key["M"], r.config.get("BLOCK_SIZE_M")) != r.config.get("BLOCK_SIZE_M")
    ]
