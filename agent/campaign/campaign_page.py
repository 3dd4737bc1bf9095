"""A campaign's report as one web page in the design of a run's."""

from __future__ import annotations

from html import escape

from agent.campaign.campaign_report import Report, Row
from agent.export.pages.run_page import read

BAR_PX = 420
NAME_PX = 260
NUMBERS = ("calls", "PyTorch ms", "tuned ms", "speed-up", "of the roof", "saved ms")


def page(report: Report) -> str:
    """A single file without outside resources and without scripts."""
    runs = ", ".join(run for row in report.rows for run in row.runs)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Campaign {escape(report.campaign)}</title>
<style>
{read("page.css")}</style>
</head>
<body>
<main>
<h1>Campaign {escape(report.campaign)}</h1>
{warnings(report)}{"".join(verdict(report, device) for device in report.pytorch_ms)}
<h2>Time saved in a forward pass</h2>
<figure>{bars(report)}<figcaption>Milliseconds of all calls together, with the 95 % interval of the proof; nothing where
the win is not proven.</figcaption></figure>
<h2>Problems</h2>
<div class="scroll"><table>
<thead><tr><th>problem</th>{"".join(f'<th class="number">{name}</th>' for name in NUMBERS)}<th>config</th></tr></thead>
<tbody>
{"".join(line(row) for row in report.rows)}</tbody></table></div>
<p class="soft">{report.evaluations} evaluations, {report.seconds:.0f} s. PyTorch is eager, timed in the same sitting as
the tuned config, in the {escape(report.regime)} regime. Runs: {escape(runs)}.</p>
</main>
</body>
</html>
"""


def warnings(report: Report) -> str:
    said = []
    if report.recorded:
        said.append("Recorded: times were looked up in a landscape, no GPU was used.")
    if not report.complete:
        said.append("Not every problem has a run yet.")
    return "".join(f'<p class="warning">{text}</p>\n' for text in said)


def verdict(report: Report, device: str) -> str:
    before, saved, (low, high) = report.pytorch_ms[device], report.saved_ms[device], report.saved_ci_ms[device]
    text = f"{saved:.3f} ms [{low:.3f}, {high:.3f}] of {before:.3f} ms saved ({saved / before:.1%}) on {device}"
    return f'<p class="verdict{" proven" if saved > 0 else ""}">{escape(text)}</p>\n'


def bars(report: Report) -> str:
    """Horizontal bars, the longest first."""
    rows = [row for row in report.rows if row.saved_ms > 0]
    if not rows:
        return "<p>none</p>"
    scale = BAR_PX / max(row.saved_ci_ms[1] for row in rows)
    drawn = []
    for i, row in enumerate(rows):
        y = 24 * i + 4
        low, high = (NAME_PX + end * scale for end in row.saved_ci_ms)
        name = escape((row.name or row.problem)[:40])
        drawn.append(
            f'<rect class="measure" x="{NAME_PX}" y="{y}" width="{row.saved_ms * scale:.1f}" height="14"/>'
            f'<line class="ci" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 7}" y2="{y + 7}"/>'
            f'<text class="strong" x="{NAME_PX - 8}" y="{y + 11}" text-anchor="end">{name}</text>'
            f'<text x="{high + 6:.1f}" y="{y + 11}">{row.saved_ms:.3f} ms</text>'
        )
    size = f'width="{NAME_PX + BAR_PX + 100}" height="{24 * len(rows) + 8}"'
    return f'<div><svg {size} role="img">{"".join(drawn)}</svg></div>'


def line(row: Row) -> str:
    name = f"{escape(row.name)}<br>" if row.name else ""
    head = f'<tr><td>{name}<span class="soft">{escape(row.problem)}</span></td><td class="number">{row.count}</td>'
    if row.ms is None:
        return f'{head}<td colspan="6" class="error">{escape(row.status)}: {escape(row.why)}</td></tr>\n'
    speed = "" if row.speedup is None or row.ci is None else f"{row.speedup:.3f} [{row.ci[0]:.3f}, {row.ci[1]:.3f}]"
    share = "" if row.share_of_roofline is None else f"{row.share_of_roofline:.1%}"
    saved = f"{row.saved_ms:.3f}" if row.status == "proven" else "not proven"
    config = " ".join(f"{k}={v}" for k, v in (row.config or {}).items())
    cells = [f"{row.pytorch_ms:.4f}" if row.pytorch_ms else "", f"{row.ms:.4f}", speed, share, saved]
    numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
    return f'{head}{numbers}<td class="wide soft">{escape(config)}</td></tr>\n'
