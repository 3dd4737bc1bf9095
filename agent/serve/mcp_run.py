"""One run from the first call of a client to the last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import AgentError
from agent.serve.client_model import ClientModel

if TYPE_CHECKING:
    from agent.goal.objective import Objective
    from agent.loop.actions import Actions
    from agent.loop.progress import Watch
    from agent.loop.run import Ended, OpenActions


class Run:
    """The loop in a thread, with the client as its model."""

    def __init__(self, start: Callable[[ClientModel], Ended], write: Callable[[str], object]) -> None:
        """`start` begins or resumes the run with the client as model and watch; `write` gets the progress lines."""
        self.client = ClientModel(write)
        self._start = start
        self._thread = threading.Thread(target=self._work, name="run")

    @classmethod
    def new(cls, objective: Objective, memory: Path | None, write: Callable[[str], object], notices: list[str]) -> Run:
        """A run from its first turn."""
        from agent.loop.run import begin

        def start(client: ClientModel) -> Ended:
            return begin(objective, memory, None, client, open_for(client), notices=notices, model=client)

        return cls(start, write)

    @classmethod
    def resumed(cls, run: str, write: Callable[[str], object]) -> Run:
        """A run that was stopped, from where it was."""
        from agent.loop.run import resume

        return cls(lambda client: resume(run, client, open_for(client), model=client), write)

    def __enter__(self) -> ClientModel:
        """The client, open for calls. Raises AgentError if the run cannot be opened."""
        self._thread.start()
        self.client.ready.wait()
        if self.client.failed is not None:
            raise self.client.failed
        return self.client

    def __exit__(self, *exc: object) -> None:
        self.client.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            ended = self._start(self.client)
        except AgentError as e:
            self.client.fail(e)
        except BaseException as e:
            self.client.fail(AgentError(f"The run failed ({type(e).__name__}: {e})."))
            raise
        else:
            self.client.end(ended)


def open_for(client: ClientModel) -> OpenActions:
    """Opens a session whose setting and tools `client` serves."""
    from agent.loop.run import open_actions

    def open_(objective: Objective, memory: Path | None, run_id: str, watch: Watch) -> Actions:
        return client.describe(open_actions(objective, memory, run_id, watch))

    return open_
