"""What the README says to type does what it says."""

from __future__ import annotations

import pytest

from tests.docs.pages import blocks, commands
from tests.docs.reader import MAIN_JOB
from tests.docs.typed import SHORTENED, run_commands, run_program

pytestmark = pytest.mark.docs


@pytest.mark.parametrize("block", [b for b in blocks("sh") if b.page == "README.md"], ids=str)
def test_commands_run_as_printed(block, reader):
    reader.run("README.md", *MAIN_JOB)  # who reads on has run it: the memory holds something
    run_commands(block, reader)


@pytest.mark.long
@pytest.mark.parametrize("line", SHORTENED)
def test_commands_that_were_shortened_run_as_printed(line, reader):
    [words, *_] = [w for block in blocks("sh") for w in commands(block) if " ".join(w) == line]
    done = reader.run("README.md", *words[1:])
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("block", [b for b in blocks("python") if b.page == "README.md"], ids=str)
def test_programs_run_as_printed(block, reader, tmp_path):
    run_program(block, reader, tmp_path)
