"""Options of every command."""

import click
import pytest

from memory.commands import main
from memory.command_line.strict_commands import FiniteRange
from tests.faults.walk.commands import leaves


def test_no_range_of_fractions_takes_nan():
    options = [(words, p) for words, leaf in leaves().items() for p in leaf.params if isinstance(p, click.Option)]
    ranges = {(words, p.name): p.type for words, p in options if isinstance(p.type, click.FloatRange)}
    assert len(ranges) > 5
    assert [where for where, kind in ranges.items() if not isinstance(kind, FiniteRange)] == []


@pytest.mark.parametrize("command", ["recover", "merge", "import"])
def test_a_path_that_is_empty_is_one_sentence(command, capsys):
    assert main([command, ""]) == 2
    assert "is empty: give it a path." in capsys.readouterr().err
