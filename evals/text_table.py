"""Tables on stdout, by rich: fitted to a terminal, and plain text of any width elsewhere, a line a row."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from memory.terms import printable

ANY_WIDTH = 100_000
"""Characters of a line where there is no terminal: nothing is folded or cut off."""


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: bool = False) -> None:
    """Print aligned columns, two spaces apart. With `right`, all but the first are aligned to the right: numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, name in enumerate(head):
        table.add_column(Text(name), justify="right" if right and i else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell, "?")) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = ANY_WIDTH
    with console.capture() as drawn:
        console.print(table)
    lines = drawn.get().splitlines()
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))
    sys.stdout.flush()
