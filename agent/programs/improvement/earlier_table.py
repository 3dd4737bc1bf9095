"""The table that is in the file before ``improve`` writes to it: what is not decided anew stays in the file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from agent.errors import UsageError
from agent.programs.improvement.tuned_rows import KEPT
from kernels.tuned.tuned_file import NotATable, read_table
from kernels.tuned.tuned_table import TunedTable


def read_earlier(out: Path, capture: Path) -> TunedTable:
    """The table in `out`, empty if there is none yet. Raises UsageError if `out` holds anything else, which a new table
    would destroy."""
    try:
        if not out.is_file() or out.stat().st_size == 0:  # a folder or a device is the writer's affair
            return TunedTable()
        if out.samefile(capture):
            raise UsageError(f"{out} is the capture itself: name another file by -o.")
        return read_table(out)
    except OSError as e:
        raise UsageError(f"{out} cannot be read ({e.strerror}): name another file by -o.") from e
    except NotATable as e:
        raise UsageError(
            f"{out} exists and is no table that rows can be added to: name another file by -o, or delete it."
        ) from e


def merge_tables(earlier: TunedTable, made: TunedTable, left_out: Collection[str] = ()) -> TunedTable:
    """`made`, and the rows of `earlier` that it does not decide. `left_out`: names of rows that are dropped, because
    their launches are held out now. A row that only repeats the autotuner's choice replaces no earlier decision."""
    whole = TunedTable(untuned=made.untuned, held_out=made.held_out)
    for row in earlier.rows:
        if row.name not in left_out:
            whole.add(row, earlier.evidence.get(row.name))
    decided = {row.name for row in whole.rows if not _repeats_choice(whole, row.name)}
    for row in made.rows:
        if row.name not in decided or not _repeats_choice(made, row.name):
            whole.add(row, made.evidence.get(row.name))
    return whole


def _repeats_choice(table: TunedTable, name: str) -> bool:
    """Whether a row only repeats what the autotuner chose in the captured program."""
    return (table.evidence.get(name) or {}).get("why") == KEPT
