"""Runs that LangGraph's server works on: what they need beside their checkpoint lives in this process, by run id.

A server keeps the loop's state, and calls one node at a time. Model, session and trace of a run cannot be put into a
checkpoint: they are opened when a run begins, and opened again from its trace if the server was started anew."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from agent.goal.objective import Objective
from agent.loop import progress
from agent.loop.device_check import check_gpu
from agent.loop.progress import Watch
from agent.loop.run import context_of, header_of, load_model_of, new_run_id, objective_left, open_actions, prepare_again
from agent.loop.state import Context
from agent.models import choose
from agent.trace.paths import trace_path
from agent.trace.trace import Trace, read_trace

KEPT = 4
"""Open runs at most: one that waits for approval holds a session, on a GPU its workers too."""


class StreamWatch(Watch):
    """Lines of progress go to whoever streams the run (``stream_mode="custom"``), and into its state."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def take(self) -> list[str]:
        """The lines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def notify(self, line: str) -> None:
        from langgraph.config import get_stream_writer

        self._lines.append(line)
        try:
            write = get_stream_writer()
        except (RuntimeError, KeyError, LookupError):  # said between two nodes
            return
        write({"line": line})


@dataclass
class Served:
    """An open run."""

    context: Context
    trace: Trace
    watch: StreamWatch
    asked: float | None = None
    """``time.monotonic()`` since which a person is asked; that time is not the run's."""

    def close(self) -> None:
        self.trace.close()
        self.context.actions.close()


class ServedRuns:
    """The open runs of this process, the one that was used last at the end."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Served] = OrderedDict()
        self._lock = RLock()

    def begin(self, objective: Objective, memory: Path | None, base_url: str | None, notes: Sequence[str]) -> Served:
        """Open a new run. Raises AgentError."""
        began, run_id, watch = time.monotonic(), new_run_id(), StreamWatch()
        model = load_model_of(objective, base_url, watch)
        actions = open_actions(objective, memory, run_id, watch)
        try:
            check_gpu(objective, actions.setting)
            for line in (progress.describe_run(objective, actions.setting, run_id), *notes):
                watch.notify(line)
            trace = Trace(trace_path(run_id), choose.secrets())
            header = header_of(run_id, objective, actions, memory, base_url)
            trace.once("header", run_id, lambda: header)
            context = context_of(objective, actions, model, trace, trace, run_id, watch, began)
        except BaseException:
            actions.close()
            raise
        return self._keep(Served(context, trace, watch))

    def get(self, run_id: str) -> Served:
        """The run, opened again if this process does not hold it. Raises AgentError."""
        with self._lock:
            if run_id in self._open:
                self._open.move_to_end(run_id)
                return self._open[run_id]
        return self._keep(self._again(run_id))

    def close(self, run_id: str) -> None:
        """Nothing more comes of this run."""
        with self._lock:
            served = self._open.pop(run_id, None)
        if served is not None:
            served.close()

    def _keep(self, served: Served) -> Served:
        with self._lock:
            self._open[served.context.run_id] = served
            oldest = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - KEPT)]
        for each in oldest:
            each.close()
        return served

    def _again(self, run_id: str) -> Served:
        began, watch = time.monotonic(), StreamWatch()
        path = trace_path(run_id)
        trace = Trace(path, choose.secrets())
        try:
            record = read_trace(path)
            objective, again, spent = objective_left(record, path)
            memory, url = record.header["memory"], record.header["base_url"]
            model = load_model_of(objective, url, watch)
            actions = open_actions(again, Path(memory) if memory else None, run_id, watch)
        except BaseException:
            trace.close()
            raise
        try:
            prepare_again(actions, trace, record, spent)
            context = context_of(objective, actions, model, trace, trace, run_id, watch, began - spent)
        except BaseException:
            trace.close()
            actions.close()
            raise
        return Served(context, trace, watch)
