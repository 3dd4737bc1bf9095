"""The page of the planner's rivals is what its data say."""

import json

import pytest
from click.testing import CliRunner

from tests.bench.rivals_page import main, page, set_aside
from tests.captures import ROOT

FILES = [ROOT / "docs" / "data" / f"planner-{what}.json" for what in ("hidden", "rivals")]
DATA = [row for path in FILES for row in json.loads(path.read_text())]
PAGE = ROOT / "docs" / "RIVALS.md"


def row(space, agent, *scores):
    return {"landscape": space, "agent": agent, "P_1_50_each": scores, "lost_at_end_each": [0.01] * len(scores)}


def test_the_page_of_the_docs_is_the_one_that_the_command_writes():
    assert PAGE.read_text() == page(DATA)


def test_a_rival_that_is_ahead_is_named():
    text = page(
        [row("a", "planner", 0.5, 0.3), row("a", "tpe", 0.6, 0.4), row("b", "planner", 1, 1), row("b", "tpe", 0, 0)]
    )
    assert "| tpe | 0.45 | -0.10 … 1.00 | a |" in text
    assert "0.40 (0.30) | 0.50 (0.40)" in text


def test_who_has_fewer_seeds_is_named():
    assert "Fewer seeds: `tpe` has 1 on a." in page([row("a", "planner", 0.5, 0.3), row("a", "tpe", 0.5)])
    assert "Fewer" not in page([row("a", "planner", 0.5), row("a", "tpe", 0.5)])


def test_every_third_space_is_set_aside():
    spaces = [r["landscape"] for r in DATA if r["agent"] == "planner"]
    assert len(set_aside(spaces)) == 4
    assert "rms_norm-32768x4096-fp16-h200" in set_aside(spaces)


@pytest.mark.parametrize(
    "rows", [[row("a", "planner", 0.5), row("a", "tpe", 0.5, 0.5)], [row("a", "tpe", 0.5)], [{}], {"a": 1}]
)
def test_rows_that_cannot_be_compared_are_refused(rows, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    done = CliRunner().invoke(main, [str(path), str(tmp_path / "page.md")])
    assert done.exit_code == 2
    assert "could be compared" in done.output
    assert not (tmp_path / "page.md").exists()
