"""Keeps what drivers said, and what was measured, of GPUs that have no published facts: one JSON file a model, in the
user's cache folder, where every process of this user finds it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import platformdirs

from kernels.hardware.gpu_facts import Hardware, from_json, to_json


def folder() -> Path:
    return platformdirs.user_cache_path("triton-autokernel") / "gpus"


def find(device_name: str) -> Hardware | None:
    """The kept facts of the GPU that the driver calls so; ``None`` without a readable file: it is then asked again."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = from_json(json.loads(_path(device_name).read_text()))
        return found if found.name == device_name else None
    return None


def keep(hardware: Hardware) -> None:
    """Write the facts of `hardware`, whose name is the driver's. Raises OSError if the folder cannot be written."""
    path = _path(hardware.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as f:
        json.dump(to_json(hardware), f, indent=1)
    os.replace(f.name, path)


def _path(device_name: str) -> Path:
    """A name may hold any character, and a file's name may not."""
    plain = "".join(c if c.isalnum() else "-" for c in device_name)[:80]
    return folder() / f"{plain}-{hashlib.sha256(device_name.encode()).hexdigest()[:8]}.json"
