"""Variants that a run made and never measured, because the search ended before."""

from __future__ import annotations

from collections.abc import Sequence

from agent.models.base import Message, ToolSchema, done_calls
from agent.models.embedded import EDIT
from memory.terms import variant_of


def unmeasured_variants(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> list[str]:
    """Their hashes, in the order in which they were made. A variant that does not compile, or that the interpreter
    found wrong, was not to be measured."""
    made: dict[str, None] = {}
    measured: set[str] = set()
    for call in done_calls(messages, tools):
        if call.name == EDIT:
            if call.result.get("next"):
                made[str(call.result.get("variant"))] = None
            rows = [row for row in call.result.get("variants", ()) if isinstance(row, dict)]
            made |= {str(row["variant"]): None for row in rows if row.get("configs")}
        elif call.declared.returns == "measurements":
            measured |= {variant_of(row["config"]) for row in call.result.get("results", ())}
    return [name for name in made if name not in measured]


def describe_unmeasured(names: Sequence[str], stopped: str) -> str:
    """The sentence about them; `stopped`: why the search ended."""
    which = f"variant {names[0]} was" if len(names) == 1 else f"the variants {', '.join(names)} were"
    return f"{which} made and not measured: {stopped}"
