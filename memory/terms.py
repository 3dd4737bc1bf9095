"""The words that every room shares, said once. Imports the standard library alone, so that every room may import it."""

from __future__ import annotations


def printable(text: str, instead: str = "?") -> str:
    """`text` with `instead` for every control character, line ends included, and for half a surrogate pair: what a
    model, a file or a user's code wrote must not steer the terminal."""
    return "".join(c if c.isprintable() else instead for c in text)
