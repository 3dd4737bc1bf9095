"""What a person sees on stderr while a run goes on.

On a terminal a status line below the steps says what goes on now, for how long, the best so far and what is left of the
budget; elsewhere a step that takes long says so in a line of its own. What is shown may hold a model's words: control
characters never reach the terminal.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, Literal, TextIO

from agent.loop.progress import Watch, clean
from memory.terms import count_of, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.spinner import Spinner

    from agent.trace.trace import JSON

Loudness = Literal["quiet", "normal", "verbose"]
HEARTBEAT = 15.0
"""Seconds after which a step says again that it goes on, where there is no status line."""
REFRESH = 4
"""Status lines drawn a second."""
STYLES = {"    ": "dim", "note:": "yellow", "[": "bold", "stopping": "yellow"}
"""Beginning of a line to its style."""


class Terminal(Watch):
    """Lines, and a live status below them where `stream` is a terminal. Use it as a context manager."""

    def __init__(self, loudness: Loudness = "normal", stream: TextIO | None = None) -> None:
        super().__init__()
        self.loudness: Loudness = loudness
        self._stream = stream or sys.stderr
        self._live: Any = None
        self._console: Console | None = None
        self._spinner: Spinner | None = None
        self._done = threading.Event()
        self._apart = ExitStack()

    def __enter__(self) -> Terminal:
        # What a kernel's own code prints is no result: stdout is for that alone.
        self._apart.enter_context(redirect_stdout(self._stream))
        if self.loudness == "quiet":
            return self
        if is_terminal(self._stream):
            from rich.console import Console
            from rich.live import Live

            self._console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
            self._live = Live(
                console=self._console, get_renderable=self._status, refresh_per_second=REFRESH, transient=True
            )
            self._live.start()
        else:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._apart.close()

    def notify(self, line: str) -> None:
        """A line for a person."""
        if self.loudness == "quiet":
            return
        line = printable(line, "?")
        if self._console is None:
            print(line.encode("utf-8", "replace").decode(), file=self._stream, flush=True)
            return
        from rich.text import Text

        style = next((style for beginning, style in STYLES.items() if line.startswith(beginning)), "")
        self._console.print(Text(line, style=style), overflow="fold")

    @contextmanager
    def opening(self, line: str | None, after: float = 1.2) -> Iterator[None]:
        """Print `line` when the block ends, or after `after` seconds in it; not if the block fails before: a mistake in
        the command line is answered by one sentence."""
        once = threading.Lock()

        def first() -> None:
            if line and once.acquire(blocking=False):
                self.notify(line)

        timer = threading.Timer(after, first)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        first()

    def on_detail(self, line: str) -> None:
        if self.loudness == "verbose":
            self.notify(line)

    def ask(self, question: JSON) -> JSON:
        """A person's answers to batches that wait for approval (:data:`agent.loop.approval.Ask`)."""
        from agent.loop.approval import ask_person

        with self.paused():
            return ask_person(question, self._read_line, lambda line: print(line, file=self._stream, flush=True))

    def _read_line(self, prompt: str) -> str:
        """A line of stdin. Raises EOFError at its end."""
        print(prompt, end="", file=self._stream, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=self._stream, flush=True)
            raise EOFError
        return line

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Without the status line, while a person is asked."""
        if self._live is None:
            yield
            return
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def _status(self) -> RenderableType:
        from rich.spinner import Spinner
        from rich.text import Text

        assert self._console is not None
        self._spinner = self._spinner or Spinner("dots")
        self._spinner.update(text=Text(self.status(), style="cyan"))
        line = self._spinner.render(self._console.get_time())
        if isinstance(line, Text):
            line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def status(self) -> str:
        """One line: what goes on, the best so far, what is left."""
        now = self.standing
        at = time.monotonic()
        waited, left = at - now.since, now.left_at(at)
        parts = [f"{now.doing} {waited:.0f} s" if now.doing and waited >= 1 else now.doing]
        parts.append(f"best {now.best}" if now.best else "")
        if now.evaluations_left is not None and left is not None:
            parts.append(f"{count_of(now.evaluations_left, 'evaluation')}, {left:.0f} s left")
        return clean(" · ".join(part for part in parts if part))

    def _beat(self) -> None:
        """Print the current step if it takes long and nothing was printed meanwhile."""
        said = self.standing.since
        while not self._done.wait(1.0):
            now, at = self.standing, time.monotonic()
            if now.doing and at - max(said, now.since) >= HEARTBEAT:
                self.notify(f"    … {self.status()}")
                said = at


def is_terminal(stream: TextIO) -> bool:
    """Whether a status line can be drawn there."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
