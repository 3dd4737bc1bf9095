"""Errors that are not the agent's; each message is one sentence for the user."""

from __future__ import annotations


class EvalsError(Exception):
    """Wrong use: an unknown agent, a file that cannot be read."""


class Missing(EvalsError):
    """An agent cannot run: its library, its file or its model's endpoint is missing."""
