"""The table that is in the file before ``improve`` writes to it: what is not decided anew stays in the file, rows of
this and of other programs as well as the entries of launches that have none."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from agent.errors import UsageError
from agent.programs.improvement.tuned_rows import KEPT
from kernels.tuned.tuned_file import NotATable, alone, read_table, write_table
from kernels.tuned.tuned_table import Json, TunedRow, TunedTable, digest_of
from memory.command_line.output_files import check_output

TITLE = re.compile(r"(.+) \(([0-9a-f]{8}(?:, [0-9a-f]{8})*)\)")
"""How an entry of ``untuned`` names a kernel and launches: ``gated (41a8f59f, f5c43e58)``."""


@dataclass(frozen=True)
class Demands:
    """What this command asks of rows that it does not decide, by their names. Rows of other launches, of other programs
    perhaps, are none of its business."""

    held_out: frozenset[str] = frozenset()
    """Their launches get no row now."""
    bitwise: frozenset[str] = frozenset()
    """They must give the bits of the launch as captured."""

    def fault(self, row: TunedRow, evidence: Json) -> str | None:
        """Why an earlier row cannot stay, as a sentence's end; None if it can."""
        if row.name in self.held_out:
            return "its launch is held out"
        if row.name in self.bitwise and not _has_owner_bits(row, evidence):
            return "nothing shows that it gives the bits of the launch as captured (--bitwise)"
        return None


@dataclass
class EarlierTable:
    """The table, and what a command asks of it. Rows that another command adds to the file meanwhile belong to it."""

    table: TunedTable = field(default_factory=TunedTable)
    demands: Demands = field(default_factory=Demands)
    launches: Mapping[str, str] = field(default_factory=dict)
    """The launches that the command is about: digest → name of the row."""
    functions: Mapping[str, Container[str]] = field(default_factory=dict)
    """Those of the capture, by their places, with their revisions there (:func:`improve_plan.revision_of`)."""

    def __post_init__(self) -> None:
        self._seen = _contents(self.table)
        """What this command last read from the file, or wrote into it."""

    def write(self, made: TunedTable, out: Path) -> TunedTable:
        """Write :meth:`merged_with` into the file, beside what another command has written there since this one last
        looked; what was written. Raises OSError, and UsageError if the file holds no table any more."""
        with alone(out):
            if out.is_file() and out.stat().st_size:
                self._follow(_read(out))
            whole = self.merged_with(made)
            write_table(whole, out)
        self._seen = _contents(whole)
        return whole

    def _follow(self, now: TunedTable) -> None:
        """Take in what another command has changed in the file, which holds `now`."""
        there = _contents(now)
        gone = self._seen.keys() - there.keys()
        self.table.rows = [row for row in self.table.rows if row.name not in gone]
        for row in now.rows:
            if self._seen.get(row.name) != there[row.name]:
                self.table.add(row, now.evidence.get(row.name))
        # What this command has written of its own launches stands there too, and is replaced by what it says now.
        self.table.untuned, self.table.held_out = now.untuned, now.held_out

    def row(self, name: str) -> TunedRow | None:
        return next((row for row in self.table.rows if row.name == name), None)

    def fault(self, row: TunedRow) -> str | None:
        """Why the row cannot stay; None if it can."""
        return self.demands.fault(row, self.table.evidence.get(row.name) or {})

    def taken_out(self, made: TunedTable) -> list[TunedRow]:
        """Rows that are dropped for what this command asks, and not for a decision of `made`."""
        decided = {row.name for row in made.rows if not _repeats_choice(made, row.name)}
        return [row for row in self.table.rows if row.name not in decided and self.fault(row) is not None]

    def merged_with(self, made: TunedTable) -> TunedTable:
        """`made`, and the earlier rows that it does not decide and that can stay. A row that only repeats the
        autotuner's choice replaces no earlier decision. Of launches without rows the earlier entries stay, but for
        those of launches that `made` tells anew, and of functions that the capture has in other revisions alone: no
        launch has the digests of such entries any more."""
        whole = TunedTable(untuned=self._untuned(made), held_out=self._held_out(made))
        for row in self.table.rows:
            if self.fault(row) is None:
                evidence = self.table.evidence.get(row.name)
                whole.add(self._without_unknown_bits(row, evidence or {}), evidence)
        decided = {row.name for row in whole.rows if not _repeats_choice(whole, row.name)}
        for row in made.rows:
            if row.name not in decided or not _repeats_choice(made, row.name):
                whole.add(row, made.evidence.get(row.name))
        return whole

    def _untuned(self, made: TunedTable) -> list[Json]:
        titles = {entry["kernel"] for entry in made.untuned}
        told = {digest[:8] for digest in [*self._decided(made), *_held_out_digests(made)]}
        told |= {digest for title in titles for digest in _digests(title)}
        current = (entry for entry in self.table.untuned if not self._is_outdated(entry))
        found = (_without_launches(entry, told) for entry in current if str(entry.get("kernel")) not in titles)
        return [*filter(None, found), *made.untuned]

    def _held_out(self, made: TunedTable) -> list[Json]:
        told = self._decided(made) | _held_out_digests(made)
        current = (entry for entry in self.table.held_out if not self._is_outdated(entry))
        return [*(entry for entry in current if str(entry.get("launch")) not in told), *made.held_out]

    def _is_outdated(self, entry: Json) -> bool:
        """Whether the function of an entry has been edited since. Of a function that the capture does not hold, or an
        entry that names none, nothing is known."""
        function = entry.get("function")
        named = function if isinstance(function, dict) else {}
        here = self.functions.get(str(named.get("place")))
        return here is not None and str(named.get("revision")) not in here

    def _decided(self, made: TunedTable) -> set[str]:
        """Digests of the launches that a row of `made` decides."""
        rows = {row.name for row in made.rows if not _repeats_choice(made, row.name)}
        return {digest for digest, name in self.launches.items() if name in rows}

    def _without_unknown_bits(self, row: TunedRow, evidence: Json) -> TunedRow:
        """A neighbour's config was compared with the owner's bits only if its row was made with ``--bitwise``."""
        unknown = row.also and row.name in self.demands.bitwise and not evidence.get("bitwise")
        return replace(row, also=()) if unknown else row


