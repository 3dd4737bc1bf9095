"""How long a language model's answers are waited for, and how long they may be."""

from __future__ import annotations

import os

from pydantic import Field, ValidationError

from agent.errors import UsageError
from agent.goal.limits import LONGEST
from memory.shared_models import Closed

ATTEMPT = 300.0
PATIENCE = 600.0
VARIABLES = {
    "attempt_seconds": "AUTOKERNEL_ATTEMPT_SECONDS",
    "patience_seconds": "AUTOKERNEL_PATIENCE_SECONDS",
    "reply_tokens": "AUTOKERNEL_REPLY_TOKENS",
}
"""Where a limit stands in the environment; an option goes before it."""


class Waiting(Closed):
    """Limits of one answer."""

    attempt_seconds: float = Field(default=ATTEMPT, gt=0, le=LONGEST)
    """Seconds of one try. An answer that is streamed may take longer, as long as it is not silent for so long."""
    patience_seconds: float = Field(default=PATIENCE, gt=0, le=LONGEST)
    """Seconds in which a failed try is repeated."""
    reply_tokens: int | None = Field(default=None, ge=256)
    """Tokens of an answer at most; ``None`` leaves it to the endpoint's default."""


def waiting_of(
    attempt_seconds: float | None = None, patience_seconds: float | None = None, reply_tokens: int | None = None
) -> Waiting:
    """The limits that were given, else those of the environment's VARIABLES; the rest are the defaults. Raises
    UsageError for a variable that holds none."""
    given = {"attempt_seconds": attempt_seconds, "patience_seconds": patience_seconds, "reply_tokens": reply_tokens}
    found = {name: value for name, value in given.items() if value is not None}
    for name, variable in VARIABLES.items():
        text = os.environ.get(variable, "").strip()
        if text and name not in found:
            try:
                found |= Waiting.model_validate({name: text}).model_dump(include={name})
            except ValidationError as e:
                unit = "a number of tokens from 256 on" if name == "reply_tokens" else "a number of seconds above 0"
                raise UsageError(f"{variable}={text} in the environment is not {unit}.") from e
    return Waiting.model_validate(found)
