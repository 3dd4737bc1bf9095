"""Compares the suite's rows with its targets: ratios with intervals, geometric means, and whether each is met."""

from __future__ import annotations

import math
from typing import Any

from evals.bench.suite import LAUNCH, LAUNCH_MOST_US, Entry, Judged, Mean

Row = dict[str, Any]
Ratio = tuple[float, tuple[float, float]]


def ratio(row: Row, against: str) -> Ratio | None:
    """A baseline's time divided by the kernel's, with its 95 % interval. If the row is judged by energy, joules take
    the place of time."""
    rivals = [b for b in row.get("baselines", ()) if _ratio(row, b) is not None]
    if against == "best":
        same = [_ratio(row, b) for b in rivals if b["equivalent"]]
        return min((r for r in same if r is not None), key=lambda r: r[0], default=None)
    return next((_ratio(row, b) for b in rivals if b["name"] == against), None)


def _ratio(row: Row, baseline: Row) -> Ratio | None:
    value, ci = ("saving", "saving_ci") if row["judged"] == "energy" else ("speedup", "ci")
    return None if baseline.get(value) is None else (baseline[value], tuple(baseline[ci]))


def targets(entry: Entry, judged: Judged, row: Row) -> list[Row]:
    """Each target of `entry` that applies to this row: the measured ratio, and whether its median meets the target."""
    found = []
    for target in entry.targets:
        if target.judged != judged:
            continue
        measured = ratio(row, target.against)
        judgement: Row = {"against": target.against, "least": target.least, "ratio": None, "ci": None, "met": None}
        if measured is not None:
            judgement |= {"ratio": measured[0], "ci": measured[1], "met": measured[0] >= target.least}
        found.append(judgement)
    return found


def means(rows: list[Row], wanted: tuple[Mean, ...]) -> list[Row]:
    """Geometric means of burst ratios over the entries that were timed, and the number of entries timed and wanted.
    Half widths of the logarithms add in quadrature, because the entries are measured independently."""
    found = []
    for mean in wanted:
        ratios = [
            r
            for row in rows
            if row["entry"] in mean.over and row["judged"] == "burst" and (r := ratio(row, mean.against)) is not None
        ]
        if not ratios:
            continue
        middle = sum(math.log(value) for value, _ in ratios) / len(ratios)
        half = math.sqrt(sum((math.log(high / low) / 2) ** 2 for _, (low, high) in ratios)) / len(ratios)
        value = math.exp(middle)
        found.append(
            {
                "mean": mean.name,
                "against": mean.against,
                "of": len(ratios),
                "asked": len(mean.over),
                "least": mean.least,
                "ratio": value,
                "ci": (value * math.exp(-half), value * math.exp(half)),
                "met": value >= mean.least if len(ratios) == len(mean.over) else None,
            }
        )
    return found


def lines(rows: list[Row], summary: list[Row], launch: Row | None) -> list[Row]:
    """The table: a line per ratio, in the order of the suite."""
    found = []
    for row in rows:
        about = {"entry": row["entry"], "regime": row["judged"]}
        if row["status"] != "correct":
            found.append(about | {"against": f"{row['status']}: {row['reason']}"[:100]})
            continue
        about |= {"ms": f"{row['ms']:.4f}", "rate": f"{row['value']:.4g} {row['unit']}"}
        if row.get("joules") is not None:
            about["mJ"] = f"{1e3 * row['joules']:.2f}"
        wanted = {t["against"]: t for t in row["targets"]}
        names = [b["name"] for b in row["baselines"]]
        for against in [*names, *(["best"] if "best" in wanted else [])]:
            measured, target = ratio(row, against), wanted.get(against)
            missing = next((b["missing"] for b in row["baselines"] if b["name"] == against and b["missing"]), None)
            found.append(
                about
                | {"against": against, "ratio": missing or _format_ratio(measured), "target": _least(target)}
                | _verdict(target)
            )
    for mean in summary:
        rate = f"geometric mean of {mean['of']} of {mean['asked']}"
        found.append(
            {"entry": mean["mean"], "regime": "burst", "rate": rate, "against": mean["against"]}
            | {"ratio": _format_ratio((mean["ratio"], mean["ci"])), "target": _least(mean)}
            | _verdict(mean)
        )
    if launch is not None:
        found.append(launch_line(launch))
    return found


def launch_line(launch: Row) -> Row:
    about = {"entry": LAUNCH, "regime": "host"}
    if launch["status"] != "correct":
        return about | {"against": f"{launch['status']}: {launch['reason']}"[:100]}
    low, high = launch["over_us_ci"]
    return about | {
        "rate": f"{launch['ops_us']:.1f} us a call",
        "against": f"torch.mm {launch['mm_us']:.1f} us",
        "ratio": f"{launch['over_us']:+.1f} us [{low:.1f}, {high:.1f}]",
        "target": f"<= {LAUNCH_MOST_US:g} us",
        "verdict": "met" if launch["over_us"] <= LAUNCH_MOST_US else "missed",
    }


def _format_ratio(measured: Ratio | None) -> str:
    return "not timed" if measured is None else f"{measured[0]:.3f} [{measured[1][0]:.3f}, {measured[1][1]:.3f}]"


def _least(target: Row | None) -> str:
    return "" if target is None else f">= {target['least']:g}"


def _verdict(target: Row | None) -> Row:
    if target is None:
        return {}
    return {"verdict": {True: "met", False: "missed", None: "open"}[target["met"]]}
