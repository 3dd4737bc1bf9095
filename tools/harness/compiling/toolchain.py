"""What turns a kernel into machine code here: Triton, its assemblers, and the variables that change what they do.

Triton's own cache key has the text of a kernel and Triton's version. It does not see that a name outside the kernel
stands for another function now (``op = tl.maximum``), nor another assembler of the same version. Our key, which is
added to Triton's, has the hash of all that a kernel reaches, the assemblers themselves and those variables.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import triton
from triton import knobs

from kernels.hardware import Hardware
from kernels.spec import KernelSpec

PREFIXES = ("TRITON_", "PTXAS_", "DISABLE_PTXAS", "DISABLE_LLVM", "LLVM_", "MLIR_", "NVPTX_", "AMDGCN_", "USE_IR_LOC")
"""Variables that may change what is compiled, or how."""
HARMLESS = {
    "TRITON_CACHE_DIR", "TRITON_HOME", "TRITON_DUMP_DIR", "TRITON_DUMP_PTXAS_LOG", "TRITON_PRINT_AUTOTUNING",
    "TRITON_CACHE_AUTOTUNING", "TRITON_ALWAYS_COMPILE", "TRITON_INTERPRET",
}  # fmt: skip
"""Those among them that do not."""
HARNESS = ("TRITON_DEFAULT_FP_FUSION",)
"""Those that have one value in all our processes, whatever the user's environment says."""


def assembler(hardware: Hardware) -> str | None:
    """Name and version of the assembler that Triton uses for this GPU, such as ``ptxas 13.4``; ``None`` for a GPU that
    needs none beside Triton. Raises RuntimeError if it is missing."""
    if hardware.backend != "cuda":
        return None
    from triton.backends.nvidia import compiler

    tool = compiler.get_ptxas(hardware.arch)
    return f"ptxas {tool.version}"


@functools.cache
def fingerprint_of_tool(path: str, size: int, modified: int) -> str:
    """What the assembler at `path` says of itself, and its size: a replaced file is another assembler."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return f"{size} {' '.join(said.split())}"


def assemblers() -> list[str]:
    """Every assembler of NVIDIA's that Triton may use, as a text that changes with it; empty without that backend."""
    found = []
    for name in ("ptxas", "ptxas_blackwell"):
        try:
            path = getattr(knobs.nvidia, name).path
        except (AttributeError, RuntimeError):  # not of this Triton, or missing: who compiles for it is told
            continue
        status = Path(path).stat()
        found.append(f"{name} {fingerprint_of_tool(path, status.st_size, status.st_mtime_ns)}")
    return found


def overrides() -> dict[str, str]:
    """The variables of this process that change what is compiled."""
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith(PREFIXES) and k not in HARMLESS}


def describe_overrides() -> str | None:
    """The same as ``NAME=value NAME=value``, without what the harness itself sets; ``None`` if there is none."""
    set_by_user = {k: v for k, v in overrides().items() if k not in HARNESS}
    return " ".join(f"{k}={v}" for k, v in set_by_user.items()) or None


def cache_key(spec: KernelSpec[Any, Any]) -> str:
    """16 hex digits that change with anything that the machine code of `spec` depends on and Triton may not look at."""
    parts = [spec.source_hash(), triton.__version__, *assemblers(), repr(overrides())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def add_to_triton_key(key: str) -> None:
    """From now on what this process compiles is cached under Triton's key and `key`."""
    knobs.runtime.add_stages_inspection_hook = _hook(key)


def _hook(key: str) -> Callable[..., tuple[str, str]]:
    answer = (f"-autokernel-{key}", key)

    def hook(*stages: Any) -> tuple[str, str]:
        """Triton asks twice: without arguments for a part of the key, and with a backend's stages, which stay."""
        return answer

    return hook
