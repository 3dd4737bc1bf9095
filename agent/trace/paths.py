"""The paths of runs' files: ``traces/`` in the user's data directory (XDG_DATA_HOME moves it)."""

from __future__ import annotations

import re
from pathlib import Path

import platformdirs

from agent.errors import UsageError

APPLICATION = "triton-autokernel"


def trace_folder() -> Path:
    return Path(platformdirs.user_data_dir(APPLICATION)) / "traces"


def trace_path(run_id: str) -> Path:
    """The path ``RUN.jsonl``. Raises UsageError if `run_id` is not valid."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", run_id):
        raise UsageError(f"{run_id!r} is not the id of a run: python -m agent prints it in its first line.")
    return trace_folder() / f"{run_id}.jsonl"


def checkpoint_path(trace: Path) -> Path:
    """The checkpoint file next to the trace. It is deleted when the run is finished."""
    return trace.with_suffix(".checkpoints.db")
