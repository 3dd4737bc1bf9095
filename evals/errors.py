"""What goes wrong in a way that is not the agent's doing; each message is one sentence for the user."""

from __future__ import annotations


class EvalsError(Exception):
    """Wrong use: an unknown agent, a file that cannot be read."""


class Missing(EvalsError):
    """What an agent needs is not there: an optional library, its model's endpoint."""
