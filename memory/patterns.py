"""Failure patterns: the fewest conditions on config fields that cover the failures of each cause.

    1. Every ``field=value`` is a bit mask over the configs that were tried.
    2. A beam search joins up to three of them into conditions under which almost every config failed by one cause.
    3. Greedy set cover chooses among the conditions.

Bit masks make this a matter of milliseconds for thousands of configs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRECISION = 0.9
"""Share of the configs under a condition that must have failed by its cause."""
BEAM = 24
TERMS = 3
CAUSES = 8
CAUSE_CHARS = 80


@dataclass(frozen=True)
class Pattern:
    """Of the `tried` configs that meet the condition `where`, `failed` failed by `cause`. An empty `where` stands for
    the failures that no condition covers."""

    where: dict[str, Any]
    cause: str
    failed: int
    tried: int
    example: dict[str, Any]

    def text(self) -> str:
        """One line: ``BLOCK_K=128 with num_stages=4: shared memory, 12 of 12``."""
        names = [f"{k}={v}" for k, v in self.where.items()]
        condition = " and ".join([" with ".join(names[:2]), *names[2:]]) or "other configs"
        return f"{condition}: {self.cause}, {self.failed} of {self.tried}"


def cause(status: str, reason: str | None) -> str:
    """The cause of a failure: its reason without the numbers that differ from config to config."""
    lowered = (reason or "").lower()
    for word in ("shared memory", "registers", "descriptor"):
        if word in lowered:
            return word if status in ("constraints", "compile") else f"{status}: {word}"
    first = re.split(r"[\n;]|\. ", reason or "", maxsplit=1)[0].strip()
    general = re.sub(r"0x[0-9a-f]+|\d[\d_,.]*", "#", first)
    return f"{status}: {general[:CAUSE_CHARS]}" if general else status


def mine(configs: Sequence[Mapping[str, Any]], causes: Mapping[int, str], limit: int) -> list[Pattern]:
    """At most `limit` patterns. `causes` gives the cause of each failed config by its index in `configs`."""
    terms = _masks(configs)
    found: list[Pattern] = []
    for name, _ in Counter(causes.values()).most_common(CAUSES):
        failed = sum(1 << i for i, c in causes.items() if c == name)
        left = failed
        for where, mask in _conditions(terms, failed):
            if len(found) >= limit:
                return found
            if (mask & left).bit_count() >= 2:
                hits = mask & failed
                found.append(Pattern(where, name, hits.bit_count(), mask.bit_count(), dict(configs[_lowest(hits)])))
                left &= ~mask
        if left and len(found) < limit:
            found.append(Pattern({}, name, left.bit_count(), len(configs), dict(configs[_lowest(left)])))
    return found


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _masks(configs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, Any], int]:
    """Per ``(field, value)`` the configs that have it. A field with one value is left out."""
    digits: dict[tuple[str, Any], bytearray] = {}
    last = len(configs) - 1
    for i, config in enumerate(configs):
        for field, value in config.items():
            key = (field, value if value.__hash__ else str(value))
            if key not in digits:
                digits[key] = bytearray(b"0") * len(configs)
            digits[key][last - i] = 49
    fields = Counter(field for field, _ in digits)
    return {key: int(bits, 2) for key, bits in digits.items() if fields[key[0]] > 1}


def _conditions(terms: Mapping[tuple[str, Any], int], failed: int) -> list[tuple[dict[str, Any], int]]:
    """Conditions that hold almost only for failures. Those that cover most failures come first, then the shortest."""

    def score(mask: int) -> float:
        hits = (mask & failed).bit_count()
        return hits * hits / mask.bit_count() if mask else 0.0

    def precise(mask: int) -> bool:
        return (mask & failed).bit_count() >= max(2, PRECISION * mask.bit_count())

    beam: list[tuple[tuple[tuple[str, Any], ...], int]] = [((term,), mask) for term, mask in terms.items()]
    good = [(keys, mask) for keys, mask in beam if precise(mask)]
    for _ in range(TERMS - 1):
        open_ = [(keys, mask) for keys, mask in beam if mask & failed and not precise(mask)]
        open_.sort(key=lambda entry: -score(entry[1]))
        joined: dict[frozenset[tuple[str, Any]], tuple[tuple[tuple[str, Any], ...], int]] = {}
        for keys, mask in open_[:BEAM]:
            fields = {field for field, _ in keys}
            for term, other in terms.items():
                both = mask & other
                if term[0] not in fields and (both & failed).bit_count() >= 2:
                    joined.setdefault(frozenset((*keys, term)), ((*keys, term), both))
        beam = list(joined.values())
        good += [(keys, mask) for keys, mask in beam if precise(mask)]
    good.sort(key=lambda entry: (-(entry[1] & failed).bit_count(), len(entry[0])))
    return [(dict(sorted(keys)), mask) for keys, mask in good]
