"""Variables of the environment that change what Triton's compiler makes, and so what a config is worth."""

from __future__ import annotations

import os
import sys
from typing import Any

PREFIXES = ("TRITON_", "PTXAS_", "DISABLE_PTXAS", "DISABLE_LLVM", "LLVM_", "MLIR_", "NVPTX_", "AMDGCN_", "USE_IR_LOC")
"""Variables that may change what is compiled, or how."""
HARMLESS = {
    "TRITON_CACHE_DIR", "TRITON_HOME", "TRITON_DUMP_DIR", "TRITON_DUMP_PTXAS_LOG", "TRITON_PRINT_AUTOTUNING",
    "TRITON_CACHE_AUTOTUNING", "TRITON_ALWAYS_COMPILE", "TRITON_INTERPRET", "TRITON_KERNEL_DUMP",
    "TRITON_CACHE_MANAGER", "TRITON_LIBCUDA_PATH", "TRITON_LIBHIP_PATH", "TRITON_STORE_BINARY_ONLY",
}  # fmt: skip
"""Those among them that do not."""
FUSION = "TRITON_DEFAULT_FP_FUSION"
USUAL = {FUSION: "1"}
"""A variable with the value that all our processes give it. Triton up to 3.9 does the same without it."""


def overrides() -> dict[str, str]:
    """The variables of this process that change what is compiled."""
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith(PREFIXES) and k not in HARMLESS}


def describe_overrides() -> str | None:
    """The same as ``NAME=value NAME=value``, without usual ones; ``None`` if there is none. A Triton that does not fuse
    by default counts as one that was told so."""
    found = overrides()
    triton: Any = sys.modules.get("triton")
    if FUSION not in found and triton is not None and not triton.knobs.language.default_fp_fusion:
        found = dict(sorted((found | {FUSION: "0"}).items()))
    return " ".join(f"{k}={v}" for k, v in found.items() if USUAL.get(k) != v) or None
