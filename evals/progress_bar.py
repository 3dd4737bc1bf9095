"""How far a long command is, on stderr: rich's progress bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_S, DRAWING_S = 10.0, 0.2
"""Seconds between two lines, and between two drawings of the bar."""


class ProgressBar:
    """Use it as a context manager; :meth:`show` as often as there is something new."""

    def __init__(self, finished: int = 0) -> None:
        """`finished` units were done before this command began: they say nothing about its pace."""
        self._finished, self._what = finished, ""
        self._began = self._shown = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: Any) -> None:
        self._close()

    def show(self, what: str, done: int, total: int) -> None:
        """`done` of `total` units of `what` are done."""
        now = time.monotonic()
        if what != self._what:
            self._close()
            self._what, self._began, self._shown = what, now, 0.0
        terminal = self._bar is not None or sys.stderr.isatty()  # a bar puts a proxy in the place of sys.stderr
        if done < total and now - self._shown < (DRAWING_S if terminal else LINE_S):
            return
        self._shown = now
        if terminal:
            self._draw(done, total)
        else:
            made = done - self._finished
            left = (now - self._began) / made * (total - done) if made > 0 else 0.0
            click.echo(f"{what}: {done} of {total}, {left:.0f} s left", err=True)
        if done >= total:
            self._close()

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            # Drawn by show alone: no thread of rich's runs beside what is measured.
            self._bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=total, completed=self._finished)
        assert self._task is not None
        self._bar.update(self._task, completed=done, refresh=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
