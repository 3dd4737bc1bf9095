"""Options of every command, and files that are none."""

import os

import click
import pytest
from click.testing import CliRunner

from agent.errors import UsageError
from agent.programs.foreign.foreign_formats import read_foreign
from evals.bench.commands import cli as kernels
from kernels.capture.capture_file import NotACapture, check
from kernels.capture.reading.tritonparse_trace import is_trace
from kernels.tuned.tuned_file import NotATable, read_table
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


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (WholeRange(1), 10**9, True),
        (WholeRange(1), 10**30, False),
        (WholeRange(1, 10**12), 10**12, True),
        (FiniteRange(0), 1e30, False),
        (FiniteRange(0, min_open=True), 0.5, True),
    ],
)
def test_a_number_beyond_all_counting_is_refused(kind, value, taken):
    if taken:
        assert kind.convert(value, None, None) == value
        return
    with pytest.raises(click.BadParameter, match="is too large: give at most 1,000,000,000"):
        kind.convert(value, None, None)


@pytest.mark.parametrize("command", ["recover", "merge", "import"])
def test_a_path_that_is_empty_is_one_sentence(command, capsys):
    assert main([command, ""]) == 2
    assert "is empty: give it a path." in capsys.readouterr().err


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert not is_trace(str(pipe))
    for read, refusal in ((check, NotACapture), (read_table, NotATable), (read_foreign, UsageError)):
        with pytest.raises(refusal, match="it is no regular file"):
            read(pipe)


def test_json_that_is_nested_too_deep_is_one_sentence(tmp_path):
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 1_000_000)
    with pytest.raises(NotATable, match="is no table of tuned launches"):
        read_table(deep)
    with pytest.raises(UsageError, match="has none of the known formats"):
        read_foreign(deep)


def test_a_datasheet_is_asked_of_no_device():
    found = CliRunner().invoke(kernels, ["roofline", "--gpu", "H200", "--device", "cuda:99"])
    assert (found.exit_code, "leave out --device cuda:99" in found.output) == (2, True)


def test_every_option_is_explained():
    options = [(words, p) for words, leaf in leaves().items() for p in leaf.params if isinstance(p, click.Option)]
    assert len(options) > 300
    assert [(words, p.opts) for words, p in options if not p.help and not p.hidden] == []
