"""How hard a reasoning model thinks: the values that the OpenAI protocol knows, and where one is read from."""

from __future__ import annotations

import os
from typing import Literal, get_args

from agent.errors import UsageError

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
VARIABLE = "AUTOKERNEL_EFFORT"


def read_effort(option: str | None) -> Effort | None:
    """``--effort``, else AUTOKERNEL_EFFORT; ``None`` leaves the effort to the model. Raises UsageError for any other
    word."""
    named = (option or os.environ.get(VARIABLE) or "").strip().lower()
    found = next((effort for effort in EFFORTS if effort == named), None)
    if named and found is None:
        raise UsageError(f"There is no effort {named!r}: --effort and {VARIABLE} take one of {', '.join(EFFORTS)}.")
    return found
