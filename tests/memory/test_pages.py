"""The page over all runs, and what Datasette is told."""

from __future__ import annotations

import json
import re

import pytest

from memory.commands import main
from memory.formats.datasette import QUERIES, VIEWS, metadata
from tests.memory.conftest import RECORDED, Filled, fill


def page(filled: Filled, tmp_path) -> str:
    out = tmp_path / "page.html"
    assert main(["report", "--memory", str(filled.memory.path), "--html", str(out)]) == 0
    return out.read_text()


def test_the_page_shows_what_is_known_of_each_device(filled: Filled, tmp_path) -> None:
    fill(filled.memory, info=RECORDED, run="recorded")
    html = page(filled, tmp_path)
    assert html.count("<figure>") == 2
    assert "NVIDIA H200 (live)" in html
    assert "NVIDIA H200 (recorded: fused.json.gz" in html
    best = min(r["ms"] for r in filled.memory.ask("SELECT ms FROM attempts WHERE ms IS NOT NULL"))
    assert f"best {best:.5g} ms" in html
    assert "shared memory 262144 B over 232448 B" in html


def test_the_page_loads_nothing_and_runs_nothing(filled: Filled, tmp_path) -> None:
    filled.memory.start_run(
        "<script>alert(1)</script>", "<img src=x>", {}, "m", filled.environment, filled.problem, {}, None
    )
    html = page(filled, tmp_path)
    assert "<script" not in html
    assert "<img" not in html
    assert not re.search(r"(src|href)=", html.replace("src=x", ""))


def test_a_curve_never_rises(filled: Filled, tmp_path) -> None:
    [path] = re.findall(r'<path d="([^"]+)"', page(filled, tmp_path))
    heights = [float(y) for y in re.findall(r"V([\d.]+)", path)]
    assert heights == sorted(heights)  # SVG's y grows downwards: a better time stands lower
    assert len(heights) > 3


@pytest.mark.parametrize(("where", "says"), [("nowhere/page.html", "there is no folder"), (".", "is a folder")])
def test_a_page_that_cannot_be_written_is_one_sentence(filled: Filled, where: str, says: str, tmp_path, capsys) -> None:
    assert main(["report", "--memory", str(filled.memory.path), "--html", str(tmp_path / where)]) == 2
    assert says in capsys.readouterr().err


def test_the_memory_is_not_overwritten_by_its_page(filled: Filled, capsys) -> None:
    at = str(filled.memory.path)
    assert main(["report", "--memory", at, "--html", at]) == 2
    assert "is what the command reads" in capsys.readouterr().err
    assert filled.memory.ask("SELECT count(*) AS n FROM attempts")[0]["n"] == len(filled.configs)


def test_every_prepared_query_runs_and_every_view_exists(filled: Filled, capsys) -> None:
    assert main(["metadata", "--memory", str(filled.memory.path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == metadata(filled.memory.path)
    [about] = told["databases"].values()
    assert list(told["databases"]) == [filled.memory.path.stem]
    words = {"problem": "4096", "word": "shared", "run_id": "run-1"}
    found = {
        n: filled.memory.ask(q["sql"], {k: v for k, v in words.items() if f":{k}" in q["sql"]})
        for n, q in about["queries"].items()
    }
    assert set(found) == set(QUERIES)
    assert len(found["fastest_configs"]) == 12
    assert len(found["why_it_failed"]) == 2
    assert len(found["one_run"]) == len(filled.configs)
    assert found["runs_by_model"][0]["proven"] == 1
    for view in VIEWS:
        assert filled.memory.ask(f"SELECT * FROM {view}")
