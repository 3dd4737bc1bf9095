"""Which kernels one launch really starts: the timed work has to be the candidate's own Triton code."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch._C._autograd import DeviceType

from tools.harness.measuring.timing import Call, synchronize

ALLOWED = ("memcpy", "memset")
"""Copies and fills by the driver, which a split reduction needs to clear its output."""
FILL = "at::native::FillFunctor<"
"""In the name of the kernel by which PyTorch fills a tensor with one number, as hooks do that clear an output. A fill
computes nothing: an output of one number fails its check."""


def foreign_kernels(call: Call) -> list[str]:
    """Names of GPU kernels that `call` started and that are not Triton launches of its own, by the profiler's census
    against Triton's launch hook."""
    launched: set[str] = set()

    def note(metadata: Any) -> None:
        launched.add(metadata.get()["name"])

    triton.knobs.runtime.launch_enter_hook.add(note)
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            call()
            synchronize()
    finally:
        triton.knobs.runtime.launch_enter_hook.remove(note)
    seen = {e.name for e in profile.events() if e.device_type == DeviceType.CUDA}
    return sorted(n for n in seen if n not in launched and not n.lower().startswith(ALLOWED) and FILL not in n)


def started_kernels(call: Call) -> list[str]:
    """Names of the GPU kernels that `call` starts, in the order of their first start."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        synchronize()
    events = sorted((e for e in profile.events() if e.device_type == DeviceType.CUDA), key=lambda e: e.time_range.start)
    return [n for n in dict.fromkeys(e.name for e in events) if not n.lower().startswith(ALLOWED)]
