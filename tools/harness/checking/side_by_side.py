"""A config and the owner's launch timed in turns in one process, with a cold and with a warm L2.

The proof reads single launches with a cold L2, and edited code and an autotuner's choice made anew are timed in another
process than what they are compared with. What a launch takes depends on where its arguments lie: on an H200 two configs
that are equally fast in one process were read 1.2 % apart in two, and a gain of 2 % as one of 5.7 %
(docs/BENCHMARKS.md). And the kernels before a launch may have left its arguments in the L2. So what a config saves over
the owner's launch is read twice more, in pairs on the same memory, at several places of it:

- *cold*: the arguments are restored, and then so much is written that nothing of them is left in the L2.
- *warm*: the arguments are restored last, right before the launch. What the launch overwrites whole is left out: no
  kernel before it writes that.

Both readings stand beside the row as evidence. A config gets a row only if it saves time with a cold L2 here too, and
loses none with a warm one.
"""

from __future__ import annotations

import random
from typing import Any, Protocol

from kernels.captured.spec import NO_HARDWARE
from kernels.launches.bound import GUARD, Placed
from tools.harness.measuring.statistics import median_ci

Json = dict[str, Any]

PLACES = 5
"""In memory. What a launch takes depends on where its arguments lie."""
PAIRS = 16
"""Of each kind at each place. On an H200 a pair takes about 5 ms."""
APART = 37 * GUARD
"""Bytes by which every argument lies further on than at the place before."""
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
    order = random.Random(0)
    times: dict[str, dict[str, list[float]]] = {s: {"owner": [], "config": []} for s in ("cold", "warm")}
    for place in range(PLACES):
        here = _Place(spec, problem, config, drawn, gpu, place)
        for state, read in times.items():
            watches: dict[str, list[Any]] = {name: [] for name in read}
            for i in range(PAIRS):
                for name in order.sample(list(read), 2):
                    watches[name].append(here.timed(name, state == "warm"))
                if i % AT_ONCE == AT_ONCE - 1:
                    gpu.wait()
            gpu.wait()
            for name, started in watches.items():
                read[name] += [w.ms() for w in started]
    return {state: _saved(read["owner"], read["config"]) for state, read in times.items()}


def _saved(owner: list[float], ours: list[float]) -> Json:
    saved, (low, high) = median_ci([a - b for a, b in zip(owner, ours, strict=True)])
    return {"owner_ms": median_ci(owner)[0], "ms": median_ci(ours)[0], "saved_ms": [saved, low, high]}


class _Place:
    """The arguments of a launch at one place in memory."""

    def __init__(self, spec: Any, problem: Any, config: Any, drawn: Json, gpu: Gpu, place: int) -> None:
        self._spec, self._problem, self._gpu = spec, problem, gpu
        self._configs = {"owner": spec.owner_config(), "config": config}
        apart, further = problem.paths("overwritten"), place * APART
        self._read = {p: t for p, t in drawn.items() if p not in apart}
        self._given = Placed(self._read, copy=True, extra=further, guard=0)
        self._out = Placed({p: drawn[p] for p in apart}, copy=True, extra=further, guard=0)
        for name in self._configs:
            self._given.refill(self._read)
            self._launch(name)  # compiles and loads it
        gpu.wait()

    def timed(self, name: str, warm: bool) -> Any:
        if not warm:
            self._given.refill(self._read)
        self._gpu.flush()
        watch = self._gpu.watch()
        self._gpu.spin()
        if warm:
            self._given.refill(self._read)
        watch.start()
        self._launch(name)
        watch.stop()
        return watch

    def _launch(self, name: str) -> None:
        self._spec.launch(self._problem, self._configs[name], self._given.value, self._out.value, NO_HARDWARE)
