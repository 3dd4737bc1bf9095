"""Asks a person before configs run on the device: yes, no, or an edited batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from agent.errors import AgentError
from agent.trace.trace import JSON
from memory.terms import count_of, printable

Ask = Callable[[JSON], JSON]
"""From batches (``{"key", "batches": [{"id", "tool", "arguments"}]}``) to answers by call id."""

CHOICES = "Run this batch? [yes/no/edit] "
HOW_TO_EDIT = "Numbers to keep (such as 1 3), or a JSON list of configs: "


def ask_person(question: JSON, read: Callable[[str], str], say: Callable[[str], None]) -> JSON:
    """The answers to `question`; `read` prompts and returns a line, and raises EOFError where there is none."""
    answers: JSON = {}
    for batch in question["batches"]:
        configs = batch["arguments"].get("configs")
        configs = configs if isinstance(configs, list) else [batch["arguments"]]
        say(f"{batch['tool']} wants to run {count_of(len(configs), 'config')}:")
        for number, config in enumerate(configs, start=1):
            say(f"  {number}. {format_config(config)}")
        try:
            answers[batch["id"]] = ask_verdict(configs, read, say)
        except EOFError as e:
            raise AgentError("--approve waits for an answer and the input ended: resume in a terminal.") from e
    return {"answers": answers}


def ask_verdict(configs: list[Any], read: Callable[[str], str], say: Callable[[str], None]) -> JSON:
    """Ask until the answer is yes, no or an edit that can be read."""
    while True:
        word, _, rest = read(CHOICES).strip().partition(" ")
        word = word.lower()
        if word in ("y", "yes"):
            return {"verdict": "yes"}
        if word in ("n", "no"):
            return {"verdict": "no"}
        if word in ("e", "edit"):
            text = rest.strip() or read(HOW_TO_EDIT).strip()
            try:
                return {"verdict": "edit", "arguments": {"configs": parse_edit(text, configs)}}
            except ValueError as e:
                say(f"  {e}")
                continue
        say("  Answer yes, no or edit.")


def parse_edit(text: str, configs: list[Any]) -> list[Any]:
    """The configs that `text` selects or states. Raises ValueError with one sentence."""
    if text.startswith(("[", "{")):
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise ValueError(f"That is no JSON: {e}.") from e
        found = given if isinstance(given, list) else [given]
        if not found or not all(isinstance(config, dict) for config in found):
            raise ValueError("That is no list of configs, such as [{...}, {...}].")
        return found
    numbers = text.replace(",", " ").split()
    if not numbers or not all(n.isdecimal() and 1 <= int(n) <= len(configs) for n in numbers):
        raise ValueError(f"Give numbers from 1 to {len(configs)}, or a JSON list of configs.")
    return [configs[int(n) - 1] for n in dict.fromkeys(numbers)]


def format_config(config: Any) -> str:
    """A config on one line, without control characters, because it is a model's text."""
    if not isinstance(config, dict):
        return repr(config)
    line = " ".join(f"{name}={value}" for name, value in config.items())
    return printable(line, "?")[:300]
