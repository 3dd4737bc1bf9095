"""The last lines of a report: how the config that was found is used."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernels.finder import split_reference

if TYPE_CHECKING:
    from agent.goal.objective import Setting
    from agent.loop.outcome import Outcome

OPS = ("attention", "conv2d", "fused_matmul", "layer_norm", "matmul", "rms_norm", "softmax", "swiglu")
"""Kernels that are functions of ``kernels.ops`` under the same name."""


def describe_use(outcome: Outcome, setting: Setting) -> list[str]:
    """How to use the best config, in lines of the report; nothing if there is none."""
    if outcome.best is None:
        return []
    run = shlex.quote(outcome.run)
    if setting.kernel in OPS and split_reference(setting.kernel) is None:
        return [
            f"use        from kernels import ops; ops.use({memory_of(outcome)!r}); ops.{setting.kernel}(…)",
            f"           other formats: python -m agent export {run} --as json",
        ]
    return [
        f"use        {as_call(setting.kernel, outcome.best.config)}",
        f"           as JSON: python -m agent export {run} --as json",
    ]


def memory_of(outcome: Outcome) -> str:
    """The memory file that holds the config, as the run's trace names it."""
    from memory.file import default_path

    try:
        with Path(outcome.trace).open("rb") as file:
            named = json.loads(file.readline())["body"]["memory"]
    except (OSError, ValueError, KeyError, TypeError):  # a report without its trace
        named = None
    return str(named or default_path())


def as_call(kernel: str, config: Mapping[str, Any]) -> str:
    """The config as keyword arguments of the kernel's own launch: ``add_kernel[grid](…, BLOCK=1024, num_warps=4)``."""
    name = kernel.rpartition(":")[2]
    return f"{name}[grid](…, {', '.join(f'{field}={value!r}' for field, value in config.items())})"
