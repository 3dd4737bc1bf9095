"""What several assemblers make of the same PTX: registers, spills and the loops that multiply. It needs no GPU.

    python -m tests.bench.main_loops OUT.json KERNEL.ptx --assembler PTXAS --assembler OTHER_PTXAS

The PTX is that of a kept config (``python -m kernels explain`` keeps it) or of Triton's cache. A loop is what lies
between a backward branch and its target.
"""

from __future__ import annotations

import collections
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click

INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?);", re.MULTILINE)
BRANCH = re.compile(r"\bBRA\b.*?(0x[0-9a-f]+)")
TARGET = re.compile(r"^\.target\s+(\w+)", re.MULTILINE)


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("ptx", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--assembler", "assemblers", multiple=True, required=True, type=click.Path(exists=True, dir_okay=False))
def main(out: Path, ptx: tuple[Path, ...], assemblers: tuple[str, ...]) -> None:
    """Assemble each PTX with each assembler and write what their main loops hold to OUT."""
    rows = [assembled(path, assembler) for path in ptx for assembler in assemblers]
    out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    for row in rows:
        print(row["ptx"], row["assembler"], row.get("reason") or row["loops"])


def assembled(ptx: Path, assembler: str) -> dict[str, Any]:
    """One assembler's result, or its reason for refusing the PTX."""
    from triton import knobs

    said = subprocess.run([assembler, "--version"], capture_output=True, text=True, check=True).stdout
    text = ptx.read_text()
    version, target = re.search(r"release ([\d.]+)", said), TARGET.search(text)
    if version is None or target is None:
        raise click.ClickException(f"{assembler} is no ptxas, or {ptx} is no PTX")
    row: dict[str, Any] = {"ptx": ptx.stem, "assembler": f"ptxas {version[1]}"}
    with tempfile.TemporaryDirectory(prefix="main-loops-") as folder:
        cubin = Path(folder) / "kernel.cubin"
        command = [assembler, "-v", f"--gpu-name={target[1]}", str(ptx), "-o", str(cubin)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return row | {"reason": done.stderr.strip().splitlines()[0].rpartition("; ")[2]}
        sass = subprocess.run(
            [knobs.nvidia.cuobjdump.path, "-sass", str(cubin)], capture_output=True, text=True, check=True
        ).stdout
    spills = sum(map(int, re.findall(r"(\d+) bytes spill", done.stderr)))
    registers = max(map(int, re.findall(r"Used (\d+) registers", done.stderr)))
    return row | {"registers": registers, "spill_bytes": spills, "loops": loops(sass)}


def loops(sass: str) -> list[dict[str, int]]:
    """Instructions by name, and their number, of each loop that has matrix instructions; of loops that overlap, the
    shortest."""
    code = [(int(at, 16), text) for at, text in INSTRUCTION.findall(sass)]
    place = {at: n for n, (at, _) in enumerate(code)}
    spans = []
    for n, (_, text) in enumerate(code):
        branch = BRANCH.search(text)
        first = place.get(int(branch[1], 16), n) if branch is not None else n
        if first < n and multiplies(code[first : n + 1]):
            spans.append((first, n))
    kept: list[tuple[int, int]] = []
    for first, last in sorted(spans, key=lambda span: span[1] - span[0]):
        if all(last < a or b < first for a, b in kept):
            kept.append((first, last))
    return [
        {"instructions": last + 1 - first}
        | dict(sorted(collections.Counter(name(text) for _, text in code[first : last + 1]).items()))
        for first, last in sorted(kept)
    ]


def multiplies(code: list[tuple[int, str]]) -> bool:
    return any(name(text) in ("HGMMA", "HMMA", "QGMMA", "IMMA") for _, text in code)


def name(instruction: str) -> str:
    """``HGMMA`` of ``@P0 HGMMA.64x256x16.F32 R24, …``."""
    words = instruction.split()
    return (words[1] if words[0].startswith("@") else words[0]).partition(".")[0]


if __name__ == "__main__":
    main()
