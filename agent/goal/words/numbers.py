"""The numbers of a goal: its shape, named dimensions and options, and what the run may spend."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.errors import UsageError
from agent.goal.limits import LARGEST_DIMENSION, LONGEST, MOST, MOST_DOLLARS
from agent.goal.words.text import END, NUMBER, START, Text
from agent.goal.words.vocabulary import DIMENSION_WORDS, KernelWords, longest_first

SHAPE = re.compile(rf"{START}\d+(?:\s*(?:[x*,]|\bby\b)\s*\d+)+{END}(?!\s*[x*]\s*-)")
CUBE = re.compile(rf"{START}(\d+)\s*(?:\^\s*3|cubed)(?!\w)")
LIMITS = r"at most|no more than|not more than|up to|within|max(?:imum)?|<=?|budget of|budget"
AT_MOST = rf"(?:(?<!\w)(?:{LIMITS})\s+)?"
SPENDING = re.compile(
    rf"{AT_MOST}{START}({NUMBER})\s*(evaluations?|evals?|measurements?|hours?|hrs?|minutes?|mins?|seconds?|secs?|days?)\b"
    rf"|{AT_MOST}{START}({NUMBER})(h|s)(?!\w)"
)
LIMITED_UNIT = rf"(?<!\w)(?:in|{LIMITS})\s+{START}({NUMBER})\s+(h|s)(?!\w)"
"""``in 45 s`` is a time for every kernel, also for attention, whose dimensions H and S make ``45 s`` alone unclear."""
SPACED_UNIT = rf"{START}({NUMBER})\s+(h|s)(?!\w)"
DOLLARS = re.compile(
    rf"{AT_MOST}(?:(?<![\w.])(?:us)?\$\s*({NUMBER}){END}|{START}({NUMBER})\s*(?:us dollars|dollars?|usd)\b)"
)
SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def read_dimensions(text: Text, kernel: KernelWords) -> dict[str, str | int | float | bool]:
    """Dimensions and numeric options by name: ``M=64``, ``M 64``, ``32 heads``, ``hidden 8192``, ``stride 2``.

    From left to right: in ``8 heads 64 batch`` as in ``heads 8 batch 64`` each number has one name."""
    found: dict[str, str | int | float | bool] = {}
    named = {name: (name.lower(),) for name in (*kernel.dims, *kernel.numbers)}
    ways = {name: (*own, *DIMENSION_WORDS.get(kernel.name, {}).get(name, ())) for name, own in named.items()}
    spoken = {way.replace("_", " "): name for name, words in ways.items() for way in words}
    said: dict[str, list[str]] = {}
    patterns, names = [], []
    for way in longest_first(spoken):
        name = spoken[way]
        number = r"\d+(?:\.\d+)?(?:e-?\d+)?" if kernel.numbers.get(name) is float else r"\d+"
        after = r"(?!\w)(?!\.\d)(?!\s*(?:[x*]|by\b)\s*\d)(?!\s*,\s*\d+\s*,)(?!\s*%)"
        patterns.append(rf"(?<![\w.]){re.escape(way)}\s*(?:=|:|\bof\b|\bis\b)?\s*({number}){after}")
        names.append(name)
        if len(way) > 1:
            patterns.append(rf"{START}(?<!x )(?<!by )(?<!\* )({number})\s+{re.escape(way)}(?![\w=])(?!\s*[=:]\s*\d)")
            names.append(name)
    for match in text.take("|".join(patterns)) if patterns else ():
        assert match.lastindex is not None
        said.setdefault(names[match.lastindex - 1], []).append(match[match.lastindex])
    for name in [name for name in ways if name in said]:
        value = one_of(name, said[name])
        assert value is not None
        found[name] = float(value) if kernel.numbers.get(name) is float else int(value)
    return found


def read_shape(text: Text, kernel: KernelWords) -> list[str]:
    """Shapes as they are written, a cube as its edges."""
    cubes = [match.group(1) for match in text.take(CUBE)]
    shapes = [match.group().strip() for match in text.take(SHAPE)]
    return shapes + ["x".join([edge] * len(kernel.dims)) for edge in cubes]


def read_spending(text: Text, kernel: KernelWords) -> dict[str, int | float | None]:
    """Limits in words: ``20 evaluations``, ``1 hour 30 minutes``, ``in 45 s``, ``at most $5``. Raises UsageError."""
    spending: dict[str, int | float | None] = {}
    units: set[str] = set()
    unclear = {"H", "S"} & {*kernel.dims, *kernel.numbers}
    spaced = text.take(LIMITED_UNIT) + ([] if unclear else text.take(SPACED_UNIT))
    for match in text.take(SPENDING) + spaced:
        number, unit = (group for group in match.groups() if group is not None)
        amount = float(number)
        said = f"{match.group().strip()}"
        if amount <= 0:
            raise UsageError(f"The goal allows {said}: at least one is needed.")
        evaluations = unit.startswith(("eval", "meas"))
        kind = "e" if evaluations else unit[0]
        if kind in units:
            raise UsageError(f"The goal names more than one limit of {unit} ({said} is the second): say one.")
        units.add(kind)
        if evaluations:
            if amount != int(amount) or amount > MOST:
                raise UsageError(f"The goal allows {said}: evaluations are a whole number up to {MOST}.")
            spending["max_evals"] = int(amount)
        else:
            spending["max_seconds"] = (spending.get("max_seconds") or 0) + amount * SECONDS[kind]
    if (spending.get("max_seconds") or 0) > LONGEST:
        raise UsageError(f"The goal allows {spending['max_seconds']:g} seconds: {LONGEST:g} is the most.")
    paid = [match.group(1) or match.group(2) for match in text.take(DOLLARS)]
    if (money := one_of("limit in dollars", paid)) is not None:
        if not 0 < float(money) <= MOST_DOLLARS:
            raise UsageError(f"The goal allows ${money}: a limit lies between 0 and {MOST_DOLLARS:g} dollars.")
        spending["max_cost"] = float(money)
    return spending


def parse_shape(text: str) -> tuple[int, ...]:
    """``4096x4096x512`` as numbers. Raises UsageError."""
    parts = re.split(r"\s*(?:[x×*,]|by)\s*", text.strip().lower())
    if not all(re.fullmatch(r"[0-9]{1,99}", part) and int(part) > 0 for part in parts):
        raise UsageError(f"A shape is positive whole numbers joined by x, such as 4096x4096x4096, not {text!r}.")
    if max(map(int, parts)) > LARGEST_DIMENSION:
        raise UsageError(f"The shape {text} is too large: a dimension is at most {LARGEST_DIMENSION}.")
    return tuple(int(part) for part in parts)


def one_of(what: str, said: Sequence[str]) -> str | None:
    """The single value said, if any. Raises UsageError if two differ."""
    if len(set(said)) > 1:
        raise UsageError(f"The goal names more than one {what} ({', '.join(dict.fromkeys(said))}): say one.")
    return said[0] if said else None
