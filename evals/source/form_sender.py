"""A player that knows the better form of each task and sends it through ``edit_kernel``, as a model would; of a trap it
sends what the trap tempts to. All else it leaves to the embedded planner."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from agent.models.base import Done, Message, Reply, ToolSchema, call_tool, done_calls
from agent.models.embedded import EDIT, MEASURE, budget, compiles_at_once, finalists, next_move
from evals.source.source_tasks import form_of, slow_kernel

MOST_CONFIGS = 16
"""Of the form that are measured at once."""


class FormSender:
    """Implements :class:`agent.models.base.ChatModel`."""

    name = "known-form"

    def __init__(self, task: str) -> None:
        self._form = form_of(task)
        self._function: str = slow_kernel(task).function.__name__

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema], seconds: float, tokens: int | None = None
    ) -> Reply:
        done = list(done_calls(messages, tools))
        call = self._next_call(done)
        if call is None:
            words, calls = next_move(done, budget(messages), at_once=compiles_at_once(messages))
        else:
            words, calls = "The known form.", [call]
        message: Message = {"role": "assistant", "content": words}
        if calls:
            message["tool_calls"] = calls
        return Reply(message, usage=0)

    def _next_call(self, done: Sequence[Done]) -> dict[str, Any] | None:
        """The edit once the owner's code is measured, and then measurements of the edit."""
        edits = [call for call in done if call.name == EDIT]
        if not edits and any(call.name == MEASURE for call in done):
            return call_tool(EDIT, self._form.arguments_for(self._function))
        if not edits or done[-1] is not edits[-1] or "config" not in edits[-1].result:
            return None
        config = edits[-1].result["config"]
        variant = config["edit"].partition(" ")[0]
        rows = itertools.product(*([f"{n}={v}" for v in values] for n, values in self._form.meta.items()))
        texts = [" ".join([variant, *row]) for row in rows]
        bases = [*finalists(done), config]
        configs = [{**base, "edit": text} for text in texts for base in bases]
        unlike = [c for i, c in enumerate(configs) if c not in configs[:i]]
        return call_tool(MEASURE, {"configs": unlike[:MOST_CONFIGS]})
