"""Every family of every kernel, compiled by several versions of Triton for several GPUs. It needs no GPU.

    python -m tests.bench.table_of_versions FOLDER                  # compile what is missing, then write the page
    python -m tests.bench.table_of_versions FOLDER --page-only      # write the page from what was compiled

    1. Each version of Triton is installed into FOLDER/triton-VERSION, without its dependencies, unless it is there.
    2. One config of each family is chosen for each GPU: the first that the first version allows, of the kernel's
       default config, its promising ones and its candidates. All versions compile the same config.
    3. For each version a process compiles them one by one (``tests.bench.versions_compiled``), and appends each result
       to FOLDER/VERSION.jsonl at once. An interrupted command goes on where it stopped. A kernel whose source has
       changed is compiled anew.
    4. docs/data/versions.json has all results, docs/VERSIONS.md the table, beside that of ``tests.bench.main_loops``.

Of a config with several kernels the figures are those of the kernel with most shared memory. The versions of the
assembler are those that each Triton brings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from kernels.registry import names
from tests.bench.versions_page import page

Row = dict[str, Any]
VERSIONS = ("3.6.0", "3.7.1", "3.8.0", "3.9.0")
GPUS = ("A100", "H200", "B200", "RTX 5090", "MI300X", "MI355X")
"""One of each architecture: sm_80, sm_90, sm_100, sm_120, gfx942, gfx950."""
DOCS = Path(__file__).parents[2] / "docs"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--version", "versions", multiple=True, help="Compile with this version alone; may be repeated.")
@click.option("--kernel", "kernels", multiple=True, help="Compile this kernel alone; may be repeated.")
@click.option("--gpu", "gpus", multiple=True, type=click.Choice(GPUS), help="Compile for this GPU alone.")
@click.option("--page-only", is_flag=True, help="Compile nothing.")
@click.option("--docs", default=DOCS, type=click.Path(file_okay=False, exists=True, path_type=Path), show_default=False)
def main(
    folder: Path,
    versions: tuple[str, ...],
    kernels: tuple[str, ...],
    gpus: tuple[str, ...],
    page_only: bool,
    docs: Path,
) -> None:
    """Compile every family under each version of Triton into FOLDER and write docs/VERSIONS.md."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in () if page_only else versions or VERSIONS:
        triton = install(folder, version)
        command = [sys.executable, "-m", "tests.bench.versions_compiled", str(folder), version]
        command += [f"--kernel={name}" for name in kernels] + [f"--gpu={name}" for name in gpus or GPUS]
        if subprocess.run(command, env={**os.environ, "PYTHONPATH": str(triton)}, check=False).returncode != 0:
            raise click.ClickException(f"the process that compiles with Triton {version} failed")
    rows = [row for version in VERSIONS for row in read(folder / f"{version}.jsonl")]
    rows.sort(key=lambda row: names().index(row["kernel"]))
    if not rows:
        raise click.ClickException(f"{folder} holds no results: run the command without --page-only")
    lines = ",\n".join(json.dumps(row) for row in rows)
    (docs / "data" / "versions.json").write_text(f'{{"rows": [\n{lines}\n]}}\n')
    loops = docs / "data" / "main-loops.json"
    assembled = json.loads(loops.read_text())["rows"] if loops.exists() else []
    (docs / "VERSIONS.md").write_text(page(rows, VERSIONS, GPUS, assembled))


def install(folder: Path, version: str) -> Path:
    """The folder that has this version of Triton and nothing else."""
    target = folder / f"triton-{version}"
    if not (target / "triton").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        command += ["--target", str(target), f"triton=={version}"]
        if subprocess.run(command, check=False).returncode != 0:
            raise click.ClickException(f"pip could not install Triton {version} into {target}")
    return target


def read(path: Path) -> list[Row]:
    """The rows of a file, of each config the last one. A line that a killed process left unfinished is no row."""
    found: dict[tuple[str, ...], Row] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["kernel"], row["family"], row["gpu"]] = row
    return list(found.values())


if __name__ == "__main__":
    main()
