"""A campaign's report as one web page, without scripts."""

from __future__ import annotations

from dataclasses import dataclass

from agent.campaign.campaign_report import Report, Row
from memory.pages import frame

BAR_PX = 420
NAME_PX = 260
NUMBERS = ("calls", "PyTorch ms", "tuned ms", "speed-up", "of the roof", "saved ms")


@dataclass(frozen=True)
class Bar:
    """One problem in the chart; positions in pixels."""

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
        "NAME_PX": NAME_PX,
        "BAR_PX": BAR_PX,
    }
    return frame.page("agent.campaign/campaign_page.html", f"Campaign {report.campaign}", content)


def bars(report: Report) -> list[Bar]:
    """A bar for every problem that saves time, in the report's order."""
    rows = [row for row in report.rows if row.saved_ms > 0]
    scale = BAR_PX / max((row.saved_ci_ms[1] for row in rows), default=1.0)
    return [
        Bar(
            (row.name or row.problem)[:40],
            row.saved_ms,
            24 * i + 4,
            row.saved_ms * scale,
            *(NAME_PX + end * scale for end in row.saved_ci_ms),
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
        else f"{row.speedup:.3f} [{row.ci[0]:.3f}, {row.ci[1]:.3f}] over {row.against}",
        "" if row.share_of_roofline is None else f"{row.share_of_roofline:.1%}",
        f"{row.saved_ms:.3f}" if row.status == "proven" else "not proven",
    ]


def format_config(row: Row) -> str:
    return " ".join(f"{name}={value}" for name, value in (row.config or {}).items())
