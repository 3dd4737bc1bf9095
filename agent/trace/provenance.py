"""The provenance of a run: the versions of its packages and the state of the source tree."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("triton-autokernel", "torch", "triton", "langgraph", "openai", "pydantic", "numpy", "scipy")


def versions() -> dict[str, str]:
    """The version of each installed package."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> str | None:
    """``git describe`` of this source tree, with ``-dirty`` if it differs from the commit; ``None`` if it is no git
    tree."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
