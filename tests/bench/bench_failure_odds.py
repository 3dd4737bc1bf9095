"""How well failures are foretold: ``python -m tests.bench.bench_failure_odds [FILE…] [--view raw]``.

Of each space (without FILE: all landscapes that come with the project and the spaces of ``tests/bench/spaces``) some
configs are drawn at random, and what came of them gives the odds of all others. Printed is the log loss of these odds,
without and with pairs of values as explanations: 0 is certain and right, 0.69 is a coin. Spaces without failures are
left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import click
import numpy as np

from tests.bench.planner_spaces import VIEWS, load
from tools.harness.landscapes.files import SUFFIXES
from tools.harness.landscapes.named import folder
from tools.planner import surrogate
from tools.planner.cost.resources import Flags, Floats
from tools.planner.features import Encoder
from tools.planner.propose import FITS_ODDS

TRIED = (12, 25, 50)
DRAWS = 8
SPACES = Path(__file__).parent / "spaces"
both = surrogate._causes


def values_alone(seen: Floats, worked: Flags) -> Any:
    causes, has = both(seen, worked)
    alone = sum(len(c) == 1 for c in causes)
    return causes[:alone], has[:alone]


def log_loss(points: Floats, works: Flags, tried: int, draw: int) -> float:
    drawn = np.random.default_rng(draw).choice(len(points), tried, replace=False)
    odds = surrogate.success_odds(points, points[drawn], works[drawn], np.full(len(points), FITS_ODDS))
    left, worked = np.delete(np.clip(odds, 0.01, 0.99), drawn), np.delete(works, drawn)
    return float(-np.log(np.where(worked, left, 1 - left)).mean())


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--view", default="raw", type=click.Choice(VIEWS), show_default=True)
@click.option("--deals", type=click.IntRange(1), default=1, show_default=True, help="How often the view is dealt.")
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Add the figures to this file.")
def main(files: tuple[Path, ...], view: str, deals: int, out: Path | None) -> None:
    paths = files or sorted(p for where in (folder(), SPACES) for p in where.glob("*") if p.name.endswith(SUFFIXES))
    rows = json.loads(out.read_text()) if out and out.exists() else []
    for path in paths:
        spaces = [load(path, view, deal) for deal in range(deals)]
        if all(len(s.times) == len(s.configs) for s in spaces):
            continue
        row: dict[str, Any] = {"space": spaces[0].name, "view": spaces[0].view, "tried": TRIED}
        row["failures"] = round(fmean(1 - len(s.times) / len(s.configs) for s in spaces), 3)
        known = [(Encoder(s.configs).encode(s.configs), np.array([c in s.times for c in s.configs])) for s in spaces]
        for name, causes in (("values", values_alone), ("pairs", both)):
            with patch.object(surrogate, "_causes", causes):
                row[name] = [
                    round(fmean(log_loss(*k, n, draw) for k in known for draw in range(DRAWS)), 3) for n in TRIED
                ]
        rows.append(row)
        print(json.dumps(row), flush=True)
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
