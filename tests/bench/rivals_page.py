"""docs/RIVALS.md from rows of ``bench_planner``: ``python -m tests.bench.rivals_page ROWS.json… PAGE.md``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np

Row = dict[str, Any]
PLANNER = "planner"
DRAWS = 10_000
"""Of spaces, for an interval."""
HEAD = """# The planner and its rivals on hidden spaces

    python -m tests.bench.bench_planner FILE… --view raw --seeds 20 --most 50 --agent planner --json planner-hidden.json
    python -m tests.bench.bench_planner FILE… --view raw --seeds 20 --most 50 --json planner-rivals.json
    python -m tests.bench.rivals_page planner-hidden.json planner-rivals.json docs/RIVALS.md

in `docs/data`. The second has an `--agent` for each other column; FILE are the eight landscapes that were recorded
first and the three C programs of `tests/bench/spaces`.
Everybody searches the same spaces with the same {seeds} seeds; a seed gives everybody the same generator of
readings.{fewer}
Names of kernel, problem and compiler are hidden, and a failure costs an evaluation (view `raw`). `optuna_tpe` and
`optuna_gp` are the samplers of Optuna 5 with their defaults; a suggestion outside the space is moved to the nearest
untried config. The `kt_` rivals are strategies of Kernel Tuner 1.5, made for longer budgets. `forest_tree_quick` is a
tree search in the manner of Helion's default, in the size of its quick effort: the full effort begins with 100 random
configs, which would be random search here. The planner's constants were chosen on seven of these spaces, and its
rivals' on none. The others are set aside: their scores are printed, and nobody looks at their curves.
"""


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    agents, spaces = (list(dict.fromkeys(r[name] for r in rows)) for name in ("agent", "landscape"))
    found = {(r["landscape"], r["agent"]): r for r in rows}
    if len(found) != len(agents) * len(spaces) or PLANNER not in agents:
        raise ValueError("the planner and every rival search every space")
    aside = set_aside(spaces)
    scores = {key: fmean(r["P_1_50_each"]) for key, r in found.items()}
    regrets = {key: 100 * fmean(r["lost_at_end_each"]) for key, r in found.items()}
    top = ["| space | " + " | ".join(agents) + " |", "|---|" + "--:|" * len(agents)]

    def table(cell: Any, mean: Any) -> list[str]:
        lines = [
            f"| {s}{' (set aside)' if s in aside else ''} | "
            + " | ".join(cell(found[s, a], (s, a)) for a in agents)
            + " |"
            for s in spaces
        ]
        return [*top, *lines, "| mean | " + " | ".join(mean(a) for a in agents) + " |", ""]

    return "\n".join(
        [
            HEAD.format(**_count_seeds(rows)),
            "## P over evaluations 1 to 50\n",
            "Mean of the seeds, in brackets the least: random search 0, the optimum at once 1.\n",
            *table(
                lambda r, key: f"{scores[key]:.2f} ({min(r['P_1_50_each']):.2f})",
                lambda a: f"{fmean(scores[s, a] for s in spaces):.2f}",
            ),
            "## Regret after the last evaluation\n",
            "Mean of the seeds, per cent above the best config's recorded time.\n",
            *table(lambda r, key: f"{regrets[key]:.1f}", lambda a: f"{fmean(regrets[s, a] for s in spaces):.1f}"),
            "## The planner less each rival\n",
            "P over evaluations 1 to 50, mean over the spaces; the interval resamples spaces (95 %).\n",
            "| rival | difference | interval | spaces on which the rival is ahead |",
            "|---|--:|--:|---|",
            *(_against(scores, spaces, a) for a in agents if a != PLANNER),
            "",
        ]
    )


def _count_seeds(rows: Sequence[Row]) -> dict[str, Any]:
    """The planner's seeds, and who has fewer of them. More would be other seeds than the planner's."""
    counts = {(r["agent"], r["landscape"]): len(r["P_1_50_each"]) for r in rows}
    seeds = max(n for (agent, _), n in counts.items() if agent == PLANNER)
    if max(counts.values()) > seeds:
        raise ValueError("a rival has more seeds than the planner")
    short: dict[tuple[str, int], list[str]] = {}
    for (agent, space), n in counts.items():
        if n < seeds:
            short.setdefault((agent, n), []).append(space)
    named = [f"`{agent}` has {n} on {', '.join(spaces)}" for (agent, n), spaces in short.items()]
    return {"seeds": seeds, "fewer": f"\nFewer seeds: {'; '.join(named)}." if named else ""}


def set_aside(spaces: Sequence[str]) -> set[str]:
    """Every third name, sorted by SHA-256, beginning with the second."""
    return set(sorted(spaces, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[1::3])


def _against(scores: dict[tuple[str, str], float], spaces: Sequence[str], rival: str) -> str:
    gaps = np.array([scores[s, PLANNER] - scores[s, rival] for s in spaces])
    drawn = np.random.default_rng(0).choice(gaps, (DRAWS, len(gaps))).mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    ahead = [s for s, gap in zip(spaces, gaps, strict=True) if gap < 0]
    return f"| {rival} | {gaps.mean():.2f} | {low:.2f} … {high:.2f} | {', '.join(ahead) or 'none'} |"


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(files: tuple[Path, ...], out: Path) -> None:
    try:
        out.write_text(page([row for path in files for row in json.loads(path.read_text())]))
    except (ValueError, KeyError, TypeError) as e:
        names = ", ".join(map(str, files))
        raise click.UsageError(f"{names} hold no rows of bench_planner that could be compared ({e})") from e


if __name__ == "__main__":
    main()
