"""What every door has in common: versions, options that count once, and help without arguments."""

from __future__ import annotations

import importlib

import click
import pytest

from agent.cli.commands import commands
from tests.docs.reference import COMMANDS
from tests.faults.walk.commands import COMMANDS as WALKED
from tests.faults.walk.commands import leaves

Capture = pytest.CaptureFixture[str]


def run(door: str, *arguments: str) -> int:
    return int(importlib.import_module(COMMANDS[door][0]).main(arguments))


@pytest.mark.parametrize("door", COMMANDS)
def test_every_door_without_arguments_shows_its_help_and_is_no_success(door: str, capsys: Capture) -> None:
    assert run(door) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: python -m {door}")
    assert err == ""


def test_every_command_prints_the_versions(capsys: Capture) -> None:
    for name in leaves():
        door, *words = name.split()
        assert run(door, *words, "--version") == 0, name
        assert capsys.readouterr().out.startswith("triton-autokernel "), name


def test_every_command_is_walked() -> None:
    assert {command.words for command in WALKED} == set(leaves())


def test_an_option_that_takes_one_value_is_refused_twice(capsys: Capture) -> None:
    tried = 0
    for name, leaf in leaves().items():
        door, *words = name.split()
        for option in leaf.params:
            if isinstance(option, click.Option) and not (option.multiple or option.is_flag):
                tried += 1
                assert run(door, *words, option.opts[0], "2", option.opts[0], "3") == 2, (name, option.opts)
                assert "is given twice" in capsys.readouterr().err, (name, option.opts)
    assert tried > 60


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("memory", "best", "--json", "--csv"), "--json and --csv exclude each other"),
        (("agent", "run", "-q", "--verbose", "x"), "--quiet and --verbose exclude each other"),
        (("agent", "run", "--device", "", "x"), "--device is empty"),
        (("agent", "run", "--option", "", "x"), "--option is empty"),
        (("memory", "prune", "--older-than", "nan"), "nan is not a number"),
        (("memory", "prune", "--older-than", "inf"), "inf"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: tuple[str, ...], says: str, capsys: Capture) -> None:
    assert run(*arguments) == 2
    assert says in capsys.readouterr().err


def test_all_words_behind_two_dashes_are_the_goal() -> None:
    for before in ([], ["--json"]):
        context = commands.make_context("agent", [*before, "--", "--dry-run", "list"])
        name, command, words = commands.resolve_command(context, [*context._protected_args, *context.args])
        assert name == "run"
        assert command is not None
        assert command.make_context("run", words, parent=context).params["goal"] == ("--dry-run", "list")


def test_a_flag_given_twice_means_what_it_means_once(capsys: Capture) -> None:
    assert run("agent", "completion", "bash", "--version", "--version") == 0


def test_an_error_is_an_object_where_one_was_asked_for(capsys: Capture) -> None:
    assert run("memory", "best", "--memory", "/no/such.db", "--json") == 2
    out, err = capsys.readouterr()
    assert '"exit_code": 2' in out
    assert "does not exist" in err
    assert run("memory", "lessons", "--memory", "/no/such.db", "--", "--json") == 2
    assert capsys.readouterr().out == ""
