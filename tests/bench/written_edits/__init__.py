"""Edits of Liger's kernels as a strong model writes them, one file each: what ``edit_kernel`` is sent, as data.

A file is parsed and never imported: its constants are KERNEL, REASON, META, GRID and OPTIONS (launch options that are
tried with the edit), and its functions are the source."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WrittenEdit:
    """One file."""

    name: str
    """Of its file."""
    kernel: str
    """The function that is edited."""
    arguments: dict[str, Any]
    """Of ``edit_kernel``."""
    options: dict[str, list[int]]


def written_edits(folder: Path = Path(__file__).parent) -> list[WrittenEdit]:
    """All of a folder, by the names of their files."""
    paths = sorted(p for p in folder.glob("*.py") if p.name != "__init__.py")
    return [read_edit(path) for path in paths]


def read_edit(path: Path) -> WrittenEdit:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    constants = {n.targets[0].id: n.value for n in tree.body if isinstance(n, ast.Assign)}
    found = {name: ast.literal_eval(value) for name, value in constants.items()}
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    source = "\n\n\n".join(ast.get_source_segment(text, f) for f in functions)
    arguments = {
        "source": source,
        "reason": found["REASON"],
        "meta_parameters": [{"name": n, "values": values} for n, values in found["META"].items()],
        "grid": found["GRID"],
    }
    return WrittenEdit(path.stem, found["KERNEL"], arguments, found["OPTIONS"])
