"""A model's runs as a file that anyone can verify, and that nobody can improve."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from evals.commands.commands import cli

pytestmark = pytest.mark.process

LANDSCAPE = "rms_norm-32768x4096-fp16-h200"
MODEL = """
import json

from agent.models.base import Reply, call_tool


class Mine:
    name = "mine"

    def respond(self, messages, tools, seconds, tokens=None):
        answers = [json.loads(m["content"]) for m in messages if m["role"] == "tool"]
        if not answers:
            call = call_tool("suggest_configs", {"count": 3})
        elif "proposals" in answers[-1]:
            call = call_tool("run_benchmark", {"configs": [p["config"] for p in answers[-1]["proposals"]]})
        else:
            return Reply({"role": "assistant", "content": "The search is over."}, usage=0)
        return Reply({"role": "assistant", "content": None, "tool_calls": [call]}, usage=0)
"""


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submission")
    (folder / "mine.py").write_text(MODEL)
    path = folder / "mine.json"
    made = run("run", "--agents", f"model:{folder / 'mine.py'}:Mine", "--landscape", LANDSCAPE, "--seeds", 1,
               "--max-evals", 5, "--submission", path, "--json")  # fmt: skip
    assert made.exit_code == 0, made.output
    return path


def test_a_submission_is_verified_kept_and_ranked(submitted, tmp_path):
    board = tmp_path / "board.md"
    ranked = run("leaderboard", "--add", submitted, "--folder", tmp_path / "kept", "--leaderboard", board, "--json")
    assert ranked.exit_code == 0, ranked.output
    (row,) = json.loads(ranked.stdout)["overall"]
    assert row["agent"].endswith("mine.py:Mine")
    assert "mine.py:Mine" in board.read_text()
    assert run("leaderboard", "--add", submitted, "--folder", tmp_path / "kept").exit_code == 0
    assert len(list((tmp_path / "kept").iterdir())) == 1
    (made,) = json.loads(submitted.read_text())["runs"]
    assert made["answered_by"] == ["mine"]
    assert made["prompt"]["version"] >= 3
    assert len(made["ledger"]["rows"]) == 3


def faster(run):
    run["ledger"]["rows"][0]["ms"] = 1e-6


def another_config(run):
    run["ledger"]["rows"][0] = {**run["ledger"]["rows"][1]}


def unseen_winner(run):
    from tools.harness.landscapes.named import named_landscape

    landscape = named_landscape(LANDSCAPE)
    key, best = min(((k, e) for k, e in landscape.entries.items() if landscape.ms(e)), key=lambda x: landscape.ms(x[1]))
    run["ledger"]["rows"] = [{"config": key, "status": "correct", "ms": landscape.ms(best), "at": 1.0}]


def cut_transcript(run):
    run["ledger"]["transcript"] = run["ledger"]["transcript"][:-40]


def other_model(run):
    run["ledger"]["agent"] = "model:somebody-else"


def old_rules(run):
    run["ledger"]["rules"] = 1


@pytest.mark.parametrize("cheat", [faster, another_config, unseen_winner, cut_transcript, other_model, old_rules])
def test_what_was_changed_is_refused_in_one_sentence(submitted, tmp_path, cheat):
    body = json.loads(submitted.read_text())
    cheat(body["runs"][0])
    path = tmp_path / "forged.json"
    path.write_text(json.dumps(body))
    refused = run("leaderboard", "--add", path, "--folder", tmp_path / "kept")
    assert refused.exit_code == 2
    assert "does not hold" in refused.output
    assert not (tmp_path / "kept").exists()


def test_what_is_no_submission_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    assert "is no submission" in run("leaderboard", "--add", tmp_path / "x.json").output
    assert run("leaderboard", "--folder", tmp_path / "none").exit_code == 2


def test_the_kept_games_hold_and_score_what_the_documents_say():
    """No evaluation of theirs went to a config that the space does not hold."""
    from evals.contest.submission import read_submission
    from evals.scoring.score import Board
    from tests.bench.bench_wheel import ROOT, SUBMISSIONS, describe
    from tools.harness.landscapes.named import named_landscape

    said = json.loads((ROOT / "docs" / "data" / "wheel.json").read_text())["runs"]
    kept = {(row["landscape"], row["agent"]): row for row in said}
    played = [x for path in SUBMISSIONS for x in read_submission(path)]
    assert len(played) >= 8
    for ledger in played:
        row = describe(ledger, Board(named_landscape(ledger.source)))
        recorded = dict(kept[row["landscape"], row["agent"]])
        del recorded["more_regret"]
        assert row == recorded
        assert row["outside_the_space"] == 0
