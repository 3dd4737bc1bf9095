"""Times calls of a stranger's code on a GPU, the same way in both processes.

Before each call the inputs get new contents at the same addresses, the L2 is flushed, and the device spins for longer
than the host needs to enqueue the call; two events enclose the call. A copy of each result is enqueued right behind the
second event, so what still runs elsewhere when the clock stops is missing from it. Imported before any candidate's
file: the timers cannot be replaced by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from kernels.launches.leaves import leaves, rebuild
from tools.harness.measuring.arena import FLUSH_BYTES, SPIN_MS
from tools.harness.measuring.arena import spin as spin_for
from tools.harness.measuring.timing import Stopwatch, synchronize

Results = dict[str, torch.Tensor]
SPREAD = 2.0**-5
"""Inputs of floating point are multiplied by 1 plus so much times normal noise: other values, the same distribution."""
FIRST_CALLS = 10
"""So many calls fit the queue of the device, so that the host does not wait for the device."""
_clock = time.perf_counter


def varied(value: Any, seed: int, device: str) -> Any:
    """`value` with other contents, which `seed` decides: the same on one GPU in any process."""
    generator = torch.Generator(device).manual_seed(seed)

    def change(path: str, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point() or leaf.element_size() < 2:
            return leaf
        noise = torch.randn(leaf.shape, generator=generator, device=leaf.device)
        return (leaf * (1 + SPREAD * noise)).to(leaf.dtype)

    return rebuild(value, change)


class TimedCalls:
    """Calls of one function on inputs at fixed addresses."""

    def __init__(self, inputs: Any, base: Any, device: str) -> None:
        """`inputs` are what the calls get, `base` holds their contents in memory of its own."""
        self._inputs, self._base, self._device = inputs, base, device
        self._scratch = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)
        self._spin_ms = SPIN_MS
        self.kept: list[Results] = []

    def run(self, call: Callable[..., Any], seeds: list[int], results: Callable[[Any], Results]) -> list[float]:
        """Milliseconds of one call for each seed; copies of the results are kept until the next run."""
        watches: list[Stopwatch] = []
        self.kept = []
        for seed in seeds:
            self._refresh(seed)
            self._scratch.fill_(1)
            watch = Stopwatch()
            spin_for(self._spin_ms)
            began = _clock()
            watch.start()
            value = call(*self._inputs)
            watch.stop()
            enqueued_ms = (_clock() - began) * 1e3
            self.kept.append({n: t.clone() for n, t in results(value).items()})
            watches.append(watch)
            synchronize()
            self._spin_ms = max(self._spin_ms, min(2 * enqueued_ms, 50.0))
        return [watch.ms() for watch in watches]

    def steady(self, call: Callable[..., Any], calls: int) -> list[float]:
        """Milliseconds that `calls` calls back to back take by the device's events, and those that the host needs to
        enqueue one of them."""
        synchronize()
        watch = Stopwatch()
        watch.start()
        host = []
        for i in range(calls):
            began = _clock()
            call(*self._inputs)
            if i < FIRST_CALLS:
                host.append((_clock() - began) * 1e3)
        watch.stop()
        synchronize()
        return [watch.ms(), median(host)]

    def _refresh(self, seed: int) -> None:
        fresh = varied(self._base, seed, self._device)
        for (_, ours), (_, theirs) in zip(leaves(self._inputs), leaves(fresh), strict=True):
            if isinstance(ours, torch.Tensor) and ours.is_floating_point():
                ours.copy_(theirs)
