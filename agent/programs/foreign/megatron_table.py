"""Megatron-LM's tuning tables: the winners of a program's autotuners, by kernel and signature.

    {"arch": …, "triton": …, "packages": {…}, "source": …,
     "kernels": {NAME: {"n=4096|torch.float16|…": {"kwargs": {…}, "num_warps": …, …}}}}

The values of ``key=`` stand first in a signature, by name, and then the dtypes of the arguments."""

from __future__ import annotations

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


def read(name: str, text: str) -> ForeignTable:
    """Raises NotReadable."""
    found = parse_object(text)
    kernels = found.get("kernels")
    if not isinstance(kernels, dict) or not {"arch", "triton"} <= found.keys():
        raise NotReadable("it has no arch, triton and kernels")
    rows = []
    for kernel, configs in kernels.items():
        if not isinstance(configs, dict):
            raise NotReadable(f"kernel {kernel} has no configs")
        for signature, config in configs.items():
            key = {"kernel": kernel, "signature": signature}
            rows.append(row_of_nested(key, config, f"{kernel} {signature}"))
    about = {n: v for n, v in found.items() if n != "kernels"}
    return ForeignTable(about, tuple(rows), {"name": name})


def write(table: ForeignTable) -> tuple[str, str]:
    """File name and text."""
    kernels: dict[str, Json] = {}
    for row in table.rows:
        kernels.setdefault(row.key["kernel"], {})[row.key["signature"]] = nested(row)
    return table.more.get("name", "tuning.json"), json.dumps({**table.about, "kernels": kernels}, indent=2) + "\n"


def signature_of(values: dict[str, Any], dtypes: list[str]) -> str:
    """The signature of a launch: the values of the autotuner's key by name, then dtypes as PyTorch names them."""
    return "|".join([*(f"{n}={v}" for n, v in values.items()), *dtypes])
