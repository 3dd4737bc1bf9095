"""A person's word before configs run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import AgentError
from agent.loop.approval import ask_person
from agent.loop.progress import Watch
from agent.loop.run import begin, resume
from agent.replay.replay import replay
from agent.trace.trace import read_trace
from tests.agent.fake_actions import BEST, SPACE, objective, opener

BATCH = [{"tile": 16, "warps": 1}, {"tile": 32, "warps": 2}, BEST]


def ask(*lines, configs=BATCH):
    """The answer to one batch, and what was shown."""
    question = {"key": "turn 0", "batches": [{"id": "a", "tool": "run_benchmark", "arguments": {"configs": configs}}]}
    rest, said = list(lines), []

    def read(prompt):
        if not rest:
            raise EOFError
        return rest.pop(0) + "\n"

    return ask_person(question, read, said.append)["answers"]["a"], said


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["yes"], {"verdict": "yes"}),
        (["Y"], {"verdict": "yes"}),
        (["no"], {"verdict": "no"}),
        (["", "perhaps", "n"], {"verdict": "no"}),
        (["edit", "3, 1"], {"verdict": "edit", "arguments": {"configs": [BATCH[2], BATCH[0]]}}),
        (["e 2 2"], {"verdict": "edit", "arguments": {"configs": [BATCH[1]]}}),
        (["edit", '[{"tile": 512}]'], {"verdict": "edit", "arguments": {"configs": [{"tile": 512}]}}),
        (["edit 4", "edit 0", "edit x", "edit [1]", "edit {", "edit []", "y"], {"verdict": "yes"}),
    ],
)
def test_the_ways_to_answer(lines, answer):
    given, said = ask(*lines)
    assert given == answer
    assert said[0] == "run_benchmark wants to run 3 configs:"
    assert "3. tile=128 warps=4" in said[3]


def test_no_answer_is_an_error_and_not_a_yes():
    with pytest.raises(AgentError, match="resume in a terminal"):
        ask("maybe")


def test_what_is_shown_holds_no_control_characters():
    _, said = ask("yes", configs=[{"tile": "\x1b[2J\nyes"}, "text"])
    assert all(line.isprintable() for line in said)


def answering(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_yes_runs_everything_as_without_approval(small_world, monkeypatch, capsys):
    small_world()
    answering(monkeypatch, "yes\n" * 50)
    assert main(["fused TFLOPS", "--approve", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["evaluations"] == len(SPACE) - 1
    assert "run_benchmark wants to run 8 configs:" in err
    assert main(["replay", json.loads(out)["trace"]]) == 0


def test_no_runs_nothing_and_the_run_ends(small_world, monkeypatch, capsys):
    open_ = small_world()
    answering(monkeypatch, "no\n" * 50)
    assert main(["fused TFLOPS", "--approve", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["evaluations"] == 0
    assert "run_benchmark" not in [name for _, name in open_.opened[0].calls]


def test_an_edited_batch_is_what_runs_and_what_the_trace_holds(small_world, monkeypatch, capsys):
    small_world()
    answering(monkeypatch, f"edit {json.dumps([BEST])}\n" + "no\n" * 50)
    assert main(["fused TFLOPS", "--approve", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["evaluations"], outcome["best"]["config"]) == (1, BEST)
    events = read_trace(Path(outcome["trace"])).events
    ran = next(e for e in events if e.type == "tool_call" and e.body["name"] == "run_benchmark")
    assert ran.body["arguments"] == {"configs": [BEST]}
    assert [e.body["result"]["note"] for e in events if (e.type, e.key) == ("tool_result", ran.key)]
    assert main(["replay", outcome["trace"]]) == 0


def test_a_run_that_nobody_answers_stops_and_is_asked_again_after_a_resume(tmp_path):
    wanted = objective(max_evals=9).model_copy(update={"approve": True})
    asked = []

    def ask_some(question):
        asked.append(question["key"])
        if len(asked) == 2:
            raise AgentError("Nobody is here.")
        return {"answers": {batch["id"]: {"verdict": "yes"} for batch in question["batches"]}}

    silent = Watch()

    ledger = tmp_path / "ledger"
    with pytest.raises(AgentError, match="Nobody is here; nothing is lost") as stopped:
        begin(wanted, None, None, silent, opener(ledger), ask=ask_some)
    assert len(ledger.read_text().splitlines()) == 8
    ended = resume(str(stopped.value).split()[-1], silent, opener(ledger), ask=ask_some)
    assert ended.outcome.evaluations == 9
    assert asked[1] == asked[2], "the question that was not answered is put again"
    assert len(asked) == len(set(asked)) + 1, "no other is"
    replay(Path(ended.outcome.trace), silent)


def test_time_spent_waiting_for_a_person_is_not_the_runs(small_world, monkeypatch):
    open_ = small_world()
    answering(monkeypatch, "no\n" * 50)
    main(["fused TFLOPS", "--approve"])
    assert 0 < open_.opened[0].excused < 1
