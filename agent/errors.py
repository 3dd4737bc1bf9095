"""Errors that end a command with one sentence for the user, and the exit code that goes with each."""

from __future__ import annotations

PROVEN = 0
"""A proven improvement."""
FAILED = 1
"""An error: the run could not go on, through no fault of the command line."""
USAGE = 2
"""A wrong command line, goal, key or model name."""
INTERRUPTED = 130
"""Ctrl-C: 128 plus the number of SIGINT."""
UNPROVEN = 3
"""The run ended without a proven improvement, or with one that misses the goal's targets."""


class AgentError(Exception):
    """The message is one sentence that names what is wrong and the mend."""

    exit_code = FAILED


class StoppedError(AgentError):
    """The user stopped the run."""

    exit_code = INTERRUPTED


class UsageError(AgentError):
    """The user's words or options cannot be used as they are."""

    exit_code = USAGE
