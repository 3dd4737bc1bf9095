"""The time of one launch with a cold L2, between two events: a loop of the benches' own, of which the harness has no
line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FLUSH_BYTES = 256 << 20


def cold_ms(call: Callable[[], Any], flush: Any) -> float:
    """ms of `call`'s launches. `flush`: a tensor of FLUSH_BYTES on the GPU, which is written before."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    flush.zero_()
    torch.cuda._sleep(4_000_000)  # longer than Python takes to enqueue a launch
    start.record()
    call()
    end.record()
    end.synchronize()
    found: float = start.elapsed_time(end)
    return found
