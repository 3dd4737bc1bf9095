"""A run as read from its trace: turns with their tool calls, attempts in the order they were measured, turning points.

:mod:`agent.export.reader` reads it from the recorded events. Text in it (from models, kernels, compilers) is data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.goal.objective import Objective, Setting
from agent.loop.outcome import Outcome
from agent.trace.trace import JSON
from tools.declaration import UNDECLARED, Declaration


@dataclass
class Call:
    """One tool call; `began` and `seconds` count from the first event."""

    id: str
    name: str
    arguments: JSON
    began: float
    declared: Declaration = UNDECLARED
    """The tool's declaration."""
    result: JSON | None = None
    """``None`` if the run ended before the answer."""
    seconds: float = 0.0

    @property
    def error(self) -> str | None:
        return None if self.result is None or "error" not in self.result else str(self.result["error"])


@dataclass
class Turn:
    """One message of the model, and the tool calls it made."""

    number: int
    """Counted from 1, as in the progress lines."""
    at: str
    began: float
    model: str = ""
    words: str = ""
    asked: list[JSON] = field(default_factory=list)
    """The messages that were new to the model in this turn."""
    message: JSON | None = None
    response: JSON = field(default_factory=dict)
    """The whole body of the response: tokens, cost, finish reason."""
    usage: Any = None
    tokens: int = 0
    seconds: float = 0.0
    calls: list[Call] = field(default_factory=list)


@dataclass
class Attempt:
    """One evaluation: a config that was measured for the first time."""

    number: int
    turn: int
    call: str
    config: JSON
    status: str
    reason: str
    ms: float | None
    ci_ms: list[float] | None
    record: bool = False
    """Whether it was the fastest so far."""
    why: str = ""
    """The proposal's reason, if a planner proposed the config."""
    predicted_ms: float | None = None
    compiled: JSON = field(default_factory=dict)


@dataclass
class Point:
    """A turning point: an event that changed the course of the run."""

    turn: int
    kind: str
    text: str


@dataclass
class Story:
    """A whole run."""

    header: JSON
    objective: Objective
    setting: Setting
    turns: list[Turn] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    proofs: list[JSON] = field(default_factory=list)
    spans: list[tuple[str, float, float, str]] = field(default_factory=list)
    """(activity, began, seconds, what) for the time line."""
    outcome: Outcome | None = None
    stopped: str = ""
    seconds: float = 0.0
    proposed: int = 0
    compile_failures: dict[str, int] = field(default_factory=dict)
    """Reason → number of configs that did not compile for it."""
    torn: bool = False
    broken: int | None = None

    @property
    def run(self) -> str:
        return str(self.header.get("run"))

    @property
    def best(self) -> Attempt | None:
        return next((a for a in reversed(self.attempts) if a.record), None)


def rows(result: JSON, name: str) -> Iterator[JSON]:
    """The rows of a result that name a config."""
    found = result.get(name)
    for row in found if isinstance(found, list) else ():
        if isinstance(row, dict) and isinstance(row.get("config"), dict):
            yield row


def key(row: JSON) -> str:
    return json.dumps(row["config"], sort_keys=True)


def number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def detail(result: JSON) -> str:
    found = result.get("why") or result.get("problems") or ""
    return "; ".join(map(str, found)) if isinstance(found, list) else str(found)


def named(config: JSON) -> str:
    """A config on one line."""
    return " ".join(f"{name}={value}" for name, value in config.items())


def changed(before: JSON, after: JSON) -> str:
    """The differences between two configs, as ``GROUP_M 8 → 4``."""
    names = [*before, *(name for name in after if name not in before)]
    parts = [f"{n} {before.get(n)} → {after.get(n)}" for n in names if before.get(n) != after.get(n)]
    return ", ".join(parts) or "nothing"
