"""Variables of the environment that change what Triton's compiler makes, and so what a config is worth."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path
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
ASSEMBLER = "TRITON_PTXAS_PATH"
"""Names the assembler, for some architectures."""


def torch_assembler() -> str | None:
    """The path of the assembler that PyTorch's CUDA builds have, if there is one. When Inductor first compiles, it sets
    ASSEMBLER to it unless that is set: from then on the process compiles all its Triton kernels with it, if its Triton
    takes the assembler of the GPU's architecture from there (for Hopper 3.6.0 does, 3.9.0 does not)."""
    origin = None
    with suppress(Exception):  # in a program of others: its finders raise anything, and its `torch` may lack a spec
        found = importlib.util.find_spec("torch")
        origin = found.origin if found is not None else None
    origin = origin or getattr(sys.modules.get("torch"), "__file__", None)
    path = Path(origin).parent / "bin" / "ptxas" if isinstance(origin, str) else None
    return str(path) if path is not None and os.access(path, os.X_OK) else None


def uses_torch_assembler() -> bool:
    """Whether ASSEMBLER names PyTorch's in this process."""
    named = os.environ.get(ASSEMBLER)
    return named is not None and named == torch_assembler()


def overrides() -> dict[str, str]:
    """The variables of this process that change what is compiled. PyTorch's assembler is none: which one assembles is
    told beside them."""
    found = {k: v for k, v in sorted(os.environ.items()) if k.startswith(PREFIXES) and k not in HARMLESS}
    if uses_torch_assembler():
        del found[ASSEMBLER]
    return found


def describe_overrides() -> str | None:
    """The same as ``NAME=value NAME=value``, without usual ones; ``None`` if there is none. A Triton that does not fuse
    by default counts as one that was told so."""
    found = overrides()
    triton: Any = sys.modules.get("triton")
    if FUSION not in found and triton is not None and not triton.knobs.language.default_fp_fusion:
        found = dict(sorted((found | {FUSION: "0"}).items()))
    return " ".join(f"{k}={v}" for k, v in found.items() if USUAL.get(k) != v) or None
