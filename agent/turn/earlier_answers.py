"""What earlier calls of a run were answered: which call repeats one, and which configs the user declined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from agent.models.base import Message, parse_arguments
from agent.trace.trace import JSON
from agent.turn.calls import call_signature

CHANGING = (
    "evaluations_left",
    "more_for_proposals_of_suggest_configs",
    "best",
    "repaired",
    "repeats",
    "left_out",
    "seconds",
)
"""Fields of an answer that change although its call brought nothing new."""


def answered_calls(messages: Sequence[Message]) -> Iterator[tuple[JSON, JSON]]:
    """Each call that has an answer, with the answer, in order."""
    answers = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    for message in messages:
        for call in message.get("tool_calls") or ():
            if call["id"] in answers:
                yield call, json.loads(answers[call["id"]])


def answers_by_call(messages: Sequence[Message]) -> dict[tuple[str, str], JSON]:
    """The last answer to each different call, without what a repetition changes."""
    return {call_signature(call): lasting(answer) for call, answer in answered_calls(messages)}


def lasting(answer: JSON) -> JSON:
    """An answer without what a repetition of its call changes."""
    return {name: value for name, value in answer.items() if name not in CHANGING}


def declined_configs(messages: Sequence[Message]) -> list[JSON]:
    """The configs that the user did not let run."""
    refused = [call for call, answer in answered_calls(messages) if answer.get("error") == "refused"]
    return [config for call in refused for config in call_configs(call)]


def call_configs(call: JSON) -> list[JSON]:
    """The configs in a call's arguments."""
    configs = parse_arguments(call["function"]["arguments"])[0].get("configs")
    return [c for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
