"""The finalists that a run tried to prove, and which of them is its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.verdict.judgement import EVERY_CODE, FIRST_BASELINE, Judgement, judge, judge_first_baseline
from agent.verdict.speedup import Speedup

Tried = tuple[dict[str, Any], list[Speedup], Judgement]
"""A finalist's sitting, its comparisons, and the verdict on it."""


def judge_tried(
    proofs: Sequence[dict[str, Any]], energy: str | None, against: Sequence[str] = (), rule: int = EVERY_CODE
) -> list[Tried]:
    """The finalists that passed their sitting, in order. By the first rule the last one tried is the only one."""
    found: list[Tried] = []
    for proof in proofs[-1:] if rule == FIRST_BASELINE else proofs:
        if proof["status"] == "correct" and proof["ms"]:
            baselines = [Speedup.of(row, len(found) + 1) for row in proof["comparisons"]]
            judged = judge_one(proofs if rule == FIRST_BASELINE else [proof], baselines, energy, against, rule)
            found.append((proof, baselines, judged))
    return found


def judge_one(
    proofs: Sequence[dict[str, Any]],
    baselines: Sequence[Speedup],
    energy: str | None,
    against: Sequence[str],
    rule: int,
) -> Judgement:
    if rule == FIRST_BASELINE:
        return judge_first_baseline(proofs, baselines, energy)
    return judge(proofs, baselines, energy, against, rule)


def choose(tried: Sequence[Tried]) -> Tried | None:
    """The finalist that is proven, else the one that came closest; ``None`` if none passed its sitting."""
    order = ("unknown", "slower", "level", "proven")

    def standing(entry: Tried) -> tuple[int, float]:
        _, baselines, judged = entry
        rival = next((row for row in baselines if row.name == judged.against), None)
        return order.index(judged.verdict), (rival.saving or rival.speedup or 0.0) if rival else 0.0

    return max(tried, key=standing, default=None)
