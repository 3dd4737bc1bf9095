"""Prepares a session in which a model may send device code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kernels.spec import KernelSpec, Problem
from memory.file import default_path


def with_edits(spec: KernelSpec[Any, Any], problem: Problem, memory: Path | None) -> KernelSpec[Any, Any]:
    """`spec` with variants, which lie in the folder ``variants`` beside the memory file.

    Raises ValueError with one sentence if this machine cannot shut a process in, or if the kernel cannot be edited."""
    from kernels.editing.editable import editable
    from kernels.hardware import hardware_named
    from kernels.triton.stub_driver import DEFAULT
    from tools.harness.process import sandbox
    from tools.harness.process.identity import describe

    why = sandbox.why_not()
    if why is not None:
        raise ValueError(
            f"what a model writes is compiled only by processes that are shut in, and this machine has no way ({why}): "
            "leave --edit out"
        )
    folder = (memory or default_path()).absolute().parent / "variants"
    made: Any = editable(spec, folder, describe(spec, problem)["kernel"])
    made.editable_functions(problem, hardware_named(DEFAULT))
    found: KernelSpec[Any, Any] = made
    return found
