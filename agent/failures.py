"""Why a run has nothing to prove: the reason that its configs failed with, by the harness's answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.models.base import Message, ToolSchema, done_calls
from memory.patterns import cause
from memory.terms import printable

FIRST_STATES = ("compilations", "checks", "measurements")
REASON_CHARS = 400


@dataclass(frozen=True)
class Failures:
    """What configs of a run failed with."""

    headline: str = ""
    """One sentence about what all of them failed with; empty if nothing was tried or something did not fail."""
    infrastructure: bool = False
    """Whether no config is to blame for any of them."""
    wrong: tuple[dict[str, Any], ...] = ()
    """Configs whose results were wrong, whatever became of the others: ``config`` and ``reason``."""


def failures_in(messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Failures:
    """What all configs failed with, from the answers in `messages`. A reason that all of them share comes first and
    whole; of several reasons the most frequent."""
    latest: dict[str, tuple[str, str]] = {}
    for call in done_calls(messages, tools):
        if call.declared.returns in FIRST_STATES:
            for row in call.result.get("results", ()):
                latest[key_of(row)] = (str(row.get("status")), str(row.get("reason") or ""))
    wrong = tuple(
        {"config": json.loads(key), "reason": printable(reason, " ")[:REASON_CHARS]}
        for key, (status, reason) in latest.items()
        if status == "correctness"
    )
    if not latest or any(status == "correct" for status, _ in latest.values()):
        return Failures(wrong=wrong)
    groups = Counter(cause(*found) for found in latest.values())
    name, count = groups.most_common(1)[0]
    status, reason = next(found for found in latest.values() if cause(*found) == name)
    told = printable(f"{status}: {reason}" if reason else status, " ")[:REASON_CHARS].rstrip(". ")
    if len(latest) == 1:
        headline = f"the only config that was tried failed: {told}"
    elif len(groups) == 1:
        headline = f"all {len(latest)} configs failed alike: {told}"
    else:
        headline = f"all {len(latest)} configs failed, {count} of them with {told}"
    return Failures(headline, all(status == "infrastructure" for status, _ in latest.values()), wrong)


def key_of(row: dict[str, Any]) -> str:
    return json.dumps(row.get("config"), sort_keys=True)
