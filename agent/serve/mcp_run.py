"""One run from the first call of a client to the last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import AgentError
from agent.serve.client_model import Desk

if TYPE_CHECKING:
    from agent.goal.objective import Objective
    from agent.loop.actions import Hands
    from agent.loop.run import Ended, Notify


class Run:
    """The loop in a thread, with the desk as its model."""

    def __init__(self, start: Callable[[Desk], Ended]) -> None:
        self.desk = Desk()
        self._start = start
        self._thread = threading.Thread(target=self._work, name="run")

    @classmethod
    def new(cls, objective: Objective, memory: Path | None, notify: Notify, notices: list[str]) -> Run:
        """A run from its first turn."""
        from agent.loop.run import begin, open_hands

        def start(desk: Desk) -> Ended:
            def open_(objective: Objective, memory: Path | None, run_id: str, notify: Notify) -> Hands:
                return desk.opened(open_hands(objective, memory, run_id, notify))

            return begin(objective, memory, None, notify, open_, notices=notices, watch=desk, model=desk)

        return cls(start)

    @classmethod
    def resumed(cls, run: str, notify: Notify) -> Run:
        """A run that was stopped, from where it was."""
        from agent.loop.run import open_hands, resume

        def start(desk: Desk) -> Ended:
            def open_(objective: Objective, memory: Path | None, run_id: str, notify: Notify) -> Hands:
                return desk.opened(open_hands(objective, memory, run_id, notify))

            return resume(run, notify, open_, watch=desk, model=desk)

        return cls(start)

    def __enter__(self) -> Desk:
        """The desk, open for calls. Raises AgentError where the run cannot be opened."""
        self._thread.start()
        self.desk.ready.wait()
        if self.desk.failed is not None:
            raise self.desk.failed
        return self.desk

    def __exit__(self, *exc: object) -> None:
        self.desk.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            ended = self._start(self.desk)
        except AgentError as e:
            self.desk.broke(e)
        except BaseException as e:
            self.desk.broke(AgentError(f"The run failed ({type(e).__name__}: {e})."))
            raise
        else:
            self.desk.ended(ended)
