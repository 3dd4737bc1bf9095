"""A player that sends given edits through ``edit_kernel``, as a model would, once the owner's code is measured.

All else it leaves to the embedded planner. Of a source task it sends the known form; of a trap what the trap tempts to.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from agent.models.base import Done, Message, Reply, ToolSchema, call_tool, done_calls
from agent.models.embedded import EDIT, MEASURE, budget, compiles_at_once, finalists, next_move
from evals.source.source_tasks import form_of, slow_kernel
from memory.terms import variant_of

MOST_CONFIGS = 24
"""Of an edit that are measured at once."""


class FormSender:
    """Implements :class:`agent.models.base.ChatModel`."""

    name = "known-form"

    def __init__(self, arguments: Mapping[str, Any] | None, options: Mapping[str, Sequence[int]] | None = None) -> None:
        """`arguments`: of ``edit_kernel``; None to edit nothing. `options`: values of the owner's config that are tried
        with the edit, beside those of the owner's fastest configs."""
        self._arguments, self._options = None if arguments is None else dict(arguments), dict(options or {})

    @classmethod
    def of_task(cls, task: str) -> FormSender:
        return cls(form_of(task).arguments_for(slow_kernel(task).function.__name__))

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
        if self._arguments is None:
            return None
        edits = [call for call in done if call.name == EDIT]
        if not edits and any(call.name == MEASURE for call in done):
            return call_tool(EDIT, self._arguments)
        if not edits or done[-1] is not edits[-1] or "config" not in edits[-1].result:
            return None
        configs = self._configs(self._arguments, edits[-1].result["config"], finalists(done))
        return call_tool(MEASURE, {"configs": configs})

    def _configs(
        self, edit: Mapping[str, Any], config: dict[str, Any], owners: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Configs of the edit: the values of its constants, each with the options and with the owner's fastest."""
        variant = variant_of(config)
        meta = {m["name"]: m["values"] for m in edit["meta_parameters"]}
        rows = itertools.product(*([f"{n}={v}" for v in values] for n, values in meta.items()))
        texts = [" ".join([variant, *row]) for row in rows]
        # A limit on registers was chosen for the owner's code.
        free = {"maxnreg": None} if "maxnreg" in config else {}
        own = [dict(zip(self._options, row, strict=True)) for row in itertools.product(*self._options.values())]
        bases = [{**config, **free, **values} for values in own if values] or [*owners, config]
        configs = [{**base, "edit": text} for text in texts for base in bases]
        unlike = [c for i, c in enumerate(configs) if c not in configs[:i]]
        return unlike[:: max(1, -(-len(unlike) // MOST_CONFIGS))]
