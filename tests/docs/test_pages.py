"""What the other pages say to type does what they say."""

from __future__ import annotations

import pytest

from tests.docs.pages import blocks
from tests.docs.typed import PROGRAMS_ON_DEMAND, is_on_demand, run_commands, run_program

pytestmark = pytest.mark.docs


@pytest.mark.parametrize("block", [b for b in blocks("sh") if b.page != "README.md"], ids=str)
def test_commands_run_as_printed(block, reader):
    run_commands(block, reader)


@pytest.mark.long
@pytest.mark.parametrize("block", [b for b in blocks("sh") if is_on_demand(b)], ids=str)
def test_commands_that_run_on_demand_run_as_printed(block, reader):
    run_commands(block, reader, whole=True)


PROGRAMS = [b for b in blocks("python") if b.page != "README.md"]


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_programs_are_python(block):
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize(
    "block",
    [pytest.param(b, marks=pytest.mark.long) if b.page in PROGRAMS_ON_DEMAND else b for b in PROGRAMS],
    ids=str,
)
def test_programs_run_as_printed(block, reader, tmp_path):
    run_program(block, reader, tmp_path)
