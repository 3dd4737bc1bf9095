"""What the loop carries from node to node: plain state, which is checkpointed, and the context, which never is."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from agent.goal.objective import Objective
from agent.loop.actions import Actions
from agent.loop.progress import Watch
from agent.models.base import ChatModel, Message
from agent.trace.trace import JSON, Journal
from agent.turn.words import Spoke
from agent.verdict.judgement import EVERY_CODE


class State(TypedDict):
    """What a checkpoint holds."""

    messages: Annotated[list[Message], operator.add]
    turn: int
    """Messages so far, whoever wrote them."""
    model_calls: int
    """Messages asked of the language model."""
    tokens: int
    cost: float
    """US dollars."""
    tokens_per_estimate: float
    """How many tokens the endpoint counted for each one estimated, in the last prompt."""
    spoke: Spoke
    dropped: int
    """Calls of the last message that were too many."""
    corrected: dict[str, list[str]]
    """What was corrected in the calls of the last message, by call id."""
    slips: list[str]
    """What was wrong with each of the turns in a row that brought no new tool result."""
    measured: int
    """Configs measured when the last turn began."""
    idle: int
    """Turns in a row without a measurement."""
    closing: int
    """Turns since the evaluations ran out."""
    pressed: bool
    """Whether the model was told that much is left to spend."""
    takeover: str
    """Why the embedded planner decides; empty while the model does."""
    finishing: bool
    """Whether the planner decides until the end."""
    took_over: list[str]
    """Why the planner took over, each time that it did."""
    taken_at: int
    """Evaluations spent when the planner took over last."""
    model_seconds: float
    """Seconds of the language model's answers."""
    stop: str
    """Why the search ended; empty while it goes on."""
    proofs: list[JSON]
    searched: float
    """Seconds from the run's beginning to the end of the search."""
    level: list[JSON]
    """The configs within noise of the fastest, in the order in which they are tried."""
    outcome: JSON


@dataclass(frozen=True)
class Context:
    """What a run works with; never in a checkpoint."""

    objective: Objective
    model: ChatModel
    actions: Actions
    journal: Journal
    run_id: str
    trace_path: str
    elapsed: Callable[[], float]
    """Seconds since the run began."""
    watch: Watch = field(default_factory=Watch)
    """Receives the progress."""
    opening: Sequence[Message] | None = None
    """The first messages as a trace recorded them; ``None`` for those of today's prompt."""
    rule: int = EVERY_CODE
    """By which the run is judged (:mod:`agent.verdict.judgement`)."""
    says: Mapping[int, str] = field(default_factory=dict)
    """What the user says before a turn, by turn: the words given to a fork."""


def fresh(messages: list[Message]) -> State:
    """The state before the first turn."""
    return {
        "messages": messages,
        "turn": 0,
        "model_calls": 0,
        "tokens": 0,
        "cost": 0.0,
        "tokens_per_estimate": 1.5,  # on the safe side until the endpoint has counted once
        "spoke": "",
        "dropped": 0,
        "corrected": {},
        "slips": [],
        "measured": 0,
        "idle": 0,
        "closing": 0,
        "pressed": False,
        "takeover": "",
        "finishing": False,
        "took_over": [],
        "taken_at": 0,
        "model_seconds": 0.0,
        "stop": "",
        "proofs": [],
        "level": [],
        "searched": 0.0,
        "outcome": {},
    }
