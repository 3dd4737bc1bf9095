"""A run's config as a line to paste, with the owner's own hooks and decorator if the kernel was autotuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from memory.formats.triton_configs import KEPT, decorator, triton_config


def decorator_line(kernel: str, config: dict[str, Any], problem: Mapping[str, Any]) -> str:
    """``@triton.autotune(configs=[…], key=[…])``, with a comment if it cannot hold all that counts. `kernel`: the name
    by which the run found it."""
    from kernels.launches.owner_decorator import owner_decorator

    return _owners(owner_decorator, kernel, config, decorator([config], dict(problem)))


def config_line(kernel: str, config: dict[str, Any]) -> str:
    """``triton.Config({…}, num_warps=8, …)``, likewise."""
    from kernels.launches.owner_decorator import owner_config

    return _owners(owner_config, kernel, config, triton_config(config))


def _owners(write: Callable[[Any, dict[str, Any]], str], kernel: str, config: dict[str, Any], line: str) -> str:
    """What `write` makes of the owner's kernel; `line` if that is not autotuned."""
    try:
        from kernels.registry import get

        spec = get(kernel)
    except Exception as e:  # noqa: BLE001 -- a stranger's module; the reader is told what that means for the line
        reason = " ".join(str(e).split())[:150] or type(e).__name__
        return f"{line}  # {kernel} cannot be loaded ({reason}): {KEPT}"
    owner = getattr(spec, "kernel", None)
    if owner is None:
        return line
    try:
        return write(owner, config)
    except ValueError:
        return line
