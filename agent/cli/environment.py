"""The user's settings: environment variables, and the file ``.env``."""

from __future__ import annotations


def read_env() -> None:
    """Read ``.env`` of this folder or of one above it; variables that are set already keep their values."""
    from dotenv import find_dotenv, load_dotenv

    load_dotenv(find_dotenv(usecwd=True))
