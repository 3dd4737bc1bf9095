"""Forks a run: a new run continues from one of its turns.

The child's trace begins with a copy of the parent's steps up to the turn, followed by a ``fork`` event. The loop then
starts like that of a resumed run. It finds the copied steps in the journal, repeats none of them, and asks the child's
model from the turn on. The child's session knows the answers of the parent's tools, and its budget counts them.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.goal.request import about_model
from agent.models.apis import ApiChoice
from agent.models.base import EMBEDDED
from agent.models.effort import Effort
from agent.models.prices import priced
from agent.trace.paths import trace_path
from agent.trace.trace import JSON, Event, Record, Trace, says_of
from agent.verdict.judgement import EVERY_CODE
from kernels.finder import absolute

if TYPE_CHECKING:
    from agent.loop.approval import Ask
    from agent.loop.progress import Watch
    from agent.loop.run import Ended, OpenActions


def fork(
    record: Record,
    at: int,
    *,
    watch: Watch,
    model: str | None = None,
    base_url: str | None = None,
    effort: Effort | None = None,
    api: ApiChoice | None = None,
    say: str | None = None,
    seed: int | None = None,
    memory: Path | None = None,
    ask: Ask | None = None,
    open_: OpenActions | None = None,
) -> Ended:
    """Continue a run from turn `at` (counted from 1, as in ``show``) with another model, effort, API, seed or a message
    of the user. If another model is given without an API, the API is ``auto``.

    Raises UsageError if the trace was edited or if the run has no such turn."""
    from agent.loop import prompt
    from agent.loop.run import nobody, open_actions, resume, without_credentials
    from agent.models import choose
    from agent.replay.replay import contract

    if record.broken is not None:
        raise UsageError(f"The trace was edited at event {record.broken}: only an unedited trace can be forked.")
    end, steps = prefix(record, at)
    if model is not None and any(e.type == "decision" and e.body.get("takeover") for e in steps):
        raise UsageError(f"The embedded planner had taken over before turn {at}: fork at an earlier one for --model.")
    objective, _, _ = contract(record)
    changes: JSON = {"model": absolute(model or objective.model), "seed": objective.seed if seed is None else seed}
    if effort is not None:
        changes["effort"] = effort
    if api is not None or changes["model"] != objective.model:
        changes["api"] = api or "auto"
    base_url = base_url or (record.header.get("base_url") if changes["model"] == objective.model else None)
    changed = priced(objective.model_copy(update=changes))
    choose.load_model(changes["model"], base_url)  # refuses an invalid model before anything is written
    run_id = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)
    header = {
        **record.header,
        "run": run_id,
        "rule": EVERY_CODE,
        "objective": changed.model_dump(mode="json"),
        "parent": {"kind": "fork", "run": record.header["run"], "at": at, "chain": record.events[end - 1].chain},
        "says": {str(turn): words for turn, words in says_of(record.header).items() if turn < at},
        "memory": str(memory.absolute()) if memory else None,
        "base_url": without_credentials(base_url),
    }
    words = say
    if changes["model"] == EMBEDDED:
        if say:
            watch.notify("note: the embedded planner decides from the measurements alone and ignores --say")
        words = say if objective.model == EMBEDDED else prompt.TAKEOVER
    if words:
        header["says"][str(at - 1)] = words
    path = trace_path(run_id)
    with closing(Trace(path, choose.secrets())) as trace:
        for step in (replace(record.events[0], key=run_id, body=header), *steps):
            trace.copy(step)
        trace.once("fork", f"turn {at - 1}", lambda: {**changes, "say": say or None})
    watch.notify(f"forking {record.header['run']} at turn {at}")
    for notice in about_model(changed):
        watch.notify(f"note: {notice}")
    try:
        return resume(str(path), watch, open_ or open_actions, base_url, ask or nobody)
    except UsageError:  # the run cannot start here, and it has done nothing that could be resumed
        path.unlink(missing_ok=True)
        raise


def prefix(record: Record, at: int) -> tuple[int, list[Event]]:
    """The index of the event that begins turn `at`, and the steps before it."""
    turns = [e for e in record.events if e.type == "decision" and e.key.startswith("turn ")]
    if not 1 <= at <= len(turns):
        raise UsageError(
            f"--at {at} is not a turn of this run: it has {f'turns 1 to {len(turns)}' if turns else 'none'}."
        )
    end = record.events.index(turns[at - 1])
    return end, [e for e in record.events[1:end] if e.type not in ("resume", "fork")]
