"""Jobs over Ray actors: who is free gets the next one, and an actor that dies costs the jobs it was given.

The driver alone decides and keeps count; actors hold no queue of their own beyond the one job that hides the way to
them. If an actor dies, any job that it was given may have killed it: the answer of the one before is lost when the
process ends while it is on its way. Every one of them has therefore used a try, and is given again alone. A job that
loses its actor a second time has done so by itself, and is ``infrastructure``. An actor that died is started anew
wherever its cluster has a GPU for it, and gets jobs again once it has said hello.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]

SHORT_S = 0.2
"""Jobs that take less than this in the mean are given two at once: the second starts when the first ends, not a way to
the driver and back later (some milliseconds). A second one behind a long job would wait while others are idle."""
SMOOTHING = 0.1
"""Weight of the latest job in that mean."""
TRIES = 2
HELLO_DEADLINE_S = 240.0
"""Importing torch on a busy host, creating a context, and GpuWorkers' own deadline for it."""
BARREN_STARTS = 3
"""Starts in a row without a hello after which a worker is given up."""


@dataclass(eq=False)
class Job:
    """One call of an actor's method."""

    method: str
    arguments: tuple[Any, ...]
    deadline_s: float
    """Long past the actor's own deadlines: the net under an actor that hangs itself."""
    subject: Any = None
    """What the caller knows it by."""
    tries: int = 0
    """Actors that died with it."""


@dataclass(eq=False)
class Worker:
    """An actor, or its successors, in the driver's books."""

    start: Callable[[], Any]
    """Makes a new actor."""
    actor: Any = None
    hello: Answer = field(default_factory=dict)
    """What it said of itself; empty until then."""
    greeting: Any = None
    """The reference of a hello that is under way."""
    greet_until: float = 0.0
    given: dict[Any, tuple[Job, float]] = field(default_factory=dict)
    """Reference of each job under way, first in first out, with its deadline."""
    starts: int = 0
    """Since the last hello."""
    busy_since: float = 0.0
    """When its running job began, as far as the driver can tell."""
    trouble: str = ""
    """What the last hello ended with, where it was no answer."""
    gone: bool = False
    """Given up."""

    @property
    def ready(self) -> bool:
        return bool(self.hello) and self.greeting is None and not self.gone

    @property
    def holds_suspect(self) -> bool:
        """Whether it has a job that may have killed an actor: such a job is alone, so that it is known who did it."""
        return any(job.tries for job, _ in self.given.values())


