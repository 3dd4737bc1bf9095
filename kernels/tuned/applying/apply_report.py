"""What a table did in a program, added up over its processes, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tuned_table import short

Json = dict[str, Any]

MOST_ROWS = 40


def add_up(parts: Sequence[Json], unreported: int = 0) -> Json:
    """One report from those of all processes (``AppliedTable.report``). `unreported`: number of processes that launched
    Triton kernels and did not report."""
    used: dict[str, Json] = {}
    missed: dict[tuple[str, str], Json] = {}
    for part in parts:
        for row in part["used"]:
            used.setdefault(row["row"], {**row, "launches": 0})["launches"] += row["launches"]
        for row in part["missed"]:
            missed.setdefault((row["kernel"], row["reason"]), {**row, "launches": 0})["launches"] += row["launches"]
    return {
        "processes": len(parts),
        "unreported": unreported,
        "digests": sorted({p["digest"] for p in parts}),
        "used": sorted(used.values(), key=lambda r: (-r["launches"], r["row"])),
        "missed": sorted(missed.values(), key=lambda r: (-r["launches"], r["kernel"], r["reason"])),
        "compiled": _compiled([p["compiled"] for p in parts]),
        "faults": sorted({f for p in parts for f in p["faults"]}),
    }


def _compiled(parts: Sequence[Json]) -> Json:
    """What is in code that torch.compile made, once each, and what that code launched, added up."""
    launched: dict[tuple[str, str], Json] = {}
    for part in parts:
        for one in part["launched"]:
            launched.setdefault((one["kernel"], one["whose"]), {**one, "launches": 0})["launches"] += one["launches"]
    once = {n: {tuple(one.values()): one for part in parts for one in part[n]} for n in ("rows", "left")}
    return {
        **{n: [found[key] for key in sorted(found)] for n, found in once.items()},
        "launched": sorted(launched.values(), key=lambda r: (r["whose"], -r["launches"], r["kernel"])),
    }


def render_report(parts: Sequence[Json], unreported: int = 0) -> str:
    """The rows that were used, then what missed, by number of launches."""
    found = add_up(parts, unreported)
    lacking = []
    if unreported:
        lost, whose = ("1 process", "its") if unreported == 1 else (f"{unreported} processes", "their")
        why = f"did not report (killed, or still running): {whose} launches are not counted"
        lacking = [f"apply: {lost} launched Triton kernels and {why}"]
    if not parts:
        return "\n".join(lacking) or "apply: no process launched a Triton kernel."
    digests = ", ".join(map(short, found["digests"]))
    total = {n: sum(r["launches"] for r in found[n]) for n in ("used", "missed")}
    processes = "1 process" if found["processes"] == 1 else f"{found['processes']} processes"
    launches = "1 launch" if total["used"] == 1 else f"{total['used']} launches"
    lines = [f"apply: table {digests}, {processes}: {launches} by a row, {total['missed']} as the program has them"]
    used = [f"  {r['launches']:>9}  {r['kernel']}  row {r['row']} ({r['status']})" for r in found["used"]]
    missed = [f"  {r['launches']:>9}  {r['kernel']}: {r['reason']}" for r in found["missed"]]
    compiled = found["compiled"]
    put = [f"  {r['kernel']}  row {r['row']} ({r['status']})" for r in compiled["rows"]]
    left = [f"  {r['kernel']}: {r['reason']}" for r in compiled["left"]]
    launched = [f"  {r['launches']:>9}  {r['kernel']}  of {r['whose']}" for r in compiled["launched"]]
    for title, rows in (
        ("used:", used),
        ("as the program has them:", missed),
        ("compiled by torch.compile with a row:", put),
        ("compiled by torch.compile as the program has them:", left),
        ("launched by code of torch.compile:", launched),
    ):
        if rows:
            lines += [title, *rows[:MOST_ROWS]]
        if len(rows) > MOST_ROWS:
            lines.append(f"  … and {len(rows) - MOST_ROWS} more")
    return "\n".join([*lines, *lacking, *(f"not applied: {f}" for f in found["faults"])])
