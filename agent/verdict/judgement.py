"""The verdict of a run in words: proven, level with a baseline, slower than one, or why nothing can be said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.verdict.speedup import Speedup
from memory.proofs.rule import Judged, Word, judge_rows
from memory.terms import variant_of

FIRST_BASELINE, EVERY_BASELINE, EVERY_CODE = 1, 2, 3
"""The rules that runs were judged by; a trace is replayed by that of its run. The first one asked for a win over the
first equivalent baseline alone, and tried no finalist after one that had passed its sitting. The second one asks for a
win over every baseline, and tried finalists in order whatever code they launch. The third one gives every code its turn
(:mod:`agent.verdict.next_finalist`), and counts alike failures instead of listing them."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one config, or on a run that proved none."""

    proven: bool
    verdict: Word
    against: str | None
    """The baseline that decided: the strongest one of a win, else the one that was not beaten."""
    why: str
    """What the verdict rests on, or what it lacks."""
    hopeless: bool = False
    """Whether no config that is about as fast can be proven either."""


NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")
"""A number that stands alone in a reason."""
LIBRARIES = {"compiled": "torch.compile"}
WORDS = {"slower": "slower than", "level": "level with"}
NEAR = 1.05
"""Finalists lie closer than this to one another: a rival that is further ahead beats them all."""


def judge(
    proofs: Sequence[dict[str, Any]],
    baselines: Sequence[Speedup],
    energy: str | None = None,
    against: Sequence[str] = (),
    rule: int = EVERY_CODE,
) -> Judgement:
    """Judge the finalists tried. `proofs` are their sittings in order, `baselines` the comparisons of the one that is
    judged. `energy`: the goal's metric, if it is one of energy. `against`: the only baselines that count."""
    failure = explain_failure(proofs, rule)
    if failure:
        return Judgement(False, "unknown", None, failure)
    found = judge_rows([row.model_dump() for row in baselines], energy is not None, against)
    rival = found.against
    return Judgement(
        proven=found.proven,
        verdict=found.word,
        against=rival.name if rival else None,
        why=describe(found, energy is not None, against),
        hopeless=rival is not None and rival.high * NEAR < 1,
    )


def explain_failure(proofs: Sequence[dict[str, Any]], rule: int = EVERY_CODE) -> str:
    """Why no sitting can be judged; empty if one can."""
    failed = [f"{p['status']}: {p['reason']}".rstrip(": ") for p in proofs if p["status"] != "correct"]
    if not proofs:
        return "no config was measured correctly"
    if len(failed) == len(proofs):
        codes = [variant_of(p.get("config") or {}) for p in proofs] if rule >= EVERY_CODE else ()
        told = count_alike(codes, failed) if codes else dict.fromkeys(failed)
        return f"no finalist passed the final sitting ({'; '.join(told)})"
    return ""


def count_alike(codes: Sequence[str], reasons: Sequence[str]) -> list[str]:
    """`reasons` of configs, those that differ in numbers alone told once for each code, such as ``16 configs of variant
    1b10: error 2.8e-05 to 4.5e-05``. `codes`: hash of each config's variant, empty for the owner's code."""
    groups: dict[tuple[str, str], list[str]] = {}
    for code, reason in zip(codes, reasons, strict=True):
        groups.setdefault((code, NUMBER.sub("0", reason)), []).append(reason)
    told = []
    for (code, _), alike in groups.items():
        if len(alike) == 1:
            told += alike
            continue
        places = zip(*(NUMBER.findall(reason) for reason in alike), strict=True)
        ranges = iter(_range_of(numbers) for numbers in places)
        once = NUMBER.sub(lambda _, ranges=ranges: next(ranges), alike[0])  # type: ignore[misc]
        told.append(f"{len(alike)} configs of {f'variant {code}' if code else 'the owner'}: {once}")
    return told


def _range_of(numbers: Sequence[str]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low} to {high}"


def describe(found: Judged, energy: bool, against: Sequence[str]) -> str:
    """``1.063x [1.058, 1.068] over compiled, the strongest of unfused and compiled``."""
    rival, notes = found.against, []
    if rival is None:
        said = "a baseline that counts could not be timed" if found.missing else "no baseline computes the same"
    elif found.proven:
        said = (
            f"{rival} {rival.name}'s joules per launch over this config's" if energy else f"{rival} over {rival.name}"
        )
        if len(found.rivals) > 1:
            said += f", the strongest of {join(r.name for r in found.rivals)}"
    else:
        words = {"slower": "more joules than", "level": "level in joules with"} if energy else WORDS
        said = f"{words[found.word]} {rival.name}, {rival}"
    if against:
        notes.append(f"judged against {join(against)} alone, as asked")
        notes += [f"not judged: {ratio} over {ratio.name}" for ratio in found.left_out if ratio.low <= 1]
    notes += [f"not timed: {name} ({why})" for name, why in found.missing]
    notes += [f"against one preparation of {LIBRARIES.get(name, name)}" for name in found.prepared_once]
    return "; ".join([said, *notes])


def join(names: Any) -> str:
    """``a, b and c``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else str(last)


def judge_first_baseline(
    proofs: Sequence[dict[str, Any]], baselines: Sequence[Speedup], energy: str | None = None
) -> Judgement:
    """The verdict by the rule ``FIRST_BASELINE``, in its own words, so that an older trace is replayed as it was."""
    failed = [f"{p['status']}: {p['reason']}".rstrip(": ") for p in proofs if p["status"] != "correct"]
    if not proofs:
        return Judgement(False, "unknown", None, "no config was measured correctly")
    if len(failed) == len(proofs):
        return Judgement(False, "unknown", None, f"no finalist passed the final sitting ({'; '.join(failed)})")
    rival = next((row for row in baselines if row.equivalent), None)
    ratio, ci = (
        (None, None) if rival is None else (rival.saving, rival.saving_ci) if energy else (rival.speedup, rival.ci)
    )
    if rival is None or ratio is None or ci is None:
        missing = rival.missing if rival else None
        why = f"the baseline could not be timed{f': {missing}' if missing else ''}"
        return Judgement(False, "unknown", None, why)
    low, high = ci
    what = f"{rival.name}'s joules per launch over this config's" if energy else f"over {rival.name}"
    interval = f"{ratio:.3f}x [{low:.3f}, {high:.3f}] {what}"
    lies = "lies" if low > 1 else "does not lie"
    return Judgement(
        low > 1, "proven" if low > 1 else "unknown", rival.name, f"{interval}: the interval {lies} above 1"
    )


def rule_of(header: dict[str, Any]) -> int:
    """The rule of the run that a trace's header describes."""
    return int(header.get("rule", FIRST_BASELINE))
