"""Compiled code on its way from the host that compiled it to the host that measures it.

Triton keeps a compiled kernel in a directory named by its key; a group file in there names the others by absolute path.
The directories travel as bytes through Ray's object store, straight from host to host, and the group files are written
anew for the directory they arrive in. The keys hold Triton's version, the source, the options and the target: a worker
that would compile something else does not find them and compiles for itself.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

Files = dict[str, bytes]
"""Contents by path relative to the cache, ``KEY/name``."""

GROUP = "__grp__"
FIGURES = "figures"
"""The compile child's own directory in the cache."""


def take(cache: Path) -> Files:
    """Everything that was compiled into `cache` since the last time; it is moved out."""
    found: Files = {}
    for entry in cache.iterdir():
        if not entry.is_dir() or entry.name == FIGURES:
            continue
        for file in entry.iterdir():
            if file.is_file() and file.name != "lock":
                found[f"{entry.name}/{file.name}"] = file.read_bytes()
        shutil.rmtree(entry)
    return found


def unpack(files: Files, cache: Path) -> None:
    """Write `files` into `cache`. An entry that is there already stays; one becomes visible only when it is whole."""
    for key in {path.partition("/")[0] for path in files}:
        if (cache / key).exists():
            continue
        cache.mkdir(parents=True, exist_ok=True)
        arriving = Path(tempfile.mkdtemp(dir=cache, prefix="arriving-"))
        for path, content in files.items():
            folder, _, name = path.partition("/")
            if folder == key:
                (arriving / name).write_bytes(_at_home(content, cache / key) if name.startswith(GROUP) else content)
        try:
            os.rename(arriving, cache / key)
        except OSError:  # somebody else was faster
            shutil.rmtree(arriving)


def _at_home(group: bytes, folder: Path) -> bytes:
    children = json.loads(group)["child_paths"]
    return json.dumps(
        {"child_paths": {name: str(folder / Path(path).name) for name, path in children.items()}}
    ).encode()
