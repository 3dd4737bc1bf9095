"""The last lines of a report: how the config that was found is used."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OPS = (
    "attention",
    "attention_backward",
    "conv2d",
    "fused_linear_cross_entropy",
    "fused_matmul",
    "grouped_matmul",
    "layer_norm",
    "layer_norm_backward",
    "matmul",
    "rms_norm",
    "rms_norm_backward",
    "softmax",
    "swiglu",
)
"""Kernels that are functions of ``kernels.ops`` under the same name."""


def describe_use(kernel: str, config: Mapping[str, Any], run: str, trace: str) -> list[str]:
    """How to use the config that `run` found for `kernel`, in lines of the report."""
    more = f"python -m agent export {shlex.quote(run)} --as json"
    if kernel in OPS:
        call = f"from kernels import ops; ops.use({memory_of(trace)!r}); ops.{kernel}(…)"
        return [f"use        {call}", f"           as JSON: {more}"]
    return [f"use        {as_call(kernel, config)}", f"           as JSON: {more}"]


def memory_of(trace: str) -> str:
    """The memory file that holds the config, as the run's trace names it."""
    from memory.file import default_path

    try:
        with Path(trace).open("rb") as file:
            named = json.loads(file.readline())["body"]["memory"]
    except (OSError, ValueError, KeyError, TypeError):  # a report without its trace
        named = None
    return str(named or default_path())


def as_call(kernel: str, config: Mapping[str, Any]) -> str:
    """The config as keyword arguments of the kernel's own launch: ``add_kernel[grid](…, BLOCK=1024, num_warps=4)``."""
    name = kernel.rpartition(":")[2]
    return f"{name}[grid](…, {', '.join(f'{field}={value!r}' for field, value in config.items())})"
