"""How long a language model's answers are waited for, and how long they may be."""

from __future__ import annotations

from pydantic import Field

from memory.shared_models import Closed

ATTEMPT = 300.0
PATIENCE = 600.0


class Waiting(Closed):
    """Limits of one answer."""

    attempt_seconds: float = Field(default=ATTEMPT, gt=0)
    """Seconds of one try. An answer that is streamed may take longer, as long as it is not silent for so long."""
    patience_seconds: float = Field(default=PATIENCE, gt=0)
    """Seconds in which a failed try is repeated."""
    reply_tokens: int | None = Field(default=None, ge=256)
    """Tokens of an answer at most; ``None`` leaves it to the endpoint's default."""


def waiting_of(attempt_seconds: float | None, patience_seconds: float | None, reply_tokens: int | None) -> Waiting:
    """The limits that were given; the rest are the defaults."""
    given = {"attempt_seconds": attempt_seconds, "patience_seconds": patience_seconds, "reply_tokens": reply_tokens}
    return Waiting.model_validate({name: value for name, value in given.items() if value is not None})
