"""Entries of the suite within a budget of seconds, whose rows keep every config that was screened."""

import time
import traceback
from collections.abc import Callable

import click

from evals.bench.output import Row, print_progress
from evals.bench.suite import Entry, Judged
from evals.bench.suite_run import Opened, SuiteRun


class OutOfTime(Exception):
    """No further entry is begun."""


class RecordedRun(SuiteRun):
    """A suite whose rows keep what was screened, and in which a failure of one entry ends no other."""

    def _judge(self, entry: Entry, judged: Judged, opened: Opened) -> Row:
        try:
            row = super()._judge(entry, judged, opened)
        except Exception as e:  # noqa: BLE001 -- it is part of the answer
            traceback.print_exc()
            row = {"entry": entry.name, "judged": judged, "kernel": entry.case.kernel, "targets": [], "baselines": []}
            row |= {"status": "failed", "reason": f"{type(e).__name__}: {e}"}
        return row | {"screened": [m.model_dump(mode="json", exclude_none=True) for m in opened.screened]}


def run_within(run: SuiteRun, entries: tuple[Entry, ...], seconds: float, keep: Callable[[list[Row]], None]) -> None:
    """Run `entries` and hand the rows to `keep` after each of them; none is begun once `seconds` are over. A failure
    is printed: what comes after the entries still comes."""
    began = time.monotonic()

    def told(found: list[Row]) -> None:
        keep(found)
        took = time.monotonic() - began
        print_progress(f"{took:.0f} s: {found[-1]['entry']} {found[-1]['judged']} is done")
        if took > seconds:
            raise OutOfTime

    try:
        run.rows(entries, told)
    except OutOfTime:
        print_progress("no time left for further entries")
    except Exception:  # noqa: BLE001 -- see above
        traceback.print_exc()


def print_screened(rows: list[Row], most: int) -> None:
    """Of each row the `most` fastest configs that were screened, and as many that failed, with their reason."""
    for row in rows:
        screened = row.get("screened", [])
        timed = sorted((m for m in screened if m["status"] == "correct"), key=lambda m: m["ms"])
        failed = [m for m in screened if m["status"] != "correct"]
        click.echo(f"{row['entry']} {row['judged']}: {row['status']} {row.get('reason', '')}")
        for m in timed[:most]:
            click.echo(f"  {m['ms']:.4f} ms {m['config']}")
        for m in failed[:most]:
            click.echo(f"  {m['status']}: {m.get('reason', '')[:160]} {m['config']}")
