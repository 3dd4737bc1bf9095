"""The words that every room shares, said once. Imports the standard library alone, so that every room may import it."""

from __future__ import annotations


def printable(text: str, replacement: str | None = None) -> str:
    """`text` without control characters, so that text of strangers cannot steer a terminal. Each becomes `replacement`
    or, without one, its escape sequence (``\\x1b``). A line break is a control character too."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() if replacement is None else replacement
        for c in text
    )
