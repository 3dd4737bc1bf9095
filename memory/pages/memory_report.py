"""``python -m memory report``: one web page over all runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

from memory.attempt import Row
from memory.formats.tables import cell
from memory.pages import frame
from memory.proofs.best_proof import best_proofs

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 200, 62, 40, 8
"""A phone's width holds the drawing as it is."""
RUNS_DRAWN = 8
"""Newest runs of a problem that get a curve: more would hide one another."""
COLOURS = ("--main", "--second", "--good", "--think", "--q1", "--q3", "--check", "--soft")

LONG = ("config", "device", "example", "reason")

CURVES = """
SELECT kernel, problem, device, regime, run_id, evaluation, best_ms FROM learning_curve
WHERE best_ms IS NOT NULL ORDER BY kernel, problem, device, regime, run_id, evaluation
"""
RIVALS = """
SELECT k.name AS kernel, p.label AS problem, e.device, a.regime, a.comparisons
FROM attempts a JOIN problems p ON p.id = a.problem_id JOIN kernels k ON k.id = p.kernel_id
JOIN environments e ON e.id = a.environment_id
WHERE a.kind = 'proof' AND a.status = 'correct' AND a.comparisons IS NOT NULL ORDER BY a.id
"""
BEST = "SELECT * FROM best_per_problem ORDER BY kernel, problem, device, regime"
FAILURES = "SELECT * FROM failures_by_reason ORDER BY configs DESC LIMIT 100"
# On a phone the first three columns are seen at once: what a reader looks for stands before where it was found.
BEST_COLUMNS = ("kernel", "problem", "ms", "rate", "device", "regime", "configs", "config")
PROOF_COLUMNS = ("kernel", "problem", "proof", "ms", "device", "regime", "config", "run_id")
FAILURE_COLUMNS = ("kernel", "problem", "status", "reason", "step", "configs", "device", "example")
RUN_COLUMNS = (
    "started_at", "outcome", "best_ms", "goal", "problem", "model", "device", "evaluations", "seconds", "run_id",
)  # fmt: skip
RUNS = "SELECT * FROM runs_overview ORDER BY started_at DESC LIMIT 200"


def render(memory: Any) -> str:
    """The page."""
    best, failures, runs = (memory.ask(q) for q in (BEST, FAILURES, RUNS))
    newest = [r["run_id"] for r in runs]
    for row in failures:
        row["example"] = json.loads(row["example"])
    for row in (*best, *failures, *runs):
        row["device"] = row["device"].replace(" sha256:", " ")  # room to break
    for row in best:
        row["config"] = json.loads(row["config"])
        row["rate"] = "" if row["value"] is None else f"{row['value']:.1f} {row['unit']}"
    rivals = find_rivals(memory)
    curves = groupby(memory.ask(CURVES), key=lambda r: (r["kernel"], r["problem"], r["device"], r["regime"]))
    content = {
        "path": memory.path,
        "best": _table(best, BEST_COLUMNS),
        "proofs": _table(best_proofs(memory), PROOF_COLUMNS),
        "failures": _table(failures, FAILURE_COLUMNS),
        "runs": _table(runs, RUN_COLUMNS),
        "curves": [_figure(about, list(rows), newest, rivals.get(about)) for about, rows in curves],
        "runs_drawn": RUNS_DRAWN,
    }
    return frame.page("memory.pages/memory_report.html", "What the memory holds", content)


def _table(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, object]:
    """Columns and texts for the template ``table.html``."""

    def kind(column: str) -> str:
        if all(isinstance(r[column], int | float | None) for r in rows):
            return "number"
        return "long" if column in LONG else ""

    return {
        "columns": [(c.replace("_", " "), kind(c)) for c in columns],
        "texts": [[cell(r[c]) for c in columns] for r in rows],
    }


def find_rivals(memory: Any) -> dict[tuple[str, str, str, str], tuple[str, float]]:
    """Name and ms of the fastest baseline that computes the same, by the latest sitting of each problem, device and
    regime."""
    found = {}
    for row in memory.ask(RIVALS):
        timed = [
            (c["ms"], str(c["name"])) for c in json.loads(row["comparisons"]) if c.get("ms") and c.get("equivalent")
        ]
        if timed:
            ms, name = min(timed)
            found[row["kernel"], row["problem"], row["device"].replace(" sha256:", " "), row["regime"]] = (name, ms)
    return found


def _figure(
    about: tuple[str, str, str, str], rows: Sequence[Row], newest: Sequence[str], rival: tuple[str, float] | None
) -> str:
    by_run = {
        run: [(r["evaluation"], r["best_ms"]) for r in found] for run, found in groupby(rows, lambda r: r["run_id"])
    }
    drawn = sorted(by_run, key=lambda run: newest.index(run) if run in newest else len(newest))[:RUNS_DRAWN]
    points: list[tuple[int, float]] = [p for run in drawn for p in by_run[run]]
    last, top = max(n for n, _ in points), max(ms for _, ms in points)
    low = best = min(ms for _, ms in points)
    if rival is not None:
        low, top = min(low, rival[1]), max(top, rival[1])
    # Without room below and above, a run that found the best at once would be a line on the axis.
    floor, ceiling = low - 0.05 * (top - low or low), top + 0.05 * (top - low or low)

    def x(n: float) -> float:
        return LEFT + (n - 1) / max(1, last - 1) * (WIDTH - LEFT - 10)

    def y(ms: float) -> float:
        return TOP + (ceiling - ms) / (ceiling - floor) * (HEIGHT - TOP - BOTTOM)

    marks = [
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.4g}</text>'
        for v in dict.fromkeys((low, (low + top) / 2, top))
    ]
    marks += [
        f'<text x="{x(n):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{n}</text>'
        for n in sorted({1, (1 + last) // 2, last})
    ]
    marks.append(f'<text x="{WIDTH - 10}" y="{HEIGHT - 6}" text-anchor="end">evaluations</text>')
    keys = []
    if rival is not None:
        level = f"{y(rival[1]):.1f}"
        marks.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - 10}" y1="{level}" y2="{level}"/>')
        keys.append(f'<span><i class="base"></i>PyTorch, {escape(rival[0])}: {rival[1]:.4g} ms</span>')
    for i, run in enumerate(drawn):
        colour = f"var({COLOURS[i % len(COLOURS)]})"
        path = _steps([(x(n), y(ms)) for n, ms in by_run[run]], x(last))
        marks.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"><title>{escape(run)}</title></path>'
        )
        keys.append(f'<span><i style="background:{colour}"></i>{escape(run)}</span>')
    kernel, problem, device, regime = about
    return (
        f"<figure><h3>{escape(kernel)} {escape(problem)}</h3><figcaption>{escape(device)}, {escape(regime)}; "
        f"{len(by_run)} run{'s' if len(by_run) > 1 else ''}, best {best:.5g} ms</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">{"".join(marks)}</svg>'
        f'<figcaption class="key">{"".join(keys)}</figcaption></figure>'
    )


def _steps(points: Sequence[tuple[float, float]], end: float) -> str:
    """A staircase: what was best stays best until something is better."""
    (x0, y0), *rest = points
    return f"M{x0:.1f} {y0:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest) + f"H{end:.1f}"
