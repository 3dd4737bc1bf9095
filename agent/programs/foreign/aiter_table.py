"""AITER's Triton configs: ``gfx942-GEMM-A8W8[-N=…-K=…].json``, with the keys ``M_LEQ_16``, …, ``M_GEQ_4096``, ``any``.

Any subset of the keys may be there. Configs hold options of the AMD backend beside those of Triton."""

from __future__ import annotations

import json
import re

from agent.programs.foreign.foreign_table import ForeignRow, ForeignTable, NotReadable, check_config, parse_object

NAME = re.compile(r"(gfx\w+)-(.+?)(?:-N=(\d+)-K=(\d+))?\.json")
KEY = re.compile(r"M_(LEQ|GEQ)_(\d+)")
ANY = "any"


def read(name: str, text: str) -> ForeignTable:
    """Raises NotReadable."""
    named = NAME.fullmatch(name)
    if named is None:
        raise NotReadable("its name has not the form gfx942-GEMM-…[-N=…-K=…].json")
    about = {"arch": named[1], "operation": named[2]}
    if named[3]:
        about |= {"N": int(named[3]), "K": int(named[4])}
    rows = []
    for key, config in parse_object(text).items():
        bound = KEY.fullmatch(key)
        if bound is None and key != ANY:
            raise NotReadable(f"{key!r} is none of M_LEQ_…, M_GEQ_… and any")
        rows.append(ForeignRow({f"M_{bound[1]}": int(bound[2])} if bound else {ANY: True}, check_config(config, key)))
    return ForeignTable(about, tuple(rows))


def write(table: ForeignTable) -> tuple[str, str]:
    """File name and text."""
    about = table.about
    sizes = f"-N={about['N']}-K={about['K']}" if "N" in about else ""
    body = {_key(row): row.config for row in table.rows}
    return f"{about['arch']}-{about['operation']}{sizes}.json", json.dumps(body, indent=2) + "\n"


def served(table: ForeignTable, m: int) -> ForeignRow | None:
    """The row of the least bound that holds `m`, else of the greatest lower bound, else ``any``."""
    upper = [r for r in table.rows if r.key.get("M_LEQ", -1) >= m]
    lower = [r for r in table.rows if 0 <= r.key.get("M_GEQ", -1) <= m]
    if upper:
        return min(upper, key=lambda r: r.key["M_LEQ"])
    if lower:
        return max(lower, key=lambda r: r.key["M_GEQ"])
    return next((r for r in table.rows if ANY in r.key), None)


def _key(row: ForeignRow) -> str:
    return next(ANY if n == ANY else f"{n}_{v}" for n, v in row.key.items())
