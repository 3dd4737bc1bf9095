"""Options of every command."""

import click
import pytest

from memory.command_line.strict_commands import FiniteRange, WholeRange
from memory.commands import main
from tests.faults.walk.commands import leaves


def test_no_range_of_fractions_takes_nan():
    options = [(words, p) for words, leaf in leaves().items() for p in leaf.params if isinstance(p, click.Option)]
    ranges = {(words, p.name): p.type for words, p in options if isinstance(p.type, click.FloatRange)}
    assert len(ranges) > 5
    assert [where for where, kind in ranges.items() if not isinstance(kind, FiniteRange)] == []


def test_every_range_of_whole_numbers_is_named_in_words():
    options = [(words, p) for words, leaf in leaves().items() for p in leaf.params if isinstance(p, click.Option)]
    assert [(words, p.name) for words, p in options if type(p.type) is click.IntRange] == []


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (WholeRange(1, 10**6), 0, "1 to 1,000,000"),
        (WholeRange(min=1), 0, "at least 1"),
        (WholeRange(max=8), 9, "at most 8"),
        (FiniteRange(0, min_open=True), 0, "above 0"),
        (FiniteRange(0.5, 2), 3, "0.5 to 2"),
    ],
)
def test_a_range_is_named_in_words(kind, value, words):
    with pytest.raises(click.BadParameter, match=f"is not in the range {words}"):
        kind.convert(value, None, None)


@pytest.mark.parametrize("command", ["recover", "merge", "import"])
def test_a_path_that_is_empty_is_one_sentence(command, capsys):
    assert main([command, ""]) == 2
    assert "is empty: give it a path." in capsys.readouterr().err
