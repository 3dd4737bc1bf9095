"""Makes sure that ``import kernels`` means this project's package, whatever else has that name.

A file ``kernels.py`` or ``tools.py`` in the current folder comes before an installed package, and the package index
has other packages called ``kernels``. The commands and every child process therefore claim the five names before they
import any of them. Only the standard library is used here, because nothing else can be imported safely before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
"""The folder that holds this project's packages."""
PACKAGES = ("agent", "evals", "kernels", "memory", "tools")


class OwnPackages:
    """A finder that looks for this project's packages in ROOT alone."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(ROOT)], target) if name in PACKAGES and path is None else None


def claim() -> None:
    """Import this project's packages from ROOT from now on, and search the current folder after all other folders.

    The caller has put ROOT first into ``sys.path`` to import this file; it is taken out again."""
    if sys.path and sys.path[0] == str(ROOT):
        del sys.path[0]
    if OwnPackages not in sys.meta_path:
        finder: Any = OwnPackages
        sys.meta_path.insert(0, finder)
    if sys.path and is_current_folder(sys.path[0]):
        sys.path.append(sys.path.pop(0))


def is_current_folder(entry: str) -> bool:
    """Whether an entry of ``sys.path`` is the current folder."""
    try:
        return entry == "" or Path(entry).resolve() == Path.cwd()
    except OSError:  # the current folder was deleted
        return entry == ""


def current_folder() -> list[str]:
    """The current folder; nothing if it was deleted."""
    try:
        return [os.getcwd()]
    except OSError:
        return []


def paths_for_children() -> list[str]:
    """``sys.path`` without the current folder, as absolute paths."""
    return [os.path.abspath(entry) for entry in sys.path if not is_current_folder(entry)]
