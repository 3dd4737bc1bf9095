"""Whether a Python program finds this project's packages under their names: a program may have its own ``tools.py``.

Only the standard library is used: nothing else of this project can be imported before. The commands need no such check,
because they claim the names for themselves (``tools/harness/process/own_packages.py``)."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("kernels", "memory", "tools", "evals")
"""The packages that ``agent`` needs beside itself."""


def require_own_names() -> None:
    """Raises ImportError with one sentence if one of the names means something else in this process."""
    if others := find_others():
        what = " and ".join(f"{name!r} means {place}" for name, place in others.items())
        own = " and ".join(repr(name) for name in others)
        raise ImportError(
            f"agent needs its own {own}, and here {what}: rename that or take its folder out of sys.path, or run "
            "`python -m agent` as a process of its own, which finds the right one."
        )


def find_others() -> dict[str, str]:
    """Name → what else is imported under it, or would be."""
    found = {}
    for name in NAMES:
        module = sys.modules.get(name)
        if module is not None:
            places = [str(place) for place in getattr(module, "__path__", ())]
            origin = getattr(module, "__file__", None) or next(iter(places), "a module made by the program")
        elif (spec := find_spec(name)) is not None:
            places = list(spec.submodule_search_locations or ())
            origin = spec.origin or next(iter(places), "another package")
        else:
            continue
        if ROOT / name not in [Path(place).resolve() for place in places]:
            found[name] = origin
    return found
