"""The two ways a launch is timed on a GPU, and what makes each sample count.

*Burst*: single launches. Before each one the inputs are redrawn in place, the output is poisoned, the L2 is flushed and
the device spins for longer than the host needs to enqueue the launch; two events on the stream enclose the launch
alone. *Sustained*: CUDA graphs of back-to-back launches fill windows of time at the card's power limit.

Which samples are verified is drawn in secret after the count is fixed. The copy that is verified is enqueued right
behind the second event on the same stream, so work that was still running elsewhere when the clock stopped is missing
from it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from kernels.spec import Inputs, KernelSpec
from tools.harness.checking.verify import fault, spoil
from tools.harness.measuring.telemetry import Meter

SPIN_MS = 2.0
"""Spin before the first event. A launch through Python takes up to 0.3 ms on the host; a spin shorter than that
measures the host. It is also the idle time that keeps the burst's duty cycle under 10 % (no power throttling)."""

CYCLES_PER_MS = 2_000_000
"""At 2 GHz, the fastest clock of these cards; a slower clock spins longer."""

FLUSH_BYTES = 256 << 20
"""Written before each burst sample; four times the largest L2 here."""

SMALL_MS = 0.02
"""Launches shorter than this are timed by replays of a graph of SMALL_LAUNCHES of them: two events alone are some
microseconds apart. Only the first launch of a replay then meets a cold L2."""
SMALL_LAUNCHES = 32

WARM_STEP_S = 0.15
SETTLED = 0.003
MOST_WARM_S = 3.0
"""Warm-up of the sustained regime: steps of WARM_STEP_S until two in a row agree within SETTLED, which is where power
and clock have settled, at most MOST_WARM_S. After a pause a card at its power limit takes up to two seconds."""

GRAPH_MS = 8.0
"""Work in one CUDA graph of the sustained regime: long against a replay's host cost, short against a window."""

Call = Callable[[], torch.Tensor]

# Taken before any candidate's file is imported: one that replaces torch's timers changes nothing here.
_Event: Any = torch.cuda.Event
_record: Any = torch.cuda.Event.record
_elapsed: Any = torch.cuda.Event.elapsed_time
_sleep: Any = torch.cuda._sleep
synchronize = torch.cuda.synchronize


class Stopwatch:
    """Two events on the current stream around what is timed."""

    def __init__(self) -> None:
        self._start, self._end = _Event(enable_timing=True), _Event(enable_timing=True)

    def start(self) -> None:
        _record(self._start)

    def stop(self) -> None:
        _record(self._end)

    def ms(self) -> float:
        """Only after the device has passed the second event."""
        return float(_elapsed(self._start, self._end))


def timed(work: Callable[[], object], times: int = 1) -> float:
    """Milliseconds the device needs for what `times` calls of `work` enqueue."""
    watch = Stopwatch()
    watch.start()
    for _ in range(times):
        work()
    watch.stop()
    synchronize()
    return watch.ms()


class Wrong(Exception):
    """The output of a timed launch was not the result."""

    def __init__(self, reason: str, error: float | None = None, bound: float | None = None) -> None:
        super().__init__(reason)
        self.error, self.bound = error, bound


@dataclass
class Verified:
    """Largest error found over the verified samples."""

    error: float = 0.0
    bound: float = 0.0


@dataclass
class Arena:
    """The tensors that one problem is timed on. Input buffers keep their addresses; their contents change."""

    spec: KernelSpec[Any, Any]
    problem: Any
    device: str
    inputs: Inputs = field(init=False)
    out: torch.Tensor = field(init=False)
    tested: bool = False
    """Whether it is known that a wrong output would be noticed here."""

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.device)
        self.inputs = self.draw(secrets.randbits(62))
        self.out = self.spec.output(self.problem, self.device)
        self.layout = _layout(self.out)
        self.scratch = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=self.device)

    def draw(self, seed: int) -> Inputs:
        return self.spec.inputs(self.problem, self.generator.manual_seed(seed), self.device)

    def refresh(self) -> int:
        """New contents at the same addresses; returns the seed that made them."""
        seed = secrets.randbits(62)
        for buffer, fresh in zip(self.inputs, self.draw(seed), strict=True):
            if buffer is not None and fresh is not None:
                buffer.copy_(fresh)
        return seed

    def poison(self) -> None:
        """NaN, or finite values that nobody can foresee: a kernel cannot tell which of its launches are looked at."""
        spoil(self.out, bool(secrets.randbits(1)), self.generator)

    def flush(self) -> None:
        self.scratch.fill_(1)

    def spin(self, ms: float = SPIN_MS) -> None:
        _sleep(int(ms * CYCLES_PER_MS))

    def unchanged(self, seed: int) -> torch.Tensor:
        """Whether the inputs still hold what `seed` made: a flag on the device."""
        same = torch.ones((), dtype=torch.bool, device=self.device)
        for buffer, fresh in zip(self.inputs, self.draw(seed), strict=True):
            if buffer is not None and fresh is not None:
                same &= (buffer == fresh).all()
        return same

    def verify(self, result: torch.Tensor, seed: int, verified: Verified) -> None:
        """Compare `result` with the reference for `seed`. Raises Wrong."""
        why, error, bound = fault(self.spec, self.problem, result, self.draw(seed), self_test=not self.tested)
        self.tested = True
        if why:
            raise Wrong(why, error, bound)
        verified.error, verified.bound = max(verified.error, error), bound


