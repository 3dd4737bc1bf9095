"""What the planner reaches of its bars, from kept figures: ``python -m tests.bench.planner_bars``.

It prints the table of docs/PLANNER.md. ``planner-hidden`` and ``planner-foreign`` are rows of ``bench_planner``,
``planner-rivals`` and ``planner-foreign-rivals`` those of its rivals on the same spaces, ``planner-later`` rows of all
of them on the spaces that were recorded last, ``stopping-hidden`` and ``stopping-later`` lines of ``bench_stopping``,
and ``leaderboard`` what ``python -m evals run --agents all`` wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from tests.bench.bench_planner import NEVER
from tests.bench.rivals_page import PLANNER, set_aside
from tools.planner.stopping import TOLERANCE

Row = dict[str, Any]
DATA = Path(__file__).parents[2] / "docs" / "data"
P50, AHEAD, EVALUATIONS, ORACLE, SHARE = 0.60, 0.1, 16, 0.8, 0.97
"""The bars: P over evaluations 1 to 50; share of the spaces on which a rival may be ahead; evaluations to 1 % on spaces
set aside; what an oracle's P must be for its share to count, and the least share."""


def table(data: Path = DATA) -> str:
    """The table, in Markdown."""
    hidden, foreign = _rows(data, "planner-hidden"), _rows(data, "planner-foreign")
    played = _rows(data, "planner-later")
    later = [r for r in played if r["agent"] == PLANNER]
    rivals = _rows(data, "planner-rivals") + _rows(data, "planner-foreign-rivals")
    rivals += [r for r in played if r["agent"] != PLANNER]
    files = [data / f"stopping-{name}.jsonl" for name in ("hidden", "later")]
    stops = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    scores = json.loads((data / "leaderboard.json").read_text())["scores"]
    aside = set_aside([r["landscape"] for r in hidden]) | foreign_aside([r["landscape"] for r in foreign])
    aside |= later_aside([r["landscape"] for r in later], aside)
    lines = [
        "| bar | asked | reached | holds |",
        "|---|---|---|---|",
        _mean("P50, hidden spaces of this repository", hidden, aside),
        _mean("P50, spaces of other people's kernels", foreign, aside),
        _mean("P50, hidden spaces recorded last", later, aside),
        *_ahead([*hidden, *foreign, *later], rivals),
        _evaluations([r for r in (*hidden, *foreign, *later) if r["landscape"] in aside]),
        *_oracle([r for r in scores if r["agent"] == "embedded" and r["seed"] == "aggregate"]),
        *_stops(stops, aside),
    ]
    return "\n".join(lines) + "\n"


def foreign_aside(names: Sequence[str]) -> set[str]:
    """Of ``KERNEL-GPU``, all whose kernel is set aside: the same kernel on another GPU is no stranger."""
    kernels = {name.split("-")[0] for name in names}
    return {name for name in names if name.split("-")[0] in set_aside(sorted(kernels))}


def later_aside(names: Sequence[str], earlier: set[str]) -> set[str]:
    """Of spaces that were recorded after the `earlier` ones had been set aside: every third again, and those of a
    kernel that is set aside: under another Triton it is no stranger either."""
    kernels = {name.split("-")[0] for name in earlier}
    return set_aside(names) | {name for name in names if name.split("-")[0] in kernels}


def _rows(data: Path, name: str) -> list[Row]:
    found: list[Row] = json.loads((data / f"{name}.json").read_text())
    return found


def _line(bar: str, asked: str, reached: str, holds: bool) -> str:
    return f"| {bar} | {asked} | {reached} | {'yes' if holds else 'no'} |"


