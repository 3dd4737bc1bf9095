"""The page of a contest: the table, intervals, and a curve per landscape and agent."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from evals.contest.ledger import Ledger
from evals.scoring.leaderboard import ABOUT
from evals.scoring.score import Board
from evals.scoring.score_tables import COLUMNS, Standing, difference_lines, failure_lines, overall_cells, unscored_lines
from evals.scoring.summary import Aggregate
from memory.pages import frame

COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b", "#000000", "#bcbd22",
    "#9467bd", "#17becf",
)  # fmt: skip
"""Okabe and Ito's colour-blind safe palette first."""
WIDTH, HEIGHT, LEFT, BOTTOM = 420, 240, 48, 32
BANDS = 3
"""Agents, the best first, that get a band: more would hide one another."""
FLOOR = 0.5
"""Share of the optimum's speed at the bottom of a plot."""


def render(s: Standing) -> str:
    """The page."""
    aggregates = s.overall()
    colours = {(a.agent, a.variant): COLOURS[i % len(COLOURS)] for i, a in enumerate(aggregates)}
    content = {
        "about": ABOUT,
        "columns": COLUMNS,
        "rows": [(colours[a.agent, a.variant], overall_cells(a)) for a in aggregates],
        "unscored": unscored_lines(s),
        "failures": failure_lines(s),
        "intervals": _intervals(aggregates, colours),
        "plots": [_figure(s, board, colours) for board in s.boards.values()],
        "differences": list(difference_lines(s.differences())),
    }
    return frame.page("evals.scoring/report_page.html", "Which agent tunes best", content)


def _name(a: Aggregate) -> str:
    return a.agent if a.variant == "plain" else f"{a.agent} ({a.variant})"


def _intervals(aggregates: Sequence[Aggregate], colours: dict[tuple[str, str], str]) -> str:
    """Dots and whiskers from −1 to 1; a score beyond is an arrow at the edge with its number."""
    width, row, name, beyond = 480, 22, 160, 52
    left, right = name + beyond, width - beyond

    def x(p: float) -> float:
        return left + (max(-1.0, min(1.0, p)) + 1) / 2 * (right - left)

    foot = row * len(aggregates)
    marks = [
        _line(x(t), 0, x(t), foot, "axis") + _text(x(t), foot + 14, f"{t:g}", "middle") for t in (-1, -0.5, 0, 0.5, 1)
    ]
    for i, a in enumerate(aggregates):
        y, colour = row * i + row / 2, colours[a.agent, a.variant]
        marks.append(_text(name - 10, y + 4, _name(a), "end"))
        if a.P is not None and a.P_ci is not None:
            low, high = a.P_ci
            if low <= 1 and high >= -1:
                marks.append(
                    f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
                )
            if abs(a.P) > 1:  # beyond the axis: an arrow with the score, not a dot at a place that is not its own
                # outside the axis, where no interval is drawn over it
                at, arrow = (x(-1) - 4, f"{a.P:.2f} ◂") if a.P < 0 else (x(1) + 4, f"▸ {a.P:.2f}")
                marks.append(_text(at, y + 4, arrow, "end" if a.P < 0 else "start"))
                continue
            marks.append(f'<circle cx="{x(a.P):.1f}" cy="{y}" r="5" fill="{colour}"/>')
    return f'<svg class="fitted" viewBox="0 0 {width} {foot + 20}" width="{width}">{"".join(marks)}</svg>'


def _figure(s: Standing, board: Board, colours: dict[tuple[str, str], str]) -> str:
    name = board.landscape.name
    here = [x for x in s.ledgers if x.landscape == name]
    length = max([2, *(min(x.max_evals, 200) for x in here)])
    k = np.arange(1, length + 1)
    optimum = board.scale.optimum
    expected = np.array([optimum / board.scale.random(int(i)) for i in k])
    drawn = [_grid(length), _path(k, expected, length, 'stroke="var(--soft)" stroke-dasharray="4 3"')]
    for (agent, variant), colour in colours.items():
        runs = [x for x in here if (x.agent, x.variant) == (agent, variant)]
        if runs:
            shares = np.array([_shares(board, x, length) for x in runs])
            if len(drawn) < 2 + 2 * BANDS:
                drawn.append(_band(k, shares.min(0), shares.max(0), length, colour))
            drawn.append(_path(k, shares.mean(0), length, f'stroke="{colour}" stroke-width="2"'))
    about = f"{board.landscape.kernel} {board.landscape.label}".strip()
    picture = f'<svg class="fitted" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">{"".join(drawn)}</svg>'
    return (
        f"<figure><h3>{escape(name)}</h3><figcaption>{escape(about)}, {len(board.landscape.entries)} configs, "
        f"optimum {optimum:.4g} ms</figcaption>{picture}</figure>"
    )


def _shares(board: Board, ledger: Ledger, length: int) -> list[float]:
    curve = board.curve(ledger) or [board.scale.median]
    return [board.scale.optimum / curve[min(i, len(curve) - 1)] for i in range(length)]


def _x(k: float, length: int) -> float:
    return LEFT + (k - 1) / (length - 1) * (WIDTH - LEFT - 10)


def _y(share: float) -> float:
    return 8 + (1 - max(FLOOR, share)) / (1 - FLOOR) * (HEIGHT - BOTTOM - 8)


def _grid(length: int) -> str:
    across = [
        _line(LEFT, _y(v), WIDTH - 10, _y(v), "axis") + _text(LEFT - 6, _y(v) + 4, f"{v:.0%}", "end")
        for v in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    ]
    ticks = sorted({1, length, *(length * i // 4 for i in (1, 2, 3))} - {0})
    return "".join(across) + "".join(_text(_x(t, length), HEIGHT - 10, str(t), "middle") for t in ticks)


def _path(k: np.ndarray, shares: np.ndarray, length: int, style: str) -> str:
    points = " ".join(f"{_x(float(a), length):.1f},{_y(float(b)):.1f}" for a, b in zip(k, shares, strict=True))
    return f'<polyline points="{points}" fill="none" {style}/>'


def _band(k: np.ndarray, low: np.ndarray, high: np.ndarray, length: int, colour: str) -> str:
    there = [f"{_x(float(a), length):.1f},{_y(float(b)):.1f}" for a, b in zip(k, high, strict=True)]
    back = [f"{_x(float(a), length):.1f},{_y(float(b)):.1f}" for a, b in zip(k[::-1], low[::-1], strict=True)]
    return f'<polygon points="{" ".join(there + back)}" fill="{colour}" opacity="0.12"/>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
