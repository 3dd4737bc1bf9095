"""The variants of a run as its trace has them: what each was made from, why, what became of it, and its best time."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from agent.export.story import Call, Story
from agent.trace.trace import JSON
from agent.verdict.stressed_rows import rows_of_wrong
from memory.terms import variant_of

TOOL = "edit_kernel"
DIFF_LINES = 200
OWNER = ""
"""The hash in the place of a parent that is the owner's code."""


@dataclass
class VariantMade:
    """One variant, or an edit that the fence refused (without a hash). All text is data."""

    turn: int
    hash: str
    parent: str
    """Hash of the variant that it was made from; OWNER for the owner's code."""
    reason: str
    """In the model's words, or the name of a known rewrite."""
    verdict: str
    limits: str
    """What limited the config before and after, if that is known."""
    changed: tuple[str, ...] = ()
    """A unified diff against the parent, if the trace holds both sources; else the source that was sent."""
    depth: int = 0
    """Edits from the owner's code to its parent."""
    ms: float | None = None
    """Its best config's time in the search."""
    times_owner: float | None = None
    """The best time of the owner's code in the search over `ms`."""
    share_of_floor: float | None = None
    """The roofline's least time over `ms`."""


def variants_made(story: Story) -> list[VariantMade]:
    """Every variant of the run, in order, each once, with its place in the lineage."""
    made: dict[str, VariantMade] = {}
    refused = []
    sources: dict[str, str] = {}
    for turn, call in _edits(story):
        for text in _owners(call):
            sources[OWNER] = text
        for variant in _made_by(turn, call, sources):
            if not variant.hash:
                refused.append(variant)
            else:
                made.setdefault(variant.hash, variant)
    best, wrong = _best_times(story), _wrong(story)
    for variant in made.values():
        variant.verdict = wrong.get(variant.hash, variant.verdict)
        parent = made.get(variant.parent)
        variant.depth = parent.depth + 1 if parent else 0
        variant.ms = best.get(variant.hash) if variant.hash not in wrong else None
        if variant.ms:
            variant.times_owner = best[OWNER] / variant.ms if OWNER in best else None
            floor = story.setting.floor_ms
            variant.share_of_floor = floor / variant.ms if floor else None
    return sorted([*made.values(), *refused], key=lambda v: v.turn)


def _edits(story: Story) -> Iterator[tuple[int, Call]]:
    for turn in story.turns:
        yield from ((turn.number, call) for call in turn.calls if call.name == TOOL and call.result is not None)


def _owners(call: Call) -> Iterator[str]:
    """The owner's source, if the answer shows it and there is one function alone."""
    found = (call.result or {}).get("functions")
    if isinstance(found, dict) and len(found) == 1:
        (only,) = found.values()
        if isinstance(only, dict):
            helpers = only.get("device_functions")
            texts = [*(helpers.values() if isinstance(helpers, dict) else ()), only.get("quoted", "")]
            yield "\n\n".join(map(str, texts))


def _made_by(turn: int, call: Call, sources: dict[str, str]) -> Iterator[VariantMade]:
    result, given = call.result or {}, call.arguments
    parent = str(given.get("parent") or OWNER)
    for row in rows_of_rewrites(result):
        verdict = _words(row.get("compile"), row.get("why"))
        yield VariantMade(turn, str(row.get("variant", "")), parent, str(row.get("rewrite", "")), verdict, "")
    if "fence" not in result:
        return
    name, source = str(result.get("variant") or ""), str(given.get("source") or "")
    reason = str(given.get("reason") or given.get("rewrite") or "")
    limit = result.get("limit")
    limits = f"{limit.get('before')} → {limit.get('after')}" if isinstance(limit, dict) else ""
    changed = tuple(_difference(sources.get(parent), source))
    if name and source:
        sources[name] = source
    yield VariantMade(turn, name, parent, reason, _verdict(result), limits, changed)


def rows_of_rewrites(result: JSON) -> list[JSON]:
    """The variants that known rewrites made in one call."""
    found = result.get("variants")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _verdict(result: JSON) -> str:
    if result.get("fence") != "passed":
        return _words("refused", result.get("why"))
    if result.get("wrong"):
        return _words("correctness", result.get("wrong"))
    for step in ("compile", "interpreter"):
        answer = result.get(step)
        if isinstance(answer, dict) and answer.get("status") != "correct":
            return _words(f"{step}: {answer.get('status')}", answer.get("reason"))
    interpreted = result.get("interpreter")
    return _words("correct", interpreted.get("programs") if isinstance(interpreted, dict) else None)


def _words(verdict: object, why: object) -> str:
    return f"{verdict}: {why}" if why else str(verdict)


def _difference(before: str | None, after: str) -> list[str]:
    new = _plain(after).splitlines()
    if before is None:
        return new[:DIFF_LINES]
    return list(difflib.unified_diff(_plain(before).splitlines(), new, lineterm="", n=2))[2 : DIFF_LINES + 2]


def _plain(source: str) -> str:
    """The source without comments, if it parses."""
    try:
        return ast.unparse(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError):
        return source


def _wrong(story: Story) -> dict[str, str]:
    """Hash → the verdict on a variant that was wrong on inputs that nobody chose."""
    failed = [r for t in story.turns for call in t.calls for r in rows_of_wrong(call.result or {})]
    return {str(r.get("variant")): _words(r.get("status"), r.get("reason")) for r in failed}


def _best_times(story: Story) -> dict[str, float]:
    """Hash → the best time of its configs in the search; OWNER for configs without a variant."""
    best: dict[str, float] = {}
    for a in story.attempts:
        if a.status == "correct" and a.ms:
            name = variant_of(a.config)
            best[name] = min(a.ms, best.get(name, a.ms))
    return best
