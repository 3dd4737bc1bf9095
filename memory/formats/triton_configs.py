"""A config as lines of Python to paste into a program that uses ``triton.autotune``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LAUNCH = ("num_warps", "num_stages", "num_ctas", "maxnreg")
"""Fields that ``triton.Config`` takes by name; all others are meta-parameters of the kernel."""


def parts(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Meta-parameters of the kernel, and what ``triton.Config`` takes by name."""
    meta = {name: value for name, value in config.items() if name not in LAUNCH}
    return meta, {name: config[name] for name in LAUNCH if config.get(name) is not None}


def triton_config(config: dict[str, Any]) -> str:
    """``triton.Config({'BLOCK_M': 128, …}, num_warps=8, num_stages=4)``."""
    meta, launch = parts(config)
    return f"triton.Config({meta!r}{''.join(f', {name}={value!r}' for name, value in launch.items())})"


def decorator(configs: Sequence[dict[str, Any]], problem: dict[str, Any]) -> str:
    """``@triton.autotune(configs=[…], key=[…])``; the key is the problem's dimensions, to be renamed where the
    kernel's arguments are called otherwise."""
    key = [name for name, value in problem.items() if isinstance(value, int) and not isinstance(value, bool)]
    return f"@triton.autotune(configs=[{', '.join(map(triton_config, configs))}], key={key!r})"
