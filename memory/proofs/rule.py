"""The rule by which a config is proven, over the rows of a final sitting. It imports the standard library alone.

A config is *proven* if it is faster than every *rival*: every baseline that computes the same and that a user has
without this project. "Faster" means that the whole interval of the ratio lies above 1. Otherwise it is *level* with a
rival, whose interval holds 1, or *slower* than one, whose whole interval lies below 1. A baseline that computes less
than the kernel is no rival.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

Word = Literal["proven", "level", "slower", "unknown"]
"""``unknown``: a rival could not be timed through our own fault, or none was timed at all."""

OWN = "fastest"
"""Name of the row of another config of the same run, which a goal of energy is timed beside: no rival."""
LEVEL = 0.95
"""Of the intervals: a config that is level with a rival passes one in forty times."""


@dataclass(frozen=True)
class Ratio:
    """A rival's time (or joules) over the config's, with its interval."""

    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f}x [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Judged:
    """What the rule says of one sitting."""

    word: Word
    against: Ratio | None
    """The strongest rival if the config is proven, else the one that the config is level with or slower than."""
    rivals: tuple[Ratio, ...] = ()
    """Those that were timed and count."""
    left_out: tuple[Ratio, ...] = ()
    """Those that were timed and compute the same, but were not asked for."""
    missing: tuple[tuple[str, str], ...] = ()
    """Rivals that were not timed, and why."""
    prepared_once: tuple[str, ...] = ()
    """Rivals that choose by measuring, and were prepared only once."""

    @property
    def proven(self) -> bool:
        return self.word == "proven"


def judge_rows(rows: Sequence[Mapping[str, Any]], energy: bool = False, against: Sequence[str] = ()) -> Judged:
    """Judge a sitting by its comparisons. `energy`: by joules instead of time. `against`: the names of the only rivals
    that count; all count without it.

    A rival that this machine cannot run (``missing``) does not count. One that our machinery could not time (``spoilt``
    or without a reading) leaves the verdict unknown, unless another rival is not beaten anyway."""
    rivals: list[Ratio] = []
    left_out: list[Ratio] = []
    missing: list[tuple[str, str]] = []
    spoilt = False
    for row in rows:
        if not row.get("equivalent") or row["name"] == OWN:
            continue
        counts, ratio = not against or row["name"] in against, ratio_of(row, energy)
        if ratio is not None:
            (rivals if counts else left_out).append(ratio)
        elif counts:
            missing.append((str(row["name"]), str(row.get("missing") or "no reading")))
            spoilt |= bool(row.get("spoilt")) or not row.get("missing")
    faster, level = [r for r in rivals if r.high < 1], [r for r in rivals if r.low <= 1]
    word: Word = "slower" if faster else "level" if level else "unknown" if spoilt or not rivals else "proven"
    deciding = faster or level or (rivals if word == "proven" else [])
    strongest = min(deciding, key=lambda ratio: ratio.value, default=None)
    once = tuple(row["name"] for row in rows if row["name"] in {r.name for r in rivals} and chose_once(row))
    return Judged(word, strongest, tuple(rivals), tuple(left_out), tuple(missing), once)


def ratio_of(row: Mapping[str, Any], energy: bool = False) -> Ratio | None:
    """The ratio of a row; ``None`` if it was not read."""
    value, ci = (row.get(name) for name in (("saving", "saving_ci") if energy else ("speedup", "ci")))
    return None if value is None or ci is None else Ratio(str(row["name"]), value, ci[0], ci[1])


def chose_once(row: Mapping[str, Any]) -> bool:
    """Whether the row's baseline made a choice that was not forced apart, so that another preparation may be faster."""
    return row.get("choice") is not None and len(row.get("choices") or ()) < 2


SIDES = (("speedup", "ci"), ("saving", "saving_ci"))
"""Each figure of a comparison, and its interval."""


def widen_row(row: Mapping[str, Any], tried: int) -> dict[str, Any]:
    """A comparison with its intervals as :func:`widened` makes them. Older rows lack some fields."""
    found = dict(row)
    for value, ci in SIDES:
        if found.get(value) is not None and found.get(ci) is not None:
            found[ci] = widened(found[value], found[ci], tried)
    return found


def widened(value: float, ci: Sequence[float], tried: int) -> tuple[float, float]:
    """The interval of the config that was tried as number `tried` in search of one that is proven.

    Who tries n configs gets n chances that one of them only seems faster, so each interval is taken at the level
    1 - 0.05 / n (Bonferroni), as if its logarithm were normal."""
    if tried < 2 or min(value, *ci) <= 0:
        return ci[0], ci[1]
    normal = NormalDist()
    factor = normal.inv_cdf(1 - (1 - LEVEL) / 2 / tried) / normal.inv_cdf((1 + LEVEL) / 2)
    low, high = (value * math.exp(math.log(end / value) * factor) for end in ci)
    return low, high
