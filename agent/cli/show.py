"""A run as text for a person: what was asked, what was tried and why, what turned its course, how it ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from agent.export.story import Attempt, Call, Story, Turn, named, number, rows
from agent.loop import progress
from agent.loop.outcome import render
from agent.trace.trace import JSON
from memory.terms import printable

WORDS = 400
"""Characters of a model's words that are printed."""
LINE = 150
SHOWN_FAILURES = 5
ENDS = 25
"""Turns printed at each end of a long run; `--all` prints the rest."""


def show(story: Story, path: str, everything: bool = False) -> str:
    """The whole text. `path` names the trace in the commands at the end."""
    return "\n".join(clean(line) for line in lines(story, path, everything))


def lines(story: Story, path: str, everything: bool) -> Iterator[str]:
    yield from describe_head(story)
    yield ""
    yield "What it did"
    turns = story.turns
    hidden = 0 if everything else max(0, len(turns) - 2 * ENDS)
    for place, turn in enumerate(turns):
        if hidden and place == ENDS:
            yield f"  … {hidden} turns; show --all prints them …"
        if not hidden or not ENDS <= place < ENDS + hidden:
            yield from describe_turn(story, turn)
    yield ""
    yield "Turning points"
    points = (
        story.points if everything or len(story.points) <= 2 * ENDS else [*story.points[:ENDS], *story.points[-ENDS:]]
    )
    for point in points:
        yield f"  [{point.turn}] {point.text}"
    if len(points) < len(story.points):
        yield f"  … {len(story.points) - len(points)} in the middle are left out; show --all prints them …"
    if not points:
        yield "  none"
    yield ""
    yield from describe_attempts(story)
    yield ""
    yield from describe_end(story, path)


def describe_head(story: Story) -> Iterator[str]:
    objective, setting, limits = story.objective, story.setting, story.objective.limits
    yield f"run        {story.run}"
    parent = story.header.get("parent")
    if isinstance(parent, dict):
        what = "measures again" if parent.get("kind") == "replay" else f"forked at turn {parent.get('at')} from"
        yield f"parent     {what} {parent.get('run')}"
    yield f"goal       {objective.goal or '(options only)'}"
    yield from (f"note       {notice}" for notice in objective.notices if story.outcome is None)
    yield f"problem    {setting.kernel} {setting.label}: {setting.unit}, {setting.regime}"
    yield f"device     {setting.where()}"
    budget = f"at most {limits.max_evals} evaluations, {limits.max_seconds:g} s"
    if limits.max_tokens is not None:
        budget += f", {limits.max_tokens} tokens"
    yield f"model      {objective.model}, seed {objective.seed}; {budget}"
    versions = story.header.get("versions")
    made = versions if isinstance(versions, dict) else {}
    shown = " ".join(
        f"{name} {made[name]}" for name in ("triton-autokernel", "triton", "torch", "python") if name in made
    )
    source = f", source {story.header['git']}" if story.header.get("git") else ""
    yield f"made with  {shown or 'unknown versions'}{source}"
    if story.torn:
        yield "note       the last line is torn: the run was killed while it wrote"
    if story.broken is not None:
        yield f"WARNING    edited at event {story.broken}: its seal does not fit, do not trust what follows"


def describe_turn(story: Story, turn: Turn) -> Iterator[str]:
    """One turn: the model's words, then each call and its answer."""
    words = " ".join(turn.words.split())
    spent = f"  ({turn.tokens} tokens, {turn.seconds:.1f} s)" if turn.tokens else ""
    yield f"  [{turn.number}] {turn.began:7.1f} s  {words[:WORDS] or '(no words)'}{spent}"
    for message in turn.asked:
        if message.get("role") == "user" and turn.number > 1:
            yield f"      user: {str(message.get('content'))[:WORDS]}"
    for call in turn.calls:
        for line in answered(story, call):
            yield f"        {line}"[:LINE]


