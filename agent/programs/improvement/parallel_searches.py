"""Searches of several launches at once: one waits for its compilers while another has the GPU.

Each has a thread, and in it a run with processes of its own. The runs use the GPU in turns, by the lock file that all
of them are given. If only one may go on at a time, it stays in the main thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from typing import Any, Self

from agent.loop.progress import Watch
from agent.loop.safe_points import STOP, first_interrupt_sets
from agent.programs.improvement.improve_plan import Job
from kernels.hardware import Hardware

CORES_EACH = 5
"""Processor cores for each: its compilers, its driver and the two workers of its run."""
MOST = 3
"""A search uses the GPU for half of its time; more of them would only wait for each other."""
MOST_GAINED = 2.0
"""For the same reason, times as many launches that searches at once get done."""
COPIES = 12
"""Copies of a launch's arguments that the processes of one run may hold on the GPU."""
MEMORY = 0.5
"""Part of the GPU's memory that all searches together may need."""
LOOK_S = 0.5
"""Seconds after which a wait looks whether it was asked to stop."""


def most_at_once() -> int:
    """Searches that this machine has the cores for."""
    return max(1, min(MOST, len(os.sched_getaffinity(0)) // CORES_EACH))


class Named(Watch):
    """Hands every line on with the name of what it is about."""

    def __init__(self, watch: Watch, name: str) -> None:
        super().__init__()
        self._watch, self._name = watch, name

    def notify(self, line: str) -> None:
        self._watch.notify(f"{self._name}: {line.strip()}")


class Searches:
    """Those that go on. On the way out of the context they end: by themselves, or after an error at their next safe
    point, which Ctrl-C asks for too."""

    def __init__(self, at_once: int, hardware: Hardware | None, watch: Watch) -> None:
        """`at_once`: how many at most. `hardware`: whose memory they share."""
        self._at_once, self._hardware, self._watch = at_once, hardware, watch
        self._going_on: dict[Future[None], Job] = {}
        self._stop = threading.Event()
        self._interrupts = first_interrupt_sets(self._stop, watch.notify) if at_once > 1 else nullcontext()

    def __len__(self) -> int:
        return len(self._going_on)

    def has_room_for(self, job: Job) -> bool:
        """Whether `job` may be searched beside those that go on. Alone it may always."""
        if not self._going_on:
            return True
        if len(self._going_on) == self._at_once or self._hardware is None or self._stop.is_set():
            return False
        needed: int = sum(s["bytes"] for j in (job, *self._going_on.values()) for s in j.launch.storages)
        return needed * COPIES <= MEMORY * self._hardware.memory_bytes

    def start(self, job: Job, search: Callable[[Watch], None]) -> None:
        """Begin one. If only one may go on at a time, it is over when this returns."""
        if self._at_once == 1:
            search(self._watch)
            return
        future: Future[None] = Future()
        watch = Named(self._watch, f"{job.launch.name} {job.launch.digest[:8]}")

        def work() -> None:
            STOP.set(self._stop)
            try:
                search(watch)
                future.set_result(None)
            except BaseException as e:  # noqa: BLE001 -- raised again by `wait`
                future.set_exception(e)

        self._going_on[future] = job
        # Not waited for when the interpreter ends: a second Ctrl-C stops at once.
        threading.Thread(target=work, name="search", daemon=True).start()

    def wait(self, others: Sequence[Future[Any]], seconds: float) -> None:
        """Wait until one of the searches or of `others` is done, `seconds` at most. Raises what ended a search, and
        KeyboardInterrupt if there is none and it was asked to stop."""
        until = time.monotonic() + seconds
        done: set[Future[Any]] = set()
        while (self._going_on or others) and not done and (left := until - time.monotonic()) > 0:
            if self._stop.is_set() and not self._going_on:
                raise KeyboardInterrupt
            done = wait([*self._going_on, *others], min(left, LOOK_S), FIRST_COMPLETED).done
        for future in [f for f in self._going_on if f in done]:
            del self._going_on[future]
            future.result()

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *where: Any) -> None:
        try:
            if error is not None:
                self._stop.set()
            if not isinstance(error, KeyboardInterrupt):
                wait(list(self._going_on))
        finally:
            self._interrupts.__exit__(None, None, None)
