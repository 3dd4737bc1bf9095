"""Draws the roofline as SVG in the style of the project's pages (``memory/pages``), without library or script."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from evals.bench.roofline import Roofs, named
from memory.pages import frame

Row = dict[str, Any]
WIDE, NARROW = (960, 520), (360, 340)
"""Width and height, of a screen and of a phone."""
LEFT, TOP = 64, 34
LINE = 14
"""Pixels from one label to the next."""


def drawing(rows: list[Row], roofs: Roofs, title: str, size: tuple[int, int] = WIDE) -> str:
    """An ``<svg>`` element with logarithmic axes: TFLOP/s over FLOP per byte, a roof per dtype, a dot per problem. A
    drawing that is not wide names a problem by its number in the table."""
    width, height = size
    right, bottom, wide = width - 24, height - 56, size == WIDE
    points = [r for r in rows if r["tflops"] > 0]
    dtypes = list(dict.fromkeys(r["dtype"] for r in points)) or ["fp16"]
    peaks = {d: p / 1e12 for d in dtypes if (p := roofs.peak(d)) is not None}
    slope = roofs.bandwidth / 1e12
    top = max([*peaks.values(), *(r["tflops"] for r in points), slope])
    ridge = top / slope
    low = min([ridge / 64, *(r["intensity"] / 3 for r in points)])
    high = max([ridge * 16, *(r["intensity"] * 3 for r in points)])
    floor = min([low * slope, *(r["tflops"] / 2 for r in points)])

    def x(value: float) -> float:
        return round(LEFT + (math.log(value / low) / math.log(high / low)) * (right - LEFT), 1)

    def y(value: float) -> float:
        return round(bottom - (math.log(value / floor) / math.log(2 * top / floor)) * (bottom - TOP), 1)

    parts = []
    for mark in marks(floor, 2 * top):
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{y(mark)}" y2="{y(mark)}"/>')
        parts.append(text(LEFT - 6, y(mark) + 4, f"{mark:g}", "end"))
    parts += [text(x(mark), bottom + 16, f"{mark:g}", "middle") for mark in marks(low, high)]
    parts.append(text(LEFT, TOP - 18, "TFLOP/s"))
    parts.append(text(right, bottom + 34, "FLOP per byte", "end"))
    start = max(low, floor / slope)
    for dtype, peak in peaks.items():
        path = f"M{x(start)},{y(start * slope)}L{x(peak / slope)},{y(peak)}L{right},{y(peak)}"
        parts.append(f'<path class="roof" d="{path}"/>')
        parts.append(text(right, y(peak) - 6, f"{peak:.4g} TFLOP/s, {dtype}", "end"))
    middle = math.sqrt(start * ridge)
    parts.append(text(x(middle) - 10, y(middle * slope) - 8, f"{slope:.3g} TB/s", "end"))
    # The roofs' own words take their places first.
    taken: list[tuple[float, float]] = [(right - back, y(peak) - 6) for peak in peaks.values() for back in (30, 90)]
    for r in sorted(points, key=lambda r: -r["tflops"]):
        across, down = x(r["intensity"]), y(r["tflops"])
        named = f"{r['kernel']} {r['problem']}"
        label = f"{named}: {r['tflops']:.4g} TFLOP/s, {r['tb_per_s']:.3g} TB/s, {r['share_of_roof']:.1%} of the roof"
        parts.append(
            f'<circle class="dot record" cx="{across}" cy="{down}" r="4"><title>{escape(label)}</title></circle>'
        )
        left = across > (LEFT + right) / 2
        base, room = down + 4, 200 if wide else 60
        while any(abs(base - other_y) < LINE and abs(across - other_x) < room for other_x, other_y in taken):
            base += LINE
        taken.append((across, base))
        if base > down + 4:  # the words stand away from their dot
            end = across + (-9 if left else 9)
            parts.append(f'<line class="one" x1="{across}" x2="{end}" y1="{down}" y2="{base - 4}"/>')
        label = f"{named if wide else rows.index(r) + 1}{'' if wide else ':'} {r['share_of_roof']:.0%}"
        parts.append(text(across + (-9 if left else 9), base, label, "end" if left else "start"))
    inner = "\n".join(parts)
    about = f'class="drawing {"wide" if wide else "narrow"}" role="img" aria-label="{escape(title)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {about}>\n{inner}\n</svg>'


def marks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade, or only the decades if there are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    parts = (1, 2, 5) if high < 1000 * low else (1,)
    return [v for k in decades for part in parts if low <= (v := part * 10.0**k) <= high]


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def svg_file(rows: list[Row], roofs: Roofs, title: str) -> str:
    """The drawing as a complete SVG file that contains its style sheet."""
    rules = f"<style><![CDATA[\n{frame.style_sheet()}svg {{ background: var(--paper); }}\n]]></style>"
    return drawing(rows, roofs, title).replace("\n", f"\n{rules}\n", 1) + "\n"


def html_page(rows: list[Row], roofs: Roofs, title: str, sources: list[str]) -> str:
    """An HTML page with the drawing and the table."""
    columns = ("kernel", "problem", "ms", "intensity", "tflops", "tb_per_s", "bound", "share_of_roof", "config")
    names = ("#", "kernel", "problem", "ms", "FLOP per byte", "TFLOP/s", "TB/s", "bound", "of the roof", "config")
    content = {
        "sources": sources,
        "drawings": [drawing(rows, roofs, title, size) for size in (WIDE, NARROW)],
        "columns": [(name, "long wide" if name == "config" else "") for name in names],
        "rows": [
            [str(number), *(_cell(c, row[c]) for c in columns)]
            for number, row in enumerate(({**r, "problem": named(r)} for r in rows), 1)
        ],
    }
    return frame.page("evals.bench/roofline.html", title, content)


def _cell(column: str, value: Any) -> str:
    if column == "share_of_roof":
        return f"{value:.1%}"
    if column == "config":
        return " ".join(f"{name}={each}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
