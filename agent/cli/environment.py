"""The user's settings: environment variables, and the file ``.env``."""

from __future__ import annotations

from agent.errors import UsageError


def read_env() -> None:
    """Read ``.env`` of this folder or of one above it; variables that are set already keep their values."""
    from dotenv import find_dotenv, load_dotenv

    try:
        path = find_dotenv(usecwd=True)
    except OSError:  # the current folder was deleted
        return
    try:
        load_dotenv(path)
    except UnicodeDecodeError as e:
        raise UsageError(f"{path} is not UTF-8 text: write NAME=VALUE lines, or remove the file.") from e
    except (OSError, ValueError) as e:
        why = getattr(e, "strerror", None) or str(e)
        raise UsageError(f"{path} cannot be read ({why}): correct it, or remove the file.") from e
