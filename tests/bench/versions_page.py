"""docs/VERSIONS.md from the rows of ``tests.bench.table_of_versions``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
COUNTED = ("HGMMA", "SYNCS", "BAR", "NOP")
"""Matrix instructions, waits and arrivals at barriers in memory, barriers of the block, pauses."""
LOOPS = """## The loop that multiplies

    python -m tests.bench.main_loops docs/data/main-loops.json KERNEL.ptx --assembler PTXAS

`fused_matmul` warp_specialized (128×256×64, 4 stages, 4 pieces, 8 warps) for sm_90: what Triton's PTX becomes with
each assembler ([data](data/main-loops.json)). Instructions of one step of K. `HGMMA`: matrix instructions; `SYNCS`:
waits and arrivals at barriers in memory; `BAR`: barriers of the block. No config spills. The newer assembler leaves out
two pauses between matrix instructions, the newer front end one of two barriers a step. What each is worth was not
measured.
"""
HEAD = """# Kernels under several versions of Triton

    python -m tests.bench.table_of_versions FOLDER

One config of every family, on the kernel's default problem, compiled offline for one GPU of each architecture by each
version of Triton with the assembler that it brings (`docs/data/versions.json`). A cell has registers a thread, bytes
of spills, KiB of shared memory and the matrix instruction; of a config with several kernels, those of the one with most
shared memory. `=` means as in the version to its left. `–` means that it was not compiled: the command goes on where it
stopped. Figures of compilation say nothing of speed.
"""


def page(rows: Sequence[Row], versions: Sequence[str], gpus: Sequence[str], assembled: Sequence[Row] = ()) -> str:
    """The whole page: what changes first, then the loops of ``tests.bench.main_loops``, then a table for each GPU."""
    found = {(r["gpu"], r["kernel"], r["family"], r["triton"]): r for r in rows}
    parts = [
        HEAD,
        "## What changes\n",
        *(f"- {line}" for line in changes(found, versions, gpus)),
        "",
        *main_loops(assembled),
    ]
    for gpu in gpus:
        here = list(dict.fromkeys((k, f) for g, k, f, _ in found if g == gpu))
        if not here:
            parts.append(f"## {gpu}\n\nNot compiled yet.\n")
            continue
        arch = next(r["arch"] for r in rows if r["gpu"] == gpu)
        named = f"sm_{arch}" if isinstance(arch, int) else arch
        parts += [
            f"## {gpu} ({named})\n",
            "| kernel | family | " + " | ".join(versions) + " |",
            "|---" * (2 + len(versions)) + "|",
        ]
        left_out: dict[str, list[str]] = {}
        for kernel, family in here:
            line = [found.get((gpu, kernel, family, version)) for version in versions]
            if all(r is None or r["config"] is None for r in line):
                why = next(r["reason"] for r in line if r is not None).partition(":")[0]
                left_out.setdefault(why, []).append(f"{kernel} {family}")
                continue
            parts.append(f"| {kernel} | {family} | " + " | ".join(cells(line)) + " |")
        parts += ["", *(f"Not for this GPU, `{why}`: {', '.join(names)}.\n" for why, names in left_out.items())]
    return "\n".join(parts)


def main_loops(assembled: Sequence[Row]) -> list[str]:
    rows = [
        [row["ptx"], row["assembler"], loop["instructions"], *(loop.get(name, 0) for name in COUNTED), row["registers"]]
        for row in assembled
        for loop in row.get("loops", [])
    ]
    head = ["PTX", "assembler", "instructions", *COUNTED, "registers"]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    return [LOOPS, lines[0], "|---" * len(head) + "|", *lines[1:], ""] if rows else []


def cells(line: Sequence[Row | None]) -> list[str]:
    written = ["–" if row is None else cell(row) for row in line]
    return [text if n == 0 or text == "–" or text != written[n - 1] else "=" for n, text in enumerate(written)]


def cell(row: Row) -> str:
    if row["status"] != "correct":
        return f"{row['status']}: {row['reason'].partition(':')[0]}"
    spills = "?" if row["spill_bytes"] is None else row["spill_bytes"]
    parts = [str(row["registers"]), str(spills), f"{row['shared_bytes'] / 1024:.0f}"]
    return " · ".join([*parts, *([row["tensor_core"]] if row["tensor_core"] else [])])


def changes(found: dict[tuple[str, str, str, str], Row], versions: Sequence[str], gpus: Sequence[str]) -> list[str]:
    """For each version and GPU how many configs differ from the first version, then what is worse than a number of
    registers: new spills, another matrix instruction, a config that fails or no longer does."""
    lines, telling = [], []
    for version in versions[1:]:
        for gpu in gpus:
            pairs = [
                (k, f, first, row)
                for (g, k, f, v), row in found.items()
                if (g, v) == (gpu, version) and row["config"] and (first := found.get((g, k, f, versions[0])))
                if first["config"] == row["config"]
            ]
            if not pairs:
                continue
            other = sum(a.get("registers") != b.get("registers") for _, _, a, b in pairs)
            lines.append(
                f"{version} on {gpu}: {other} of {len(pairs)} configs have other registers than under {versions[0]}."
            )
            telling += [
                f"`{k}` {f} on {gpu}, {versions[0]} → {version}: {what}."
                for k, f, a, b in pairs
                for what in worse_or_better(a, b)
            ]
    return lines + telling or ["Nothing was compiled by two versions yet."]


def worse_or_better(before: Row, after: Row) -> list[str]:
    if before["status"] != after["status"]:
        return [f"{before['status']} → {after['status']} ({after['reason'] or before['reason']})"]
    if after["status"] != "correct":
        return []
    found = []
    if before["tensor_core"] != after["tensor_core"]:
        found.append(f"matrix instruction {before['tensor_core']} → {after['tensor_core']}")
    if bool(before["spill_bytes"]) != bool(after["spill_bytes"]):
        found.append(f"{before['spill_bytes']} → {after['spill_bytes']} bytes of spills")
    serialized = [any("serialized" in w for w in row.get("warnings") or ()) for row in (before, after)]
    if serialized[0] != serialized[1]:
        found.append("matrix instructions are serialized " + ("from it on" if serialized[1] else "no longer"))
    return found
