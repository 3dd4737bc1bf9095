"""An MCP client in the place of a chat model.

The loop runs in a thread of its own and asks a :class:`ClientModel` for the next message like any chat model
(``respond``). The ClientModel waits for the next call of a client and turns it into a message. The client gets its
answer as soon as the tool has answered (``record_answer``); the answer to ``finish`` comes after the proof. Calls run
one after another, because timings must not overlap.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError
from agent.loop.outcome import render, replay_command
from agent.loop.progress import LineWatch
from agent.models.base import CLIENT, Message, Reply, ToolSchema, call_tool

if TYPE_CHECKING:
    from agent.goal.objective import Setting
    from agent.loop.actions import Actions
    from agent.loop.run import Ended

JSON = dict[str, Any]
FINISH = "finish"


@dataclass
class Call:
    """One call of a client and what it waits for."""

    name: str
    arguments: JSON
    client: str
    answer: Future[JSON] = field(default_factory=Future)


class ClientModel(LineWatch):
    """A chat model and a watch in one. Any thread may call ``ask`` and ``stop``; the loop's thread calls the rest.

    `write` gets the lines of the progress."""

    name = CLIENT

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__(write)
        self.tools: list[ToolSchema] = []
        self.setting: Setting | None = None
        self.ready = threading.Event()
        """Set once calls are taken, or the run has failed."""
        self.failed: AgentError | None = None
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._current: Call | None = None
        self._outcome: JSON | None = None

    # Called for clients.

    def ask(self, name: str, arguments: JSON, client: str) -> Future[JSON]:
        """Queue a call; its answer is the future's result."""
        call = Call(name, arguments, client)
        with self._lock:
            if self._outcome is None:
                self._calls.put(call)
                return call.answer
        call.answer.set_result(self._answer_after_end(call))
        return call.answer

    def stop(self) -> None:
        """No more calls will come: the run stops and can be resumed."""
        self._calls.put(None)

    # Called by the loop, in its thread.

    def describe(self, actions: Actions) -> Actions:
        """Keep setting and tools of the opened run for the server; returns `actions`."""
        self.setting, self.tools = actions.setting, actions.tools
        return actions

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        """The client's next call as a message. If the loop asks again after ``finish``, the search goes on."""
        if self._current is not None:
            why = str(messages[-1]["content"]) if messages[-1]["role"] == "user" else "the search goes on"
            hint = {"to_finish_all_the_same": "call finish again"} if self.standing.evaluations else {}
            self._settle({"finished": False, "why": why, **hint})
        self.ready.set()
        call = self._calls.get()
        while call is not None and call.answer.cancelled():
            call = self._calls.get()
        if call is None:
            raise KeyboardInterrupt
        self._current = call
        if call.name == FINISH:
            words = call.arguments.get("summary")
            content = words if isinstance(words, str) and words.strip() else "The client asks to end the search."
            return Reply({"role": "assistant", "content": content[:2000]}, usage=0, model=call.client)
        message = {"role": "assistant", "content": None, "tool_calls": [call_tool(call.name, call.arguments)]}
        return Reply(message, usage=0, model=call.client)

    def record_answer(self, name: str, result: JSON, setting: Setting) -> None:
        super().record_answer(name, result, setting)
        self._settle(result)

    def end(self, ended: Ended) -> None:
        """The run is over, because of ``finish`` or of its budget."""
        outcome = ended.outcome
        text = render(outcome, ended.setting, replay_command(outcome.trace))
        verdict = {"proven": outcome.proven, "verdict": outcome.verdict, "against": outcome.against}
        self._close({"finished": True, **verdict, "report": text, "outcome": outcome.model_dump()})

    def fail(self, error: AgentError) -> None:
        """The run could not go on."""
        self.failed = error
        self._close({"error": "stopped", "why": str(error)})
        self.ready.set()

    def _settle(self, result: JSON) -> None:
        call, self._current = self._current, None
        if call is not None and call.answer.set_running_or_notify_cancel():
            call.answer.set_result(result)

    def _close(self, outcome: JSON) -> None:
        with self._lock:
            self._outcome = outcome
        self._settle(outcome)
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            if call is not None and call.answer.set_running_or_notify_cancel():
                call.answer.set_result(self._answer_after_end(call))

    def _answer_after_end(self, call: Call) -> JSON:
        """The answer to a call after the end of the run: the outcome for ``finish``, a typed refusal for the rest."""
        assert self._outcome is not None
        if call.name == FINISH or "error" in self._outcome:
            return self._outcome
        return {"error": "ended", "why": "the run is over and its result proven or not: finish tells it once more"}
