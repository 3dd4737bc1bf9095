"""A campaign's report as one web page, without scripts."""

from __future__ import annotations

from dataclasses import dataclass

from agent.campaign.campaign_report import Report, Row
from memory.pages import frame

BAR_PERCENT = 75
"""Of the drawing's width, for the longest bar with its interval: its number stands to the right of it."""
ROW_PX = 42
NUMBERS = ("calls", "PyTorch ms", "tuned ms", "speed-up", "of the roof", "saved ms")


@dataclass(frozen=True)
class Bar:
    """One problem in the chart; `y` in pixels, all else in per cent of the width."""

    name: str
    saved_ms: float
    y: int
    width: float
    low: float
    """Left and right end of the 95 % interval."""
    high: float


def page(report: Report) -> str:
    """The page."""
    content = {
        "report": report,
        "bars": bars(report),
        "runs": [run for row in report.rows for run in row.runs],
        "format_numbers": format_numbers,
        "format_config": format_config,
        "NUMBERS": NUMBERS,
        "ROW_PX": ROW_PX,
    }
    return frame.page("agent.campaign/campaign_page.html", f"Campaign {report.campaign}", content)


def bars(report: Report) -> list[Bar]:
    """A bar for every problem that saves time, in the report's order."""
    rows = [row for row in report.rows if row.saved_ms > 0]
    scale = BAR_PERCENT / max((row.saved_ci_ms[1] for row in rows), default=1.0)
    return [
        Bar(
            (row.name or row.problem)[:40],
            row.saved_ms,
            ROW_PX * i,
            row.saved_ms * scale,
            *(end * scale for end in row.saved_ci_ms),
        )
        for i, row in enumerate(rows)
    ]


def format_numbers(row: Row) -> list[str]:
    """The cells of :data:`NUMBERS` after the first, for a row that was measured."""
    return [
        f"{row.pytorch_ms:.4f}" if row.pytorch_ms else "",
        f"{row.ms:.4f}",
        ""
        if row.speedup is None or row.ci is None
        else f"{row.speedup:.3f} [{row.ci[0]:.3f}, {row.ci[1]:.3f}]{f' over {row.against}' if row.against else ''}",
        "" if row.share_of_roofline is None else f"{row.share_of_roofline:.1%}",
        f"{row.saved_ms:.3f}" if row.status == "proven" else "not proven",
    ]


def format_config(row: Row) -> str:
    return " ".join(f"{name}={value}" for name, value in (row.config or {}).items())
