"""Where compiled code is kept, and the variables by which every process finds it there. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

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


def worker_environment(cache: Path) -> dict[str, str]:
    """Variables of a device worker. PyTorch's compiler keeps its work as well: a second run finds its choices made."""
    compilers = max(2, len(os.sched_getaffinity(0)) - FREE_CORES)
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": os.environ.get("TORCHINDUCTOR_COMPILE_THREADS", str(compilers)),
        **triton_environment(cache),
    }
