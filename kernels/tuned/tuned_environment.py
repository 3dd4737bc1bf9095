"""Where this process launches: GPU, Triton, assembler and what overrides them, by which rows are chosen."""

from __future__ import annotations

import sys
from typing import Any

from .compiler_variables import describe_overrides
from .tuned_table import TunedEnvironment

INTERPRETER = "interpreter"
"""In place of a GPU's name under ``TRITON_INTERPRET=1``."""


def interpreted_environment() -> TunedEnvironment:
    """That of Triton's interpreter, which assembles nothing."""
    return TunedEnvironment(INTERPRETER, _triton_version(), None)


def environment_of(device: int) -> TunedEnvironment:
    """That of a GPU by its number. PyTorch and Triton must be loaded.

    Raises RuntimeError if there is no such GPU or Triton's assembler is missing."""
    triton: Any = sys.modules["triton"]
    name = sys.modules["torch"].cuda.get_device_name(device)
    target = triton.runtime.driver.active.get_current_target()
    assembler = assembler_of(target.backend, target.arch)
    return TunedEnvironment(name, _triton_version(), assembler, describe_overrides())


def assembler_of(backend: str, arch: Any) -> str | None:
    """Name and version of the assembler that Triton uses for an architecture; None if it needs none.

    Raises RuntimeError if it is missing."""
    if backend != "cuda":
        return None
    from triton.backends.nvidia.compiler import get_ptxas

    return f"ptxas {get_ptxas(arch).version}"


def _triton_version() -> str:
    return str(sys.modules["triton"].__version__)
