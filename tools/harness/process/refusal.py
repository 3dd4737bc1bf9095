"""How a child process refuses what it cannot do, with one sentence that its parent can show."""

from __future__ import annotations


class Refusal(ValueError):
    """A child cannot be set up, or cannot do a job, and nothing of ours is broken. The message is one sentence."""