class Fleet:
    """Some workers. One caller at a time."""

    def __init__(self, ray: Any, workers: Sequence[Worker]) -> None:
        self._ray, self.workers = ray, list(workers)
        self._mean_s = SHORT_S
        """How long jobs take, smoothed."""
        self.deaths = 0
        """Actors that died under way."""
        self.suits: Callable[[Answer], bool] = lambda hello: True
        """Whether the successor of an actor that died is as good: it may have come up on another host."""

    def greet(self, timeout_s: float = HELLO_DEADLINE_S) -> None:
        """Start every worker that is not there yet and wait for their hellos."""
        for worker in self.workers:
            if worker.actor is None:
                self._start(worker, timeout_s)
        until = time.monotonic() + timeout_s
        while (waiting := [w.greeting for w in self.workers if w.greeting is not None]) and time.monotonic() < until:
            done, _ = self._ray.wait(waiting, timeout=max(0.0, until - time.monotonic()))
            for reference in done:
                self._greeted(reference)

    def keep(self, workers: Iterable[Worker]) -> None:
        """Let all others go."""
        kept = list(workers)
        for worker in self.workers:
            if worker not in kept:
                self._drop(worker)
        self.workers = kept

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Answer]]:
        """Answers as they come. `jobs` is drawn from as workers have room, so it may be endless or slow.

        A job that no actor could do is answered with ``{"status": "infrastructure", "reason": ...}``. Raises
        RuntimeError where our own code fails in an actor."""
        source = iter(jobs)
        again: deque[Job] = deque()
        exhausted = False
        for worker in self.workers:
            worker.given.clear()  # of a caller who left in the middle: nobody waits for the answers
        while True:
            while (free := self._with_room(alone=bool(again))) is not None:
                job = again.popleft() if again else None if exhausted else next(source, None)
                if job is None:
                    exhausted = True
                    break
                self._give(free, job)
            if exhausted and not again and not any(w.given for w in self.workers):
                return
            if self.lost:
                trouble = next((w.trouble for w in self.workers if w.trouble), "")
                reason = f"no worker of the fleet can be had any more{f': {trouble}' if trouble else ''}"
                yield from ((job, lost(reason)) for job in [*again, *source])
                return
            for job, answer in self._events():
                if answer is None:
                    again.append(job)
                else:
                    yield job, answer

    @property
    def lost(self) -> bool:
        """Whether no worker is left, nor about to come back."""
        return not any(w.ready or w.greeting is not None for w in self.workers)

    def on_each(self, job: Job) -> list[tuple[Worker, Answer]]:
        """The answer of every worker that is ready; one that dies over it is left out."""
        asked = [(w, getattr(w.actor, job.method).remote(*job.arguments)) for w in self.workers if w.ready]
        found = []
        for worker, reference in asked:
            try:
                answer = self._ray.get(reference, timeout=job.deadline_s)
                if "gone" in answer:
                    self._died(worker, answer["gone"])
                else:
                    found.append((worker, answer))
            except self._ray.exceptions.RayTaskError as e:
                raise RuntimeError(f"our code failed in an actor:\n{e}") from e
            except self._ray.exceptions.RayError:
                self._died(worker)
        return found

    def close(self) -> None:
        for worker in self.workers:
            self._drop(worker)

    # -- the books

    def _with_room(self, alone: bool) -> Worker | None:
        """The least busy worker that can take a job; an idle one if the job has to be `alone`."""
        depth = 1 if alone or self._mean_s >= SHORT_S else 2
        free = [w for w in self.workers if w.ready and len(w.given) < depth and not w.holds_suspect]
        return min(free, key=lambda w: len(w.given), default=None)

    def _give(self, worker: Worker, job: Job) -> None:
        if not worker.given:
            worker.busy_since = time.monotonic()
        ahead = sum(j.deadline_s for j, _ in worker.given.values())
        reference = getattr(worker.actor, job.method).remote(*job.arguments)
        worker.given[reference] = (job, time.monotonic() + ahead + job.deadline_s)

    def _events(self) -> Iterator[tuple[Job, Answer | None]]:
        """Wait for what happens next; ``None`` for a job that has to be given again."""
        owner = {reference: w for w in self.workers for reference in w.given}
        greetings = [w.greeting for w in self.workers if w.greeting is not None]
        deadlines = [until for w in self.workers for _, until in w.given.values()]
        deadlines += [w.greet_until for w in self.workers if w.greeting is not None]
        patience = max(0.0, min(deadlines) - time.monotonic())
        done, rest = self._ray.wait([*owner, *greetings], timeout=patience)
        if done and rest:
            more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0)
            ready = {*done, *more}
            done = [reference for reference in (*owner, *greetings) if reference in ready]  # answers before deaths
        if not done:
            yield from self._overdue()
        for reference in done:
            if reference not in owner:
                self._greeted(reference)
            elif reference in owner[reference].given:
                yield from self._answered(owner[reference], reference)

    def _answered(self, worker: Worker, reference: Any) -> Iterator[tuple[Job, Answer | None]]:
        try:
            answer: Answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as e:
            raise RuntimeError(f"our code failed in an actor:\n{e}") from e
        except self._ray.exceptions.RayError as e:
            yield from self._died(worker, type(e).__name__)
            return
        if "gone" in answer:
            yield from self._died(worker, answer["gone"])
            return
        job, _ = worker.given.pop(reference)
        now = time.monotonic()
        self._mean_s += SMOOTHING * (now - worker.busy_since - self._mean_s)
        worker.busy_since = now
        yield job, answer

    def _overdue(self) -> Iterator[tuple[Job, Answer | None]]:
        now = time.monotonic()
        for worker in self.workers:
            if any(until <= now for _, until in worker.given.values()):
                yield from self._died(worker, "it did not answer in time")
            elif worker.greeting is not None and worker.greet_until <= now:
                self._drop(worker)

    def _died(self, worker: Worker, why: str = "") -> Iterator[tuple[Job, Answer | None]]:
        """The actor is no more, and each of the jobs that it was given may be why."""
        self.deaths += 1
        jobs = [job for job, _ in worker.given.values()]
        worker.given.clear()
        self._ray.kill(worker.actor, no_restart=True)
        worker.hello, worker.trouble = {}, why
        self._start(worker)
        events: list[tuple[Job, Answer | None]] = []
        for job in jobs:
            job.tries += 1
            failed = lost(f"its worker died {job.tries} times ({why})") if job.tries >= TRIES else None
            events.append((job, failed))
        return iter(events)

    def _start(self, worker: Worker, timeout_s: float = HELLO_DEADLINE_S) -> None:
        if worker.starts >= BARREN_STARTS:
            self._drop(worker)
            return
        worker.starts += 1
        worker.actor = worker.start()
        worker.greeting = worker.actor.hello.remote()
        worker.greet_until = time.monotonic() + timeout_s

    def _greeted(self, reference: Any) -> None:
        worker = next(w for w in self.workers if w.greeting is not None and w.greeting == reference)
        worker.greeting = None
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as e:
            raise RuntimeError(f"our code failed in an actor:\n{e}") from e
        except self._ray.exceptions.RayError as e:
            worker.trouble = str(e).strip().splitlines()[-1]
            self._start(worker)
            return
        worker.hello, worker.starts = answer, 0
        if "missing" in answer:
            worker.trouble = answer["missing"]
        if "missing" in answer or not self.suits(answer):
            self._drop(worker)

    def _drop(self, worker: Worker) -> None:
        worker.gone, worker.greeting = True, None
        if worker.actor is not None:
            self._ray.kill(worker.actor, no_restart=True)


def lost(reason: str) -> Answer:
    return {"status": "infrastructure", "reason": reason}
