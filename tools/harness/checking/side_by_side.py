"""A config and the owner's launch timed in turns in one process, with a cold and with a warm L2.

The proof reads single launches with a cold L2, the config in one process and the owner's launch in another. A program
launches both in one process, and the kernels before a launch may have left its arguments in the L2. So what a config
saves is read twice more, in pairs on the same memory:

- *cold*: the arguments are restored, and then so much is written that nothing of them is left in the L2.
- *warm*: the arguments are restored last, right before the launch. What the launch overwrites whole is left out: no
  kernel before it writes that.

Both readings stand beside the row as evidence. A config that saves in the proof and loses in one of them gets no row.
"""

from __future__ import annotations

import random
from typing import Any, Protocol

from kernels.launches.bound import Placed
from tools.harness.measuring.statistics import median_ci

Json = dict[str, Any]

PAIRS = 40
"""Of each kind. On an H200 a pair takes about 5 ms."""
AT_ONCE = 8
"""Pairs that the host enqueues before it waits."""


class Gpu(Protocol):
    """What is done around a launch; :class:`LiveGpu`, or a test's."""

    def flush(self) -> None: ...
    def spin(self) -> None: ...
    def watch(self) -> Any: ...
    def wait(self) -> None: ...


class LiveGpu:
    """As the proof does it (:mod:`tools.harness.measuring.arena`)."""

    def __init__(self, device: str) -> None:
        import torch

        from tools.harness.measuring.arena import FLUSH_BYTES

        self._scratch = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)

    def flush(self) -> None:
        self._scratch.fill_(1)

    def spin(self) -> None:
        from tools.harness.measuring.arena import SPIN_MS, spin

        spin(SPIN_MS)

    def watch(self) -> Any:
        from tools.harness.measuring.timing import Stopwatch

        return Stopwatch()

    def wait(self) -> None:
        import torch

        torch.cuda.synchronize()


def read_side_by_side(spec: Any, problem: Any, config: Any, drawn: Json, gpu: Gpu) -> Json:
    """``cold`` and ``warm``: medians ``owner_ms`` and ``ms``, and ``saved_ms``, the median of the pairs' differences
    with its 95 % interval. `drawn`: the launch's tensors by path."""
    apart = problem.paths("overwritten")
    read = {p: t for p, t in drawn.items() if p not in apart}
    given = Placed(read, copy=True, guard=0)
    out = Placed({p: drawn[p] for p in apart}, copy=True, guard=0)
    configs = {"owner": spec.owner_config(), "config": config}

    def launch(name: str) -> None:
        spec.launch(problem, configs[name], given.value, out.value, None)

    def timed(name: str, warm: bool) -> Any:
        if not warm:
            given.refill(read)
        gpu.flush()
        watch = gpu.watch()
        gpu.spin()
        if warm:
            given.refill(read)
        watch.start()
        launch(name)
        watch.stop()
        return watch

    for name in configs:
        launch(name)  # compiles and loads it
    gpu.wait()
    order, found = random.Random(0), {}
    for state in ("cold", "warm"):
        watches: dict[str, list[Any]] = {name: [] for name in configs}
        for i in range(PAIRS):
            for name in order.sample(list(configs), 2):
                watches[name].append(timed(name, state == "warm"))
            if i % AT_ONCE == AT_ONCE - 1:
                gpu.wait()
        gpu.wait()
        owner, ours = ([w.ms() for w in watches[name]] for name in configs)
        saved, (low, high) = median_ci([a - b for a, b in zip(owner, ours, strict=True)])
        times = {"owner_ms": median_ci(owner)[0], "ms": median_ci(ours)[0]}
        found[state] = {**times, "saved_ms": [saved, low, high]}
    return found
