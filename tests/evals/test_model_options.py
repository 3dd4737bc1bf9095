"""How a contest's models are asked: the options reach the processes in which they play, and nothing later."""

import os

import click
import pytest
from click.testing import CliRunner

from agent.errors import UsageError
from agent.models.waiting import VARIABLES, Waiting, waiting_of
from evals.commands.model_options import model_options
from evals.commands.selection import mistakes_as_usage_errors
from evals.contest import contest
from evals.contest.run_files import fingerprint

LIMITS = ["--attempt-seconds", "2000", "--patience-seconds", "900.5", "--reply-tokens", "4096"]


@click.command()
@model_options
def waits(asked):
    with mistakes_as_usage_errors():
        asked.set()
        click.echo(waiting_of().model_dump_json())
        click.echo(contest._patience("model:m"))


@click.command()
@model_options
def plays_none(asked):
    with mistakes_as_usage_errors():
        asked.refuse()


@pytest.fixture(autouse=True)
def without_variables(monkeypatch):
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)


def test_the_limits_hold_for_the_command_alone():
    ran = CliRunner().invoke(waits, LIMITS)
    limits, patience = ran.output.splitlines()
    assert Waiting.model_validate_json(limits) == Waiting(
        attempt_seconds=2000.0, patience_seconds=900.5, reply_tokens=4096
    )
    assert float(patience) == 2900.5, "the referee must not end a run whose model may still answer"
    assert not [name for name in VARIABLES.values() if name in os.environ]
    assert CliRunner().invoke(waits, []).output.splitlines()[1] == f"{contest.MODEL_SILENCE_S}"


def test_long_limits_reach_the_processes_as_they_were_given():
    given = ["--reply-tokens", "1000000", "--attempt-seconds", "1234567.25"]
    limits, _ = CliRunner().invoke(waits, given).output.splitlines()
    assert Waiting.model_validate_json(limits) == Waiting(attempt_seconds=1234567.25, reply_tokens=1_000_000)


def test_an_option_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("AUTOKERNEL_ATTEMPT_SECONDS", "20")
    assert '"attempt_seconds":20.0' in CliRunner().invoke(waits, []).output
    assert '"attempt_seconds":7.0' in CliRunner().invoke(waits, ["--attempt-seconds", "7"]).output
    assert waiting_of(patience_seconds=3.0) == Waiting(attempt_seconds=20.0, patience_seconds=3.0)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("AUTOKERNEL_ATTEMPT_SECONDS", "soon"),
        ("AUTOKERNEL_ATTEMPT_SECONDS", "nan"),
        ("AUTOKERNEL_PATIENCE_SECONDS", "0"),
        ("AUTOKERNEL_PATIENCE_SECONDS", "inf"),
        ("AUTOKERNEL_REPLY_TOKENS", "12"),
        ("AUTOKERNEL_REPLY_TOKENS", "1e3.5"),
    ],
)
def test_a_variable_that_holds_no_limit_is_named(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(UsageError, match=f"{variable}={text} in the environment is not a number of"):
        waiting_of()
    ran = CliRunner().invoke(waits, [])
    assert (ran.exit_code, ran.output.count("\n")) == (2, 1), ran.output


@pytest.mark.parametrize("option", [*zip(LIMITS[::2], LIMITS[1::2], strict=True), ("--effort", "low")])
def test_an_option_without_a_model_is_refused(option):
    ran = CliRunner().invoke(plays_none, option)
    assert (ran.exit_code, ran.output) == (
        2,
        f"Error: {option[0]} is for a language model, and none is chosen: add --model NAME\n",
    )


def test_runs_of_other_limits_are_other_runs(monkeypatch):
    before = fingerprint("model:m")
    monkeypatch.setenv("AUTOKERNEL_REPLY_TOKENS", "300")
    assert fingerprint("model:m") != before
