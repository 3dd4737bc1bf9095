"""JSON as language models write it: in a code fence, with single quotes, with a trailing comma, or in a text once more.

Only what has one meaning is read. Each departure from JSON is noted, so that whoever wrote it is told."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

FENCE = re.compile(r"^\s*```[a-zA-Z0-9_-]*\s*\n?(.*?)\n?\s*```\s*$", re.DOTALL)
TRAILING_COMMA = re.compile(r",(\s*[}\]])")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
MOST_NESTED = 3
"""JSON texts in JSON texts that are opened."""


class NotJson(ValueError):
    """The text has no one meaning; the message says what is wrong."""


def read(text: str) -> tuple[Any, list[str]]:
    """The value of `text`, and notes of what was repaired; no notes for plain JSON. Raises NotJson."""
    notes: list[str] = []
    for _ in range(MOST_NESTED):
        value = _read_once(text, notes)
        if not (isinstance(value, str) and value.strip().startswith(("{", "[", "```"))):
            return value, notes
        text = value
        notes.append("the JSON stood in a text once more")
    raise NotJson("JSON texts are nested too deeply")


def _read_once(text: str, notes: list[str]) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as e:
        first = e
    if fenced := FENCE.match(text):
        text = fenced[1]
        notes.append("a code fence was taken off")
    without = _without_trailing_commas(text)
    if without != text:
        notes.append("a trailing comma was taken off")
    try:
        return json.loads(without, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(without.strip())
        json.dumps(value, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as e:
        raise NotJson(f"{first}") from e
    if not isinstance(value, dict | list):
        raise NotJson(f"{first}")
    notes.append("Python's quotes and words were read as JSON's")
    return json.loads(json.dumps(value))


def _without_trailing_commas(text: str) -> str:
    """`text` without commas before a closing bracket, outside strings."""
    parts, end = [], 0
    for string in STRING.finditer(text):
        parts += [TRAILING_COMMA.sub(r"\1", text[end : string.start()]), string[0]]
        end = string.end()
    return "".join([*parts, TRAILING_COMMA.sub(r"\1", text[end:])])


def _refuse(word: str) -> float:
    """NaN and the infinities are Python's, not JSON's."""
    raise NotJson(f"{word} is no number")
