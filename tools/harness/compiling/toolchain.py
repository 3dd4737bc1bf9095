"""What turns a kernel into machine code here: Triton, its assemblers, and the variables that change what they do.

Triton's own cache key has the text of a kernel and Triton's version. It does not see that a name outside the kernel
stands for another function now (``op = tl.maximum``), nor another assembler of the same version. Our key, which is
added to Triton's, has the hash of all that a kernel reaches, the assemblers themselves and those variables.
"""

from __future__ import annotations

import functools
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import triton
from triton import knobs

from kernels.hardware import Hardware
from kernels.spec import KernelSpec
from kernels.tuned.compiler_variables import describe_overrides as describe_overrides
from kernels.tuned.compiler_variables import overrides


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
