"""A run's config as a decorator line: the owner's own line with this config if the kernel was autotuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memory.formats.triton_configs import KEPT, decorator


def decorator_line(kernel: str, config: dict[str, Any], problem: Mapping[str, Any]) -> str:
    """``@triton.autotune(configs=[…], key=[…])``, with a comment if it cannot hold all that counts. `kernel`: the name
    by which the run found it."""
    line = decorator([config], dict(problem))
    try:
        from kernels.registry import get

        spec = get(kernel)
    except Exception as e:  # noqa: BLE001 -- a stranger's module; the reader is told what that means for the line
        reason = " ".join(str(e).split())[:150] or type(e).__name__
        return f"{line}  # {kernel} cannot be loaded ({reason}): {KEPT}"
    owner = getattr(spec, "kernel", None)
    if owner is None:
        return line
    from kernels.launches.owner_decorator import owner_decorator

    try:
        return owner_decorator(owner, config)
    except ValueError:
        return line
