"""What a run was made with: versions of what it stands on and the state of the source tree."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("triton-autokernel", "torch", "triton", "langgraph", "openai", "pydantic", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Version by package, of those that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> str | None:
    """``git describe`` of this source tree, ``-dirty`` where it differs from the commit; ``None`` outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
