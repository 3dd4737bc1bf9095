"""Keys: what counts as one, and how a text loses it."""

from __future__ import annotations


def is_secret(key: str) -> bool:
    """Whether `key` is one: words that stand in for a key (``none``, ``EMPTY``, ``ollama``) occur in ordinary text."""
    return len(key) >= 12 or (key.startswith("sk-") and len(key) > 4)


def without_key(text: str, key: str) -> str:
    return text.replace(key, "[redacted]") if is_secret(key) else text
