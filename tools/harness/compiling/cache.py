"""Where compiled code is kept, and the variables by which every process finds it there. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import os
from importlib import metadata
from pathlib import Path

import platformdirs

DRIVER = Path("/proc/driver/nvidia/version")
FREE_CORES = 2
"""Stay free of PyTorch's compiler for what is being timed meanwhile."""


def default_cache() -> Path:
    """Triton's cache directory for this project, apart from the user's own."""
    return platformdirs.user_cache_path("triton-autokernel") / "triton"


def triton_environment(cache: Path) -> dict[str, str]:
    """Variables that compile children and device workers share: same cache, same keys."""
    return {
        "TRITON_CACHE_DIR": str(cache),
        "TRITON_DUMP_PTXAS_LOG": "1",
        "TRITON_DEFAULT_FP_FUSION": "1",
        "TRITON_INTERPRET": "0",
    }


def environment_key() -> str:
    """Changes with what PyTorch's compiler chooses by: the versions of torch and Triton, the GPU's driver, and the
    assembler. Its own key knows of neither driver nor assembler."""
    known = [f"{name} {_version(name)}" for name in ("torch", "triton", "pytorch-triton-rocm")]
    known += [os.environ.get(name, "") for name in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH")]
    try:
        known.append(DRIVER.read_text())
    except OSError:  # no NVIDIA driver
        known.append("")
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def worker_environment(cache: Path) -> dict[str, str]:
    """Variables of a device worker. PyTorch's compiler keeps its work as well: a second run finds its choices made, and
    makes them anew if the environment has changed."""
    compilers = max(2, len(os.sched_getaffinity(0)) - FREE_CORES)
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(cache / f"inductor-{environment_key()}"),
        "TORCHINDUCTOR_COMPILE_THREADS": os.environ.get("TORCHINDUCTOR_COMPILE_THREADS", str(compilers)),
        **triton_environment(cache),
    }
