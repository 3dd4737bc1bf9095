"""The frame that all pages share, and that the package holds what the pages are made of."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import jinja2
import pytest

from memory.pages import frame

ROOT = Path(__file__).parents[3]
HOSTILE = "</script><script>alert(1)</script><img src=x> & '"


@pytest.fixture
def template(monkeypatch):
    """Makes a template of a body, known as ``test/body.html``."""

    def make(body):
        source = '{% extends "memory.pages/frame.html" %}{% block body %}' + body + "{% endblock %}"
        read = frame.read_resource
        loader = jinja2.FunctionLoader(lambda name: source if name == "test/body.html" else read(name))
        monkeypatch.setattr(frame.templates(), "loader", loader)
        frame.templates().cache.clear()
        return "test/body.html"

    yield make
    frame.templates().cache.clear()


def test_values_are_text_and_data_cannot_end_its_block(template):
    page = frame.page(template("<p>{{ value }}</p>"), HOSTILE, {"value": HOSTILE}, "run();", {"text": HOSTILE})
    assert page.count("<script") == 2
    assert "<img" not in page
    assert page.count("&lt;img") == 2
    assert "<script>run();</script>" in page


def test_only_a_page_with_a_script_allows_one(template):
    name = template("")
    assert "script" not in frame.page(name, "", {})
    assert re.search(r"script-src 'sha256-[\w+/]{43}='\"", frame.page(name, "", {}, "run();"))


def test_a_name_that_nobody_gave_is_an_error(template):
    with pytest.raises(jinja2.UndefinedError, match="vlaue"):
        frame.page(template("{{ vlaue }}"), "", {"value": 1})


def test_the_package_holds_every_template_script_and_style_sheet():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    rooms = ("agent", "tools", "kernels", "memory", "evals")
    files = [p for room in rooms for p in (ROOT / room).rglob("*") if p.suffix in (".html", ".css", ".js")]
    assert len(files) >= 8
    for file in files:
        package = ".".join(file.parent.relative_to(ROOT).parts)
        assert any(fnmatch(file.name, pattern) for pattern in declared.get(package, ())), file
