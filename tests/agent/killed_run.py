"""A run in a process that can be killed at any moment: :func:`go_on` begins it, or goes on where it was killed."""

from __future__ import annotations

import os
from pathlib import Path

RUN = "20260101-000000-abcdef"
PRELOAD = [
    "openai",
    "tenacity",
    "langgraph.graph",
    "langgraph.checkpoint.sqlite",
    "agent.loop.graph",
    "agent.loop.run",
    __name__,
]
"""What the processes find imported: a kill is to hit the run and not its imports."""


def go_on(folder, url):
    from agent.loop.progress import Watch
    from agent.loop.run import begin, resume
    from agent.trace.paths import trace_path
    from tests.agent.fake_actions import objective, opener

    os.environ.update(XDG_DATA_HOME=folder, OPENAI_API_KEY="sk-of-the-test-0123")
    open_ = opener(Path(folder) / "ledger", pause=0.01)
    if trace_path(RUN).exists() and b"\n" in trace_path(RUN).read_bytes():
        resume(RUN, Watch(), open_)
    else:
        trace_path(RUN).unlink(missing_ok=True)
        begin(objective().model_copy(update={"model": "m"}), None, url, Watch(), open_, run_id=RUN)