def read_earlier(out: Path, capture: Path) -> TunedTable:
    """The table in `out`, empty if there is none yet. Raises OutputError if `out` cannot be written, and UsageError if
    it holds anything else, which a new table would destroy."""
    check_output(out, "-o", (capture,), replaced_repeatedly=True)
    try:
        return TunedTable() if not out.is_file() or out.stat().st_size == 0 else _read(out)
    except OSError as e:
        raise UsageError(f"{out} cannot be read ({e.strerror}): name another file by -o.") from e


def _read(out: Path) -> TunedTable:
    try:
        return read_table(out)
    except NotATable as e:
        raise UsageError(f"Rows cannot be added to {out}, so name another file by -o: {e}.") from e


def _contents(table: TunedTable) -> dict[str, str]:
    """What is known of each row, by its name, in a form that writing and reading does not change."""
    return {row.name: digest_of([asdict(row), table.evidence.get(row.name)]) for row in table.rows}


def _digests(title: object) -> list[str]:
    """The beginnings of digests in the title of an entry of ``untuned``."""
    named = TITLE.fullmatch(title) if isinstance(title, str) else None
    return named[2].split(", ") if named else []


def _without_launches(entry: Json, told: Container[str]) -> Json | None:
    """An entry of ``untuned`` without the launches that are `told` of elsewhere; None if no launch is left."""
    digests = _digests(entry.get("kernel"))
    left = [digest for digest in digests if digest not in told]
    if len(left) == len(digests):  # an entry may name no launch, but a kernel of another table
        return entry
    return {**entry, "kernel": f"{entry['kernel'].rpartition(' (')[0]} ({', '.join(left)})"} if left else None


def _held_out_digests(table: TunedTable) -> set[str]:
    return {entry["launch"] for entry in table.held_out}


def _has_owner_bits(row: TunedRow, evidence: Json) -> bool:
    """Whether a row is known to give the bits of the launch as captured. A stock row launches the owner's config."""
    return row.status == "stock" or evidence.get("bits") == "same"


def _repeats_choice(table: TunedTable, name: str) -> bool:
    """Whether a row only repeats what the autotuner chose in the captured program."""
    return (table.evidence.get(name) or {}).get("why") == KEPT