def answered(story: Story, call: Call) -> Iterator[str]:
    if call.result is None:
        yield f"{call.name}: the run ended before the answer"
        return
    returns = call.declared.returns
    if returns == "history" and "question" in call.result:
        found = call.result.get("rows")
        count = len(found) if isinstance(found, list) else 0
        answer = f"{count} rows" if count else str(call.result.get("note") or "no rows")
        yield f"{call.name} {call.result['question']}: {answer}"
        return
    yield progress.describe_answer(call.name, safe(call.result), story.setting).strip()
    if returns == "proposals":
        for row in [*rows(call.result, "proposals")][:1]:
            yield f"  first: {named(row['config'])}"
            yield f"  because {row.get('reason')}"
    elif returns == "compilations":
        failed = [row for row in rows(call.result, "results") if row.get("status") != "correct"]
        for row in failed[:2]:
            yield f"  {row.get('status')}: {row.get('reason')}  ({named(row['config'])})"
    elif returns == "roofline" and number(call.result.get("share_of_floor")) is not None:
        result = call.result
        origin = result.get("facts", "the datasheet's")
        yield f"  {result.get('bound')} bound, {number(result['share_of_floor']) or 0:.1%} of the roof ({origin})"


def safe(result: JSON) -> JSON:
    """The rows that :func:`progress.describe_answer` can read."""
    found: dict[str, Any] = dict(result)
    if isinstance(found.get("results"), list):
        found["results"] = [row for row in found["results"] if isinstance(row, dict)]
    best = found.get("best")
    if not (isinstance(best, dict) and number(best.get("ms"))):
        found.pop("best", None)
    if "proposals" in found and not isinstance(found["proposals"], list):
        found["proposals"] = []
    return found


def describe_attempts(story: Story) -> Iterator[str]:
    """How the attempts ended, and the fastest."""
    counts: dict[str, int] = {}
    for attempt in story.attempts:
        counts[attempt.status] = counts.get(attempt.status, 0) + 1
    said = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    yield f"Evaluations {len(story.attempts)}: {said}; {story.proposed} proposals were made"
    failures = sorted(story.compile_failures.items(), key=lambda item: -item[1])
    for why, count in failures[:SHOWN_FAILURES]:
        yield f"  {count} did not compile: {why}"[:LINE]
    ranked = sorted((a for a in story.attempts if a.ms is not None), key=lambda a: a.ms or 0.0)
    for attempt in ranked[:3]:
        yield f"  {format_time(story, attempt)}  evaluation {attempt.number}  {named(attempt.config)}"


def format_time(story: Story, attempt: Attempt) -> str:
    ms = attempt.ms or 0.0
    rate = "" if story.setting.metric == "latency" else f" {story.setting.value(ms):8.1f} {story.setting.unit}"
    return f"{ms:8.4f} ms{rate}"


def describe_end(story: Story, path: str) -> Iterator[str]:
    quoted = shlex.quote(path)
    if story.outcome is None:
        yield f"NOT FINISHED: it stopped in turn {len(story.turns)}."
        yield f"resume     python -m agent resume {shlex.quote(story.run)}"
        return
    outcome = story.outcome.model_copy(update={"trace": path})
    yield from render(outcome, story.setting, f"python -m agent replay {quoted}").splitlines()
    yield f"look       python -m agent export {quoted} --format html"


def as_json(story: Story) -> JSON:
    """The story as one object, for ``--json``."""
    return {
        "run": story.run,
        "parent": story.header.get("parent"),
        "objective": story.objective.model_dump(mode="json"),
        "setting": story.setting.model_dump(mode="json"),
        "finished": story.outcome is not None,
        "torn": story.torn,
        "edited_at": story.broken,
        "stopped": story.stopped,
        "seconds": round(story.seconds, 3),
        "turns": [turn_row(turn) for turn in story.turns],
        "attempts": [vars(attempt) for attempt in story.attempts],
        "turning_points": [vars(point) for point in story.points],
        "compile_failures": story.compile_failures,
        "proofs": story.proofs,
        "outcome": None if story.outcome is None else story.outcome.model_dump(mode="json"),
    }


def turn_row(turn: Turn) -> JSON:
    calls = [{"id": c.id, "name": c.name, "seconds": c.seconds, "error": c.error} for c in turn.calls]
    return {
        "turn": turn.number,
        "at": turn.at,
        "model": turn.model,
        "words": turn.words,
        "tokens": turn.tokens,
        "seconds": turn.seconds,
        "calls": calls,
    }


def clean(line: str) -> str:
    """Without control characters, so that text from a model or a kernel cannot control the terminal."""
    return printable(line, " ").rstrip()
