"""TorchInductor's lookup table: an operation with its inputs, to the templates and configs that may be tried.

    {"GPU+((torch.float16, [M, K], [K, 1]), …)+alpha=1&beta=1+addmm": [{"template_id": …, "BLOCK_M": …, …}, …]}

A key without a GPU's name holds for all. Source: torch/_inductor/lookup_table of PyTorch's repository."""

from __future__ import annotations

import json
from typing import Any

from agent.programs.foreign.foreign_table import ForeignRow, ForeignTable, NotReadable, check_config, parse_object


def read(name: str, text: str) -> ForeignTable:
    """Raises NotReadable."""
    rows = []
    for operation, choices in parse_object(text).items():
        if not isinstance(choices, list) or "+" not in operation or "(" not in operation:
            raise NotReadable(f"{operation[:60]!r} is no operation with a list of choices")
        for i, choice in enumerate(choices):
            where = f"choice {i} of {operation[:60]}"
            if not isinstance(choice, dict) or "template_id" not in choice:
                raise NotReadable(f"{where} has no template_id")
            rows.append(ForeignRow({"operation": operation}, check_config(choice, where)))
    if not rows:
        raise NotReadable("it holds no choice")
    return ForeignTable({}, tuple(rows), {"name": name})


def write(table: ForeignTable) -> tuple[str, str]:
    """File name and text."""
    body: dict[str, list[dict[str, Any]]] = {}
    for row in table.rows:
        body.setdefault(row.key["operation"], []).append(row.config)
    return table.more.get("name", "inductor_lut.json"), json.dumps(body, indent=2)
