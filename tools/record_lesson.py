"""Write down one general insight of this run, with the evidence for it, for later runs on this kernel: what to try or
avoid and why. It is kept as quoted text and proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from memory.shared_models import Closed
from tools.declaration import Declaration

if TYPE_CHECKING:
    from kernels.spec import KernelSpec
    from tools.session.session import Session

DECLARATION = Declaration("writing down a lesson")

LONGEST = 600
"""Characters of a lesson: two or three sentences."""
MOST = 5
"""Lessons of one run: more would bury the good ones."""


class RecordLesson(Closed):
    """A lesson in words."""

    text: str = Field(
        min_length=10, max_length=LONGEST, description="the insight and its evidence, in one to three sentences"
    )


def arguments(spec: KernelSpec[Any, Any]) -> type[BaseModel]:
    return RecordLesson


def run(session: Session, args: RecordLesson, call_id: str) -> dict[str, Any]:
    """Whether it is kept; the same text twice is kept once."""
    text = " ".join(args.text.split())
    known = [row["text"] for row in session.memory.ask("SELECT text FROM lessons WHERE run_id = ?", [session.run_id])]
    if text in known:
        return {"recorded": True, "lessons_of_this_run": len(known)}
    if len(known) >= MOST:
        return {"error": "lessons", "why": f"a run may record {MOST} lessons, and this one has"}
    if len(text) < 10:
        return {"error": "arguments", "tool": "record_lesson", "problems": ["text: it says nothing"]}
    ids = session.ids
    session.memory.record_lesson(session.run_id, session.task.spec.name, ids.problem, ids.environment, text)
    return {"recorded": True, "lessons_of_this_run": len(known) + 1}
