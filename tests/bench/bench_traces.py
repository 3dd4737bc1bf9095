"""What traces cost and survive: ``python -m tests.bench.bench_traces kills|size``.

kills: runs of the real session on the recorded device, killed by SIGKILL at random moments (200 by default, ten to a
run) and resumed each time; result, attempts and steps must equal those of an undisturbed run with the same seed.
size: a trace of 10,000 events, shown and exported by the command line: seconds and peak memory of each.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

from tests.agent.loop.killed import ROOT, Place, outcome, repeated
from tests.agent.trace.large import write_large

PER_RUN = 10
EVALUATIONS = 16


@click.group()
def commands() -> None:
    """Benchmarks of traces."""


@commands.command()
@click.option("--count", default=200, help="SIGKILLs altogether.")
@click.option("--seed", default=0)
@click.option("--folder", type=click.Path(path_type=Path), default=None)
def kills(count: int, seed: int, folder: Path | None) -> None:
    """SIGKILL and resume."""
    folder = folder or Path(tempfile.mkdtemp())
    dice, undisturbed, moments, runs = random.Random(seed), {}, Counter[str](), 0
    began = time.monotonic()
    while moments.total() < count:
        chosen = runs % 4
        if chosen not in undisturbed:
            whole = Place(folder / f"undisturbed-{chosen}", chosen, EVALUATIONS)
            whole.finish()
            undisturbed[chosen] = outcome(whole)
        place = Place(folder / f"run-{runs}", chosen, EVALUATIONS)
        for _ in range(min(PER_RUN, count - moments.total())):
            moment = place.kill_once(dice)
            if not moment:
                break
            moments[moment] += 1
            if place.ended():
                break
        place.finish()
        runs += 1
        found, twice = outcome(place), repeated(place)
        for what, expected in undisturbed[chosen].items():
            if found[what] != expected:
                click.echo(f"DIFFERENT {what} in {place.folder}:\n  {expected}\n  {found[what]}")
                sys.exit(1)
        if twice:
            click.echo(f"DONE TWICE in {place.folder}: {twice}")
            sys.exit(1)
        click.echo(f"{moments.total()} kills, {runs} runs, {time.monotonic() - began:.0f} s: equal", err=True)
    report = {"kills": moments.total(), "runs": runs, "died": dict(moments.most_common())}
    click.echo(json.dumps(report | {"different": 0, "done_twice": 0, "seconds": round(time.monotonic() - began)}))


@commands.command()
@click.option("--events", default=10_000)
@click.option("--runs", default=3)
def size(events: int, runs: int) -> None:
    """Show and export a large trace."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "large.jsonl"
        write_large(trace, events)
        click.echo(f"{events} events, {trace.stat().st_size / 1e6:.1f} MB")
        for command in (["show"], *(["export", "--format", f] for f in ("html", "atif", "otel"))):
            best, peak, out = float("inf"), 0, Path(folder) / "out"
            for _ in range(runs):
                began = time.monotonic()
                line = [sys.executable, "-m", "agent", command[0], str(trace), *command[1:]]
                if command[0] == "export":
                    line += ["--output", str(out), "--force"]
                done = subprocess.run(
                    [sys.executable, "-c", MEASURED, *line], cwd=ROOT, capture_output=True, text=True, check=False
                )
                best = min(best, time.monotonic() - began)
                if done.returncode:
                    click.echo(done.stderr)
                    sys.exit(1)
                peak = max(peak, int(done.stderr.split()[-1]))
            click.echo(f"{' '.join(command):24} {best:6.2f} s  {peak / 1024:6.0f} MB")


MEASURED = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, "
    "stderr=subprocess.DEVNULL).returncode; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code not in (0, 3))"
)

if __name__ == "__main__":
    commands()
