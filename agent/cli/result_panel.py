"""The result of a run on stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agent.cli.terminal import is_terminal
from agent.errors import FAILED, PROVEN, UNPROVEN
from agent.loop.outcome import render, replay_command

if TYPE_CHECKING:
    from agent.loop.run import Ended


def print_result(ended: Ended, json_: bool) -> int:
    """Print the outcome on stdout; returns the exit code, which tells whether it is proven and its targets are reached,
    or that our own machinery failed, which stderr explains."""
    outcome = ended.outcome
    if json_:
        print(outcome.model_dump_json())
    else:
        print_report(render(outcome, ended.setting, replay_command(outcome.trace)), outcome.satisfied)
    if outcome.infrastructure:
        print(f"error: The proof could not be made: {outcome.why}.", file=sys.stderr)
        return FAILED
    return PROVEN if outcome.satisfied else UNPROVEN


def print_report(text: str, proven: bool) -> None:
    """Print a report: on a terminal in a panel, elsewhere as it is. Trace and replay command go below the panel, so
    that they can be copied."""
    if not is_terminal(sys.stdout):
        print(text)
        return
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    verdict, *lines = text.splitlines()
    word, _, why = verdict.partition(": ")
    color = "green" if proven else "yellow"
    tail = [line for line in lines if line.startswith(("trace ", "replay "))]
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(word, style=f"bold {color}"), Text(why, style="bold"))
    for line in lines:
        if line not in tail:
            name, rest = line.split(" ", 1) if line[:1].strip() else ("", line)
            grid.add_row(Text(name, style="dim"), Text(rest.strip()))
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(Panel(grid, border_style=color))
    for line in tail:
        console.print(Text(line), soft_wrap=True)
