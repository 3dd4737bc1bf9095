"""Which kernels one launch really starts, and when they end: the timed work has to be the candidate's own Triton code,
and over when the clock stops."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch._C._autograd import DeviceType

from tools.harness.measuring.arena import SPIN_MS, spin
from tools.harness.measuring.timing import Call, synchronize

ALLOWED = ("memcpy", "memset")
"""Copies and fills by the driver, which a split reduction needs to clear its output."""
FILL = "at::native::FillFunctor<"
"""In the name of the kernel by which PyTorch fills a tensor with one number, as hooks do that clear an output. A fill
computes nothing: an output of one number fails its check."""


MARKER = "spin_kernel"
"""In the name of the kernel by which the device spins."""
MARKER_MS = 0.02


@dataclass(frozen=True)
class Census:
    """Names of GPU kernels that one launch started."""

    foreign: list[str]
    """Those that are not Triton launches of its own."""
    late: list[str]
    """Those that were not over when the next work on the launch's stream began: they ran on another stream, which the
    launch did not join."""


def take_census(call: Call) -> Census:
    """By the profiler's census against Triton's launch hook. The device spins before the launch, so that the host is
    ahead of it, and behind the launch, as the next work on its stream. Both spins are on the profiler's clock, which is
    the device's: what the host is late with cannot look like work."""
    launched: set[str] = set()

    def note(metadata: Any) -> None:
        launched.add(metadata.get()["name"])

    triton.knobs.runtime.launch_enter_hook.add(note)
    try:
        with _profiler() as profile:
            spin(SPIN_MS)
            call()
            spin(MARKER_MS)
            synchronize()
    finally:
        triton.knobs.runtime.launch_enter_hook.remove(note)
    return read_census(_of_gpu(profile), launched)


def _profiler() -> torch.autograd.profiler.profile:
    """Of the GPU alone. ``torch.profiler.profile``, which wraps it, imports PyTorch's compiler when it starts, to read
    one of its options: seconds."""
    return torch.autograd.profiler.profile(use_cpu=False, use_device="cuda", use_kineto=True)


def _of_gpu(profile: torch.autograd.profiler.profile) -> list[Any]:
    return [e for e in profile.function_events or () if e.device_type == DeviceType.CUDA]


def read_census(events: Sequence[Any], launched: Container[str]) -> Census:
    """The census of `events`, which have a ``name`` and a ``time_range``; the first and the last spin are ours."""
    spins = sorted((e for e in events if MARKER in e.name), key=lambda e: e.time_range.start)
    ours = [*spins[:1], *spins[-1:]] if len(spins) > 1 else []
    theirs = [e for e in events if not any(e is s for s in ours)]
    foreign = {e.name for e in theirs if e.name not in launched and not e.name.lower().startswith(ALLOWED)}
    late = {e.name for e in theirs if ours and e.time_range.end > ours[-1].time_range.start}
    return Census(sorted(n for n in foreign if FILL not in n), sorted(late))


def started_kernels(call: Call) -> list[str]:
    """Names of the GPU kernels that `call` starts, in the order of their first start."""
    with _profiler() as profile:
        call()
        synchronize()
    events = sorted(_of_gpu(profile), key=lambda e: e.time_range.start)
    return [n for n in dict.fromkeys(e.name for e in events) if not n.lower().startswith(ALLOWED)]