def _mean(bar: str, rows: Sequence[Row], aside: set[str]) -> str:
    def mean(wanted: Callable[[str], bool]) -> float:
        return fmean(fmean(r["P_1_50_each"]) for r in rows if wanted(r["landscape"]))

    all_of_them = mean(lambda _: True)
    reached = (
        f"{all_of_them:.2f} on {len(rows)} (open {mean(lambda n: n not in aside):.2f}, "
        f"set aside {mean(lambda n: n in aside):.2f})"
    )
    return _line(bar, f"mean at least {P50:.2f}", reached, all_of_them >= P50)


def _ahead(rows: Sequence[Row], rivals: Sequence[Row]) -> list[str]:
    """Of each rival, and of all of them together: the stricter reading of the bar."""
    ours = {r["landscape"]: fmean(r["P_1_50_each"]) for r in rows}
    better = {(r["agent"], r["landscape"]) for r in rivals if fmean(r["P_1_50_each"]) > ours[r["landscape"]]}
    lines = []
    for agent in [*dict.fromkeys(r["agent"] for r in rivals), None]:
        played = {r["landscape"] for r in rivals if agent in (r["agent"], None)}
        ahead = sorted({space for who, space in better if agent in (who, None)})
        reached = f"{len(ahead)} of {len(played)}{': ' if ahead else ''}{', '.join(ahead)}"
        bar = f"P50, spaces on which {f'`{agent}`' if agent else 'any of them'} is ahead"
        lines.append(_line(bar, "at most one in ten", reached, len(ahead) <= AHEAD * len(played)))
    return lines


def _evaluations(rows: Sequence[Row]) -> str:
    soon = [r for r in rows if r["to_99"] <= EVALUATIONS]
    each = [f"{r['landscape']} {'never' if r['to_99'] >= NEVER else format(r['to_99'], 'g')}" for r in rows]
    reached = f"{len(soon)} of {len(rows)}: {', '.join(each)}"
    bar = "Evaluations to 99 % of the best's speed, spaces set aside (median)"
    return _line(bar, f"at most {EVALUATIONS} on each", reached, len(soon) == len(rows))


def _oracle(rows: Sequence[Row]) -> list[str]:
    able = {r["landscape"]: r["P_of_oracle"] for r in rows if r["oracle_P"] >= ORACLE}
    others = {r["landscape"]: r["regret"] for r in rows if r["oracle_P"] < ORACLE}
    worst, lost = min(able, key=able.__getitem__), max(others, key=others.__getitem__)
    return [
        _line(
            f"With cost models: P as a share of the oracle's, where that is at least {ORACLE}",
            f"at least {SHARE}",
            f"{sum(v >= SHARE for v in able.values())} of {len(able)}; least {able[worst]:.3f} on {worst}",
            able[worst] >= SHARE,
        ),
        _line(
            "With cost models: regret by set B on the others",
            f"at most {TOLERANCE:.1%}",
            f"{others[lost]:.2%} on {lost}",
            others[lost] <= TOLERANCE,
        ),
    ]


def _stops(rows: Sequence[Row], aside: set[str]) -> list[str]:
    lines = []
    for name, some in (
        ("open", [r for r in rows if r["landscape"] not in aside]),
        ("set aside", [r for r in rows if r["landscape"] in aside]),
    ):
        stops = [r for r in some if "stop" in r]
        near, held = sum(r["end_regret"] <= TOLERANCE for r in stops), sum(r["held"] for r in stops)
        counted = f"of {len(stops)} stops in {len(some)} searches"
        lines += [
            _line(
                f"Own stop without a cost model, {name} spaces: within {TOLERANCE:.1%} of the best by the unseen set",
                "every stop",
                f"{near} ({near / len(stops):.0%}) {counted}; worst {max(r['end_regret'] for r in stops):.1%}",
                near == len(stops),
            ),
            _line(
                f"The same, {name} spaces: what the stop says with 95 % holds",
                "at least 93 %",
                f"{held} ({held / len(stops):.0%}) {counted}",
                held >= 0.93 * len(stops),
            ),
        ]
    return lines


@click.command()
def main() -> None:
    print(table(), end="")


if __name__ == "__main__":
    main()
