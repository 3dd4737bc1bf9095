"""The documentation is true: links lead somewhere, figures are those of their files, generated pages are up to date."""

from __future__ import annotations

import functools
import json
import re
import tomllib

import pytest

from tests.docs import goals, reference, trouble
from tests.docs.pages import PAGES, ROOT, anchors, headings, links

pytestmark = pytest.mark.docs


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    missing = [target for target in links(page) if target and not (page.parent / target).exists()]
    assert not missing
    assert not [f"{to.name}#{anchor}" for to, anchor in anchors(page) if anchor not in headings(to)]


FIGURES = tomllib.loads((ROOT / "docs" / "figures.toml").read_text(encoding="utf-8"))["figure"]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f"{f['text']} in {f['page']}")
def test_figures_are_those_of_their_files(figure):
    """`at` leads to a value in the JSON `file`; printed as `format` says it must be `text`, and `page` must say it. A
    file of text says it `as` it is, without `at`."""
    source = (ROOT / figure["file"]).read_text(encoding="utf-8")
    if "at" in figure:
        value = functools.reduce(step, figure["at"].split("."), json.loads(source))
        assert figure.get("format", "{}").format(value * figure.get("times", 1)) == figure["text"]
    else:
        assert figure["as"] in source
    assert figure["text"] in (ROOT / figure["page"]).read_text(encoding="utf-8")


def step(value, name: str):
    if isinstance(value, list):
        if "=" in name:  # the entry whose field has that value
            field, _, wanted = name.partition("=")
            [value] = [v for v in value if str(v[field]) == wanted]
            return value
        return value[int(name)]
    return value[name]


def test_the_reference_is_up_to_date():
    assert reference.page() == reference.PAGE.read_text(encoding="utf-8"), "run `python -m tests.docs.reference`"


def test_the_page_of_goals_is_up_to_date():
    assert goals.page() == goals.PAGE.read_text(encoding="utf-8"), "run `python -m tests.docs.goals`"


def test_the_page_of_machine_trouble_is_up_to_date():
    assert trouble.page() == trouble.PAGE.read_text(encoding="utf-8"), "run `python -m tests.docs.trouble`"


def test_every_data_file_is_somebodys_source():
    told = {f["file"] for f in FIGURES} | {m for p in PAGES for m in re.findall(r"docs/data/[\w.-]+", p.read_text())}
    kept = {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs" / "data").iterdir()}
    assert kept <= told
