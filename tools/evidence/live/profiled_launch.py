"""A config's launch with its inputs on the GPU, as every profiler repeats it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kernels.hardware import hardware_for
from kernels.hardware.asked_gpu import ask
from tools.harness.process.identity import rebuild, rebuild_config

Json = dict[str, Any]
MOST_LAUNCHES = 20
WARM_UPS = 2
SECONDS = 0.2
"""Launches of one look take about so long, beyond the first."""


class ProfiledLaunch:
    """``again()`` launches the config on the same inputs. `job` holds ``kernel``, ``problem`` and ``config``.

    Raises Refusal for a kernel that cannot be rebuilt and DriverSilent for a GPU without facts."""

    def __init__(self, job: Json, index: int) -> None:
        import torch

        from tools.harness.measuring.arena import FLUSH_BYTES

        spec, problem = rebuild(job)
        config = rebuild_config(spec, job["config"])
        device = f"cuda:{index}"
        torch.cuda.set_device(index)
        hardware = hardware_for(torch.cuda.get_device_name(index)) or ask(index)
        generator = torch.Generator(device=device).manual_seed(0)
        inputs = spec.arrange(problem, config, spec.inputs(problem, generator, device))
        out = spec.output(problem, device)
        self.inputs = inputs
        self.again: Callable[[], None] = lambda: spec.launch(problem, config, inputs, out, hardware)
        self._scratch = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)

    def warm_up(self) -> float:
        """Launch :data:`WARM_UPS` times; ms of the last launch by the wall clock, from above."""
        self.again()
        self.wait()
        began = time.perf_counter()
        self.again()
        self.wait()
        return (time.perf_counter() - began) * 1e3

    def wait(self) -> None:
        """Wait until the GPU has done everything. Raises what a launch before raises late."""
        import torch

        torch.cuda.synchronize()

    def flush(self) -> None:
        """Fill L2 with other lines, as before every launch that the harness times."""
        self._scratch.fill_(1)

    def between_starts_ms(self, launches: int = MOST_LAUNCHES) -> float:
        """ms from one launch to the next in a CUDA graph, where the host costs nothing. Raises RuntimeError if the
        launch cannot be captured."""
        import torch

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(launches):
                self.again()
        event: Any = torch.cuda.Event
        begun, done = event(enable_timing=True), event(enable_timing=True)
        graph.replay()
        begun.record()
        for _ in range(5):
            graph.replay()
        done.record()
        self.wait()
        return float(begun.elapsed_time(done)) / (5 * launches)


def launches_of(ms: float, seconds: float = SECONDS, most: int = MOST_LAUNCHES) -> int:
    """How many launches of `ms` fit into `seconds`: at least one."""
    return max(1, min(most, int(seconds * 1e3 / max(ms, 1e-3))))
