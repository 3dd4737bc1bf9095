"""What a card can do at most, measured: the rate of a large device-to-device copy and of large matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kernels.launches.leaves import tensors_in
from kernels.spec import Baseline, Inputs, KernelSpec

COPY_BYTES = 2 << 30
"""Of the card's free memory at most a sixth."""
MATMUL_SIDES = (4096, 6144, 8192, 12288)
"""The best of several: which size the library likes best differs from card to card."""
READINGS = 5
COPY_STEP = 8192
"""Bytes, of which a copy takes a whole number: back to back, one of 2^28 + 4096 bytes takes 0.199 ms on an H200 (driver
580), one of 2^28 + 8192 takes 0.128 ms."""


def ceilings(device: str, dtype: torch.dtype) -> dict[str, float]:
    """Bytes (read plus written) a second and operations a second, each the best of some readings."""
    from tools.harness.measuring.timing import timed

    free = torch.cuda.mem_get_info(device)[0]
    size = min(COPY_BYTES, free // 6 // COPY_STEP * COPY_STEP)
    source = torch.empty(size, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    copy_ms = min(timed(lambda: target.copy_(source)) for _ in range(READINGS))
    source = target = source[:0]
    best = 0.0
    for side in [s for s in MATMUL_SIDES if 16 * s * s < free] or MATMUL_SIDES[:1]:
        a, b = (torch.randn(side, side, device=device).to(_multiplied(dtype)) for _ in range(2))
        ms = min(timed(lambda a=a, b=b: a @ b) for _ in range(READINGS))  # type: ignore[misc]
        best = max(best, 2 * side**3 / ms * 1e3)
    torch.cuda.empty_cache()
    return {"copy_bytes_per_s": 2 * size / copy_ms * 1e3, "matmul_flops_per_s": best}


def _multiplied(dtype: torch.dtype) -> torch.dtype:
    """The dtype ``@`` takes: 8-bit floats have no plain product, so theirs is probed with fp16."""
    return torch.float16 if dtype.itemsize < 2 else dtype


def copying(spec: KernelSpec[Any, Any]) -> Baseline[Any]:
    """A device-to-device copy that reads and writes as many bytes as the kernel has to move at least: the time that
    memory alone would take here and now."""

    def prepare(problem: Any, inputs: Inputs) -> Callable[[], torch.Tensor]:
        place = next(t.device for t in tensors_in(inputs).values())
        steps = max(1, -(-spec.bytes(problem) // 2 // COPY_STEP))
        source = torch.empty(steps * COPY_STEP, dtype=torch.uint8, device=place).random_()
        target = torch.empty_like(source)
        return lambda: target.copy_(source)

    return Baseline("copy", "a device copy of as many bytes", prepare, equivalent=False)
