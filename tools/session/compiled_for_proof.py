"""Machine code of an edited finalist, for every launch of its proof.

Processes that are not shut in launch edited code from machine code alone (:mod:`kernels.editing.machine_code_only`). A
proof launches it on other shapes too, and Triton compiles a function anew where an integer is one, or a multiple of 16
no longer. What is not compiled for them before would be left out of the proof as if the kernel refused those shapes.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kernels.editing.editable import FIELD
from kernels.hardware import Hardware
from kernels.spec import Config, Problem
from memory.terms import Status
from tools.harness.checking.stress import launches_elsewhere
from tools.harness.device import CompileLimit, CompilePool
from tools.harness.results import CompileResult

Launch = tuple[Any, Any, Any]
"""A kernel, its problem and a config."""
AT_ONCE = 8
"""Shapes that are compiled at the same time; there are some ten."""


def compile_for_proof(
    pool: CompilePool, spec: Any, problem: Problem, config: Config, hardware: Hardware, ends_at: float = math.inf
) -> tuple[Status, str] | None:
    """Compile `config`, if it has an edit, for `problem` and for what else it is launched on. The status and the reason
    if it is refused, which it is if a shape that the owner's code compiles for is none for the variant; else None.
    Shapes whose turn does not come before `ends_at` (``time.monotonic()``) are left to the proof, which leaves them
    out. Raises MachineTrouble."""
    if not getattr(config, FIELD):
        return None

    def compiled(launch: Launch) -> CompileResult:
        kernel, there, values = launch
        (found,) = pool.compile(kernel, there, [values], CompileLimit(latest=ends_at))
        return found

    own = compiled((spec, problem, config))
    if own.status != "correct":
        return own.status, own.reason
    launches = list(launches_elsewhere(spec, problem, config, hardware))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for launch, found in zip(launches, threads.map(compiled, launches), strict=True):
            if found.status in ("correct", "infrastructure"):
                continue
            kernel, there, values = launch
            owners = kernel.config_type.model_validate({**values.model_dump(), FIELD: ""})
            if compiled((kernel, there, owners)).status == "correct":
                where = there.label() or kernel.name
                return "correctness", f"for {where} the owner's code compiles and this variant does not: {found.reason}"
    return None
