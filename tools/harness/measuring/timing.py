"""The two ways a launch is timed on a GPU, and what makes each sample count.

*Burst*: single launches. Before each one the inputs are redrawn in place, the output is poisoned, the L2 is flushed and
the device spins for longer than the host needs to enqueue the launch; two events on the stream enclose the launch
alone. *Sustained*: CUDA graphs of back-to-back launches fill windows of time at the card's power limit.

Which samples are verified is drawn in secret after the count is fixed. The copy that is verified is enqueued right
behind the second event on the same stream, so work that was still running elsewhere when the clock stopped is missing
from it.

The events are on one stream, and a launch may use others. So some elements of every input, in secret places, get their
values between the spin and the first event: work that another stream did during the spin has read wrong values. That a
launch joins the streams it uses is checked beside the clock (:mod:`tools.harness.checking.census`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from kernels.launches.bound import same_bits
from kernels.launches.expected import Results
from tools.harness.checking.verify import stray_write
from tools.harness.measuring.arena import Arena, Refused, Verified, Wrong
from tools.harness.measuring.telemetry import Meter

SMALL_MS = 0.02
"""Launches shorter than this are timed by replays of a graph of SMALL_LAUNCHES of them: two events alone are some
microseconds apart. Only the first launch of a replay then meets a cold L2."""
SMALL_LAUNCHES = (24, 40)
"""How many, at least and at most. The number is drawn in secret: a launch cannot know that it is the last one, whose
output is looked at."""
WARM_STEP_S = 0.15
SETTLED = 0.003
MOST_WARM_S = 3.0
"""Warm-up of the sustained regime: steps of WARM_STEP_S until two in a row agree within SETTLED, which is where power
and clock have settled, at most MOST_WARM_S. After a pause a card at its power limit takes up to two seconds."""

GRAPH_MS = 8.0
"""Work in one CUDA graph of the sustained regime: long against a replay's host cost, short against a window."""

Call = Callable[[], Any]
"""A launch. It returns its results: tensors by name for a config, whatever ``eager`` gives for a baseline."""

# Taken before any candidate's file is imported: one that replaces torch's timers changes nothing here.
_Event: Any = torch.cuda.Event
_record: Any = torch.cuda.Event.record
_elapsed: Any = torch.cuda.Event.elapsed_time
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


@dataclass
class Kept:
    """What is looked at after a timed launch."""

    seed: int
    results: Results
    untouched: list[tuple[str, torch.Tensor]]
    same: bool


def burst(arena: Arena, call: Call, samples: int, looked_at: int, repeatable: bool) -> tuple[list[float], Verified]:
    """`samples` single-launch times in ms, `looked_at` of them verified (0: not comparable with the reference).

    Raises Wrong, and whatever the launch raises."""
    chosen = set(secrets.SystemRandom().sample(range(samples), min(looked_at, samples)))
    arena.refresh()
    call()  # loads the module, fills caches of the launcher; its time does not count
    synchronize()
    launches, timed_call = 1, call
    if not arena.changes_inputs and _probe(arena, call) < SMALL_MS:
        launches = secrets.SystemRandom().randint(*SMALL_LAUNCHES)
        timed_call, _ = captured(call, launches)
    watches: list[Stopwatch] = []
    kept: list[Kept] = []
    for i in range(samples):
        seed, watch, result = _sample(arena, timed_call)
        watches.append(watch)
        if i in chosen:
            results = {name: t.clone() for name, t in arena.named(result).items()}
            found = Kept(seed, results, arena.untouched(seed), True)
            if repeatable:
                found.same = _repeated(arena, call, found)
            kept.append(found)
    synchronize()
    if not arena.bound.same_layout():
        raise Wrong("the launch changed the output tensor's shape, strides or storage")
    verified = Verified()
    for k in kept:
        arena.verify(k.results, k.seed, verified)
        stray = stray_write(arena.spec, k.untouched)
        if stray:
            raise Wrong(stray)
        if not k.same:
            raise Wrong("two launches on equal inputs gave different bits (a race, or a launch that was skipped)")
    return [watch.ms() / launches for watch in watches], verified


def _sample(arena: Arena, timed_call: Call) -> tuple[int, Stopwatch, Any]:
    """One cold launch: the seed of its inputs, its watch and its results."""
    seed = arena.refresh()
    arena.poison()
    complete = arena.hold_back()
    arena.flush()
    watch = Stopwatch()
    arena.spin()
    complete()
    watch.start()
    result = timed_call()
    watch.stop()
    return seed, watch, result


def _repeated(arena: Arena, call: Call, before: Kept) -> bool:
    """Whether another launch on the same inputs gives the same bits, where results are written whole."""
    if arena.changes_inputs:
        arena.restore(before.seed)
    arena.poison()
    again = arena.named(call())
    whole = [name for name in again if name not in arena.bound.effects.unwritten]
    return all(same_bits(again[name], before.results[name]) for name in whole)


def _probe(arena: Arena, call: Call) -> float:
    """Roughly how long one launch takes, in ms."""
    watch = Stopwatch()
    arena.spin(0.5)
    watch.start()
    call()
    watch.stop()
    synchronize()
    return watch.ms()


def captured(call: Call, launches: int) -> tuple[Call, Any]:
    """A CUDA graph of `launches` launches: a call that replays it, and what the last one returned."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            result = call()

    def replay() -> Any:
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
    if arena.changes_inputs:
        raise Refused(
            "the kernel changes its inputs, so launches back to back would not compute the same thing: time it in "
            "the burst regime"
        )
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
        arena.verify(arena.named(result), seed, verified)
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
