"""The table of the planner's bars is what its data say."""

from tests.bench.planner_bars import foreign_aside, table
from tests.captures import ROOT


def test_the_table_of_the_docs_is_the_one_that_the_command_prints():
    assert table() in (ROOT / "docs" / "PLANNER.md").read_text()


def test_a_kernel_is_set_aside_on_every_gpu():
    names = [f"{kernel}-{gpu}" for kernel in ("a", "b", "c", "d", "e") for gpu in ("A100", "W6600")]
    aside = foreign_aside(names)
    assert len(aside) == 4
    assert {n.split("-")[0] + "-A100" for n in aside} <= aside
