"""Does more budget ever give less?  ``python -m tests.bench.bench_budget [--seeds N] [--landscape NAME] [--json FILE]``

For each recorded landscape and seed, a run of 1, 2, 4 … 64 evaluations: the evaluations of a smaller budget must be a
prefix of a larger one's, a proof must not get lost, and the result's time by set B must not be worse than a smaller
budget's by more than the intervals of both.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from tests.tools.budgets import Played, play
from tools.harness.landscapes.named import list_landscapes

BUDGETS = (1, 2, 4, 8, 16, 32, 64)


def faults_of(runs: dict[int, Played]) -> list[str]:
    """What breaks the property, over the runs of one landscape and seed by budget."""
    found = []
    for small, large in [(a, b) for a in runs for b in runs if a < b]:
        less, more = runs[small], runs[large]
        if more.measured[: len(less.measured)] != less.measured:
            found.append(f"{small} evaluations are no prefix of {large}")
        if less.outcome.best is None or more.outcome.best is None:
            continue
        worse = more.ms / less.ms
        allowed = width(less) * width(more)
        if worse > allowed:
            found.append(f"{large} evaluations end {worse - 1:.2%} slower than {small}, {allowed - 1:.2%} is noise")
        if less.outcome.proven and not more.outcome.proven:
            found.append(f"proven with {small} evaluations ({less.outcome.why}), not with {large} ({more.outcome.why})")
    return found


def width(run: Played) -> float:
    """Upper end of the result's speed-up over its value, the interval's half width as a factor."""
    rows = [b for b in run.outcome.baselines if b.speedup is not None and b.ci is not None]
    return max((b.ci[1] / b.speedup for b in rows if b.ci and b.speedup), default=1.0)


@click.command()
@click.option("--seeds", default=20, show_default=True)
@click.option("--landscape", "names", multiple=True, help="All without it.")
@click.option("--json", "out", type=click.Path(path_type=Path))
def main(seeds: int, names: tuple[str, ...], out: Path | None) -> None:
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    known = list_landscapes()
    unknown = [name for name in names if not any(name in landscape.name for landscape in known)]
    if unknown:
        raise click.UsageError(f"no landscape is named {unknown[0]}: there is {', '.join(x.name for x in known)}")
    for landscape in known:
        if names and not any(name in landscape.name for name in names):
            continue
        found: list[str] = []
        proven = dict.fromkeys(BUDGETS, 0)
        for seed in range(seeds):
            with tempfile.TemporaryDirectory(prefix="autokernel-budget-") as folder:
                os.environ["XDG_DATA_HOME"] = folder
                runs = {budget: play(landscape, budget, seed, Path(folder)) for budget in BUDGETS}
            found += [f"seed {seed}: {fault}" for fault in faults_of(runs)]
            for budget, run in runs.items():
                proven[budget] += run.outcome.proven
        rows.append({"landscape": landscape.name, "seeds": seeds, "proven": proven, "faults": found})
        share = ", ".join(f"{n} of {seeds} with {budget}" for budget, n in proven.items())
        print(f"{landscape.name}: {len(found)} faults; proven {share}  ({time.monotonic() - began:.0f} s)", flush=True)
        for fault in found[:10]:
            print(f"    {fault}")
        if out:
            out.write_text(json.dumps(rows, indent=1) + "\n")
    raise SystemExit(1 if any(row["faults"] for row in rows) else 0)


if __name__ == "__main__":
    main()
