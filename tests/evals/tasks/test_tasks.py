"""Tasks beyond search: the embedded agent passes them, and a grader fails who did it wrong."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from agent.errors import StoppedError
from evals.commands.commands import cli, main
from evals.tasks.tasks import TASKS, Played, World, grade, obeys_budget, recovers, reports_honestly, uses_history
from evals.tasks.worlds import with_failures, with_faster_baseline
from tests.evals.spaces import hills, written
from tools.harness.landscapes.named import list_landscapes


@pytest.fixture(scope="module")
def landscape():
    return list_landscapes()[0]


@pytest.mark.parametrize("task", [t for t in TASKS if t != "recovers"])
def test_the_embedded_agent_passes(landscape, task):
    found = grade(task, landscape, "embedded", 0)
    assert found.passed, found.why


class Claims(World):
    """An agent of which only what it left behind is known."""

    def __init__(self, landscape, *left: Played) -> None:
        self.landscape, self._left = landscape, list(left)

    def play(self, landscape, max_evals, goal="") -> Played:
        return self._left.pop(0)


def left(ms=0.2, proven=False, low=0.5, configs=3, repeats=1, baselines=None) -> Played:
    outcome = SimpleNamespace(
        best=None if ms is None else SimpleNamespace(ms=ms), proven=proven, why="because",
        baselines=[SimpleNamespace(name="unfused", ci=(low, low + 0.1))],
    )  # fmt: skip
    row = {"kind": "benchmark", "tool_call_id": "t0", "status": "correct"}
    return Played(outcome, [{**row, "config": {"n": i}} for i in range(configs)] * repeats)


def test_more_evaluations_than_allowed_fail(landscape):
    assert obeys_budget(Claims(landscape, left(configs=5)))[0]
    assert not obeys_budget(Claims(landscape, left(configs=6)))[0]
    assert not obeys_budget(Claims(landscape, left(configs=0)))[0]


def test_measuring_a_crash_again_or_finding_little_fails(landscape):
    times = [ms for e in landscape.correct() if (ms := landscape.ms(e, "B")) is not None]
    assert recovers(Claims(landscape, left(ms=min(times))))[0]
    assert not recovers(Claims(landscape, left(ms=min(times), repeats=2)))[0]
    assert not recovers(Claims(landscape, left(ms=max(times))))[0]
    assert not recovers(Claims(landscape, left(ms=None)))[0]


def test_forgetting_what_was_known_fails(landscape):
    assert uses_history(Claims(landscape, left(ms=0.2), left(ms=0.2)))[0]
    assert not uses_history(Claims(landscape, left(ms=0.2), left(ms=0.21)))[0]


def test_a_win_that_was_none_fails(landscape):
    assert not reports_honestly(Claims(landscape, left(proven=True)))[0]
    assert not reports_honestly(Claims(landscape, left(low=1.2)))[0]


def test_worlds_leave_the_landscape_as_it_was(landscape):
    before = landscape.model_dump_json()
    broken = with_failures(landscape, lambda e: True, "runtime", "crash")
    assert not broken.correct()
    with_faster_baseline(landscape, 2.0)
    assert landscape.model_dump_json() == before


def test_the_command_prints_grades_and_refuses_other_peoples_spaces(tmp_path):
    result = CliRunner().invoke(cli, ["tasks", "--landscape", str(written(hills(), tmp_path))])
    assert result.exit_code == 2
    assert "of no kernel of ours" in result.stderr


def test_the_command_prints_json(landscape, monkeypatch):
    monkeypatch.setattr("evals.tasks.tasks.TASKS", {"obeys_budget": obeys_budget})
    result = CliRunner().invoke(cli, ["tasks", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tasks"][0]["passed"]


def test_ctrl_c_in_a_task_is_what_it_is_everywhere(monkeypatch, capsys):
    def stop(*arguments):
        raise StoppedError("Stopped; nothing is lost, to continue: python -m agent resume RUN")

    monkeypatch.setattr("evals.tasks.tasks.grade", stop)
    assert main(["tasks"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"
