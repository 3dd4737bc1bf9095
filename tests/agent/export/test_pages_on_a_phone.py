"""Pages without a script of their own, at the width of a phone and of a desktop."""

from __future__ import annotations

import json

import pytest

from agent.campaign.campaign_page import page as campaign_page
from agent.campaign.campaign_report import Report
from evals.bench.roofline import of_datasheet, rows
from evals.bench.roofline_svg import html_page
from kernels.hardware import hardware_named
from kernels.ops.tuned_files import Entry
from tests.docs.pages import ROOT

H200 = hardware_named("H200")
OUTSIDE = """
return [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 0).flatMap(s => {
  const frame = s.getBoundingClientRect();
  return [...s.querySelectorAll('text, rect, circle, line')].filter(n => {
    const box = n.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1;
  }).map(n => n.outerHTML);
});
"""


def campaign():
    return campaign_page(Report.model_validate(json.loads((ROOT / "docs/data/campaign-llama3.json").read_text())))


def roofline():
    sizes = (64, 512, 1024, 2048, 4096)
    problem = {"N": 4096, "K": 4096, "dtype": "fp16"}
    known = [Entry("matmul", "H200", problem | {"M": m}, {"BLOCK_M": 128}, 2e-4 + m * 5e-5) for m in sizes]
    roofs = of_datasheet(H200)
    return html_page(rows(known, roofs), roofs, "Roofline of H200", ["roofs: the datasheet's"])


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("make", [campaign, roofline])
def test_nothing_is_cut_off(browser, tmp_path, make, width):
    path = tmp_path / "page.html"
    path.write_text(make(), encoding="utf-8")
    browser.open(path, width)
    assert browser.log() == []
    assert browser.ask("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.ask(OUTSIDE) == []
    hidden = "return [...document.querySelectorAll('figure > div')].filter(d => d.scrollWidth > d.clientWidth).length"
    assert browser.ask(hidden) == 0
