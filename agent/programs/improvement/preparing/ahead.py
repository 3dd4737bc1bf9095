"""Makes the float64 references of the next launches, and starts the processes that the next runs will need."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from tools.harness.checking.float64.promoted_reference import DEADLINE_S, PromotingInterpreter, Reference
from tools.harness.process.prestart import Prestart

CORES_EACH = 4
"""One reference is made at a time for so many cores: the compilers need the others."""
MOST_AT_ONCE = 4
"""References at most, each of which may hold gigabytes of float64."""


class Ahead:
    """Works on the launches of one capture in the order in which they are expected."""

    def __init__(
        self, capture: str, seed: int, device: str | None, edits: bool = False, deadline_s: float = DEADLINE_S
    ) -> None:
        """`seed` makes the arguments of the references. `device`: the GPU of the runs; None if nothing is timed.
        `edits`: whether the runs may edit device code. `deadline_s`: seconds that one reference may take."""
        self._deadline_s = deadline_s
        self._edits = edits
        self._capture, self._seed, self._device = capture, seed, device
        self.at_once = max(1, min(MOST_AT_ONCE, len(os.sched_getaffinity(0)) // CORES_EACH))
        """References that are made at once."""
        self._interpreters = [PromotingInterpreter() for _ in range(self.at_once)]
        self._idle: queue.SimpleQueue[PromotingInterpreter] = queue.SimpleQueue()
        for interpreter in self._interpreters:
            self._idle.put(interpreter)
        self._threads = ThreadPoolExecutor(self.at_once, thread_name_prefix="reference")
        self._references: dict[tuple[str, int], Future[Reference]] = {}
        self._processes: list[Prestart] = []
        """Those that wait, of one run each."""

    def begin(self, launches: int = 1) -> None:
        """Start everything that imports for so many launches, before it is known which comes first."""
        for interpreter in self._interpreters[:launches]:
            interpreter.start()
        self.start_processes()
        if self._device is not None:
            threading.Thread(target=_import_the_loop, name="imports", daemon=True).start()

    def expect(self, launches: Iterable[str]) -> None:
        """Begin the references of these launches."""
        for launch in launches:
            self._begin(launch)

    def start_processes(self, runs: int = 1) -> None:
        """Start the processes of the next runs, whichever launches they are for, unless so many wait already."""
        while self._device is not None and len(self._processes) < runs:
            self._processes.append(Prestart.of(self._device, self._edits))

    def reference(self, launch: str, damped: int = 0) -> Reference:
        """The launch's float64 reference on arguments that are damped so often; waits for it."""
        return self._begin(launch, damped).result()

    def take_processes(self) -> Prestart | None:
        """Processes that were started for a run, which then owns them."""
        return self._processes.pop(0) if self._processes else None

    def _begin(self, launch: str, damped: int = 0) -> Future[Reference]:
        if (launch, damped) not in self._references:
            self._references[launch, damped] = self._threads.submit(self._make, launch, damped)
        return self._references[launch, damped]

    def _make(self, launch: str, damped: int) -> Reference:
        interpreter = self._idle.get()
        try:
            return interpreter.reference(self._capture, launch, self._seed, self._deadline_s, damped)
        finally:
            self._idle.put(interpreter)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for interpreter in self._interpreters:
            interpreter.close()
        self._threads.shutdown()
        while self._processes:
            self._processes.pop().close()


def _import_the_loop() -> None:
    """What each run needs, a second or two of imports, while this process waits for its children."""
    import langgraph.graph  # noqa: F401

    import tools.session.open_session  # noqa: F401
    from tools.planner.surrogate import one_thread

    # The first time, BLAS is looked for among the loaded libraries. glibc holds a lock meanwhile that an import in
    # another thread needs, which holds Python's: so not among searches that import.
    with one_thread():
        pass
