"""``bench --suite h200``: prints an estimate of the time, runs the entries, and prints the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from evals.bench import launch_overhead, targets
from evals.bench.output import Row, print_progress, print_table, store
from evals.bench.suite import MEANS, chosen
from evals.bench.suite_run import SuiteRun, estimate
from kernels.ops.tuned_files import load

SECONDS = 2.0
"""Seconds per proof: enough for 12 rounds in the burst regime and the minimum of 4 rounds in the sustained regime."""


def run_suite(
    only: str | None,
    tuned: Path | None,
    device: str,
    configs: int,
    seconds: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print an estimate, run the suite h200 and print its table. Each entry is stored when it is finished. Exits with
    code 1 if an entry failed."""
    entries, host = chosen(tuple(name for name in (only or "").split(",") if name))
    run = SuiteRun(device, configs, seconds or SECONDS, None if tuned is None else load(tuned), print_progress)
    expected = estimate(entries, configs if tuned is None else 1)
    parts = ", ".join(f"{name} {each:.0f}" for name, each in expected.items())
    click.echo(f"about {sum(expected.values()):.0f} s: {parts}", err=True)
    child = launch_overhead.start(tuned) if host else None
    launch: Row | None = None

    def keep(rows: list[Row]) -> None:
        store(out, {"rows": rows, "means": targets.means(rows, MEANS), "launch": launch})

    try:
        rows = run.rows(entries, keep) if entries else []
        if child is not None:
            launch = launch_overhead.measure(child, device)
            keep(rows)
    finally:
        if child is not None:
            child.kill()
    means = targets.means(rows, MEANS)
    if as_json:
        click.echo(json.dumps({"rows": rows, "means": means, "launch": launch}))
    else:
        columns = ("entry", "regime", "ms", "rate", "mJ", "against", "ratio", "target", "verdict")
        print_table(targets.lines(rows, means, launch), columns)
    done = [r["status"] for r in rows] + ([] if launch is None else [launch["status"]])
    if any(status not in ("correct", "skipped") for status in done):
        sys.exit(1)