def _layout(t: torch.Tensor) -> tuple[Any, ...]:
    return tuple(t.shape), t.dtype, t.stride(), t.data_ptr()


def burst(arena: Arena, call: Call, samples: int, looked_at: int, repeatable: bool) -> tuple[list[float], Verified]:
    """`samples` single-launch times in ms, `looked_at` of them verified (0: not comparable with the reference).

    Raises Wrong, and whatever the launch raises."""
    chosen = set(secrets.SystemRandom().sample(range(samples), min(looked_at, samples)))
    arena.refresh()
    call()  # loads the module, fills caches of the launcher; its time does not count
    synchronize()
    launches, timed_call = 1, call
    if _probe(arena, call) < SMALL_MS:
        launches, (timed_call, _) = SMALL_LAUNCHES, captured(call, SMALL_LAUNCHES)
    watches: list[Stopwatch] = []
    kept: list[tuple[int, torch.Tensor, torch.Tensor, bool]] = []
    for i in range(samples):
        seed = arena.refresh()
        arena.poison()
        arena.flush()
        watch = Stopwatch()
        arena.spin()
        watch.start()
        result = timed_call()
        watch.stop()
        watches.append(watch)
        if i in chosen:
            copy = result.clone()
            unchanged = arena.unchanged(seed)
            same = True
            if repeatable:
                arena.poison()
                same = torch.equal(call(), copy)
            kept.append((seed, copy, unchanged, same))
    synchronize()
    if _layout(arena.out) != arena.layout:
        raise Wrong("the launch changed the output tensor's shape, strides or storage")
    verified = Verified()
    for seed, copy, unchanged, same in kept:
        arena.verify(copy, seed, verified)
        if not bool(unchanged):
            raise Wrong("the launch changed its inputs")
        if not same:
            raise Wrong("two launches on equal inputs gave different bits (a race, or a launch that was skipped)")
    return [watch.ms() / launches for watch in watches], verified


def _probe(arena: Arena, call: Call) -> float:
    """Roughly how long one launch takes, in ms."""
    watch = Stopwatch()
    arena.spin(0.5)
    watch.start()
    call()
    watch.stop()
    synchronize()
    return watch.ms()


def captured(call: Call, launches: int) -> tuple[Call, torch.Tensor]:
    """A CUDA graph of `launches` launches: a call that replays it, and the tensor that holds the last one's output."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            result = call()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay, result


@dataclass
class Windows:
    """Sustained readings: mean ms per launch of each window, and the launches and seconds they cover."""

    ms: list[float]
    watts: float | None
    """Mean power over the windows; ``None`` without a counter."""
    warm_s: float
    settled: bool
    """Whether the warm-up ended because two steps agreed."""
    verified: Verified


def sustained(
    arena: Arena,
    call: Call,
    window_s: float,
    windows: int,
    looked_at: int,
    joules: Callable[[], float | None] = lambda: None,
) -> Windows:
    """Back-to-back launches from a CUDA graph: warm-up until the rate has settled, then `windows` windows of `window_s`
    under the meter. `joules` reads the card's energy counter.

    The last launch's output is verified. Raises Wrong, and whatever the launch raises."""
    arena.refresh()
    for _ in range(3):
        call()
    synchronize()
    one = timed(call, 10) / 10
    per_graph = max(1, round(GRAPH_MS / one))
    replay, result = captured(call, per_graph)
    replay_s = per_graph * one * 1e-3
    warmed, settled = _warm_up(replay, replay_s)
    seed = arena.refresh()
    arena.poison()
    replays = max(1, round(window_s / replay_s))
    with Meter(joules) as meter:
        times = [timed(replay, replays) / (replays * per_graph) for _ in range(windows)]
    verified = Verified()
    if looked_at:
        arena.verify(result, seed, verified)
    return Windows(times, meter.watts(), warmed, settled, verified)


def _warm_up(replay: Call, replay_s: float) -> tuple[float, bool]:
    """Seconds of warm-up, and whether the rate had settled at their end."""
    replays = max(1, round(WARM_STEP_S / replay_s))
    last, spent = timed(replay, replays), 0.0
    while spent < MOST_WARM_S:
        step = timed(replay, replays)
        spent += (step if spent else last + step) * 1e-3
        if abs(step - last) < SETTLED * last:
            return spent, True
        last = step
    return spent, False
