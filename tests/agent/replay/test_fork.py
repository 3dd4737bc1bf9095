"""Another turn from a step of a run that was."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import AgentError, UsageError
from agent.export.reader import read_story
from agent.loop.progress import Watch
from agent.loop.run import begin, resume
from agent.models import choose
from agent.replay.fork import fork
from agent.replay.replay import replay
from agent.trace.trace import Trace, read_trace
from tests.agent.fake_actions import BEST, SPACE, objective
from tests.agent.replay.elsewhere import opener
from tests.agent.scripted import Scripted, calls, words
from tests.agent.trace.large import example

pytestmark = pytest.mark.process

silent = Watch()


@pytest.fixture
def parent(tmp_path):
    """A finished run of the little world: its trace's record."""
    ended = begin(objective(), None, None, silent, opener(tmp_path / "parent"))
    return read_trace(Path(ended.outcome.trace))


def steps(record):
    return [(event.type, event.key, event.body) for event in record.events if event.type not in ("header", "fork")]


def child_of(ended):
    return read_trace(Path(ended.outcome.trace))


def test_a_fork_knows_its_parent_and_keeps_what_it_did(parent, tmp_path):
    ended = fork(parent, 5, watch=silent, open_=opener(tmp_path / "child"))
    child = child_of(ended)
    header = child.header
    assert (header["parent"]["run"], header["parent"]["at"]) == (parent.header["run"], 5)
    assert header["parent"]["chain"] in {event.chain for event in parent.events}
    assert child.header["run"] != parent.header["run"]
    before = [event for event in steps(child) if event[1] in ("turn 0", "turn 3") or event[1].startswith("t0003")]
    assert before == [event for event in steps(parent) if (event[0], event[1]) in {b[:2] for b in before}]
    assert len([event for event in child.events if event.type == "fork"]) == 1
    assert ended.outcome.best.config == BEST
    assert ended.outcome.evaluations == len(SPACE) - 1
    assert ended.outcome.seconds >= 0


def test_nothing_before_the_turn_is_done_again(parent, tmp_path):
    open_ = opener(tmp_path / "child")
    fork(parent, 8, watch=silent, open_=open_)
    made = [call for call, name in open_.opened[0].calls if name != "prove"]
    assert made
    assert min(made) >= "t0007"


@pytest.mark.parametrize("at", [1, 2, 4, 7, 12])
def test_a_fork_replays_from_its_own_trace(parent, tmp_path, at):
    ended = fork(parent, at, watch=silent, seed=3, open_=opener(tmp_path / "child"))
    again = replay(Path(ended.outcome.trace), silent)
    assert again.outcome.best == ended.outcome.best
    assert again.outcome.objective["seed"] == 3


def test_the_users_word_reaches_the_model_before_that_turn(parent, tmp_path, monkeypatch):
    model = Scripted(calls(("run_benchmark", {"configs": [BEST]})), words("enough"))
    load = choose.load_model
    monkeypatch.setattr(choose, "load_model", lambda name, *rest: model if name == "other" else load(name, *rest))
    ended = fork(parent, 5, watch=silent, model="other", say="Try warps.", open_=opener(tmp_path / "child"))
    assert {"role": "user", "content": "Try warps."} in model.heard[0][-2:]  # what is left may be told after it
    assert sum(message.get("content") == "Try warps." for message in model.heard[-1]) == 1
    child = child_of(ended)
    assert child.header["says"] == {"4": "Try warps."}
    story = read_story(child)
    assert [point.turn for point in story.points if point.kind == "say"] == [5]
    assert {turn.model for turn in story.turns} >= {"embedded", "scripted"}
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert replay(Path(ended.outcome.trace), silent).outcome.best == ended.outcome.best


def test_a_word_after_the_end_makes_it_go_on(parent, tmp_path, monkeypatch):
    model = Scripted(calls(("roofline_report", {"config": BEST})), words("enough"))
    load = choose.load_model
    monkeypatch.setattr(choose, "load_model", lambda name, *rest: model if name == "other" else load(name, *rest))
    last = parent.last("end")["turns"] + 1
    fork(parent, last, watch=silent, model="other", say="One more look.", open_=opener(tmp_path / "child"))
    assert len(model.heard) >= 2


def test_a_fork_of_a_fork_hears_both_words(parent, tmp_path):
    first = child_of(fork(parent, 4, watch=silent, say="one", open_=opener(tmp_path / "first")))
    second = fork(first, 7, watch=silent, say="two", open_=opener(tmp_path / "second"))
    child = child_of(second)
    assert child.header["says"] == {"3": "one", "6": "two"}
    assert child.header["parent"]["run"] == first.header["run"]
    replay(Path(second.outcome.trace), silent)
    early = child_of(fork(first, 2, watch=silent, open_=opener(tmp_path / "early")))
    assert early.header["says"] == {}


def test_a_fork_that_died_is_resumed_with_what_it_inherited(parent, tmp_path, monkeypatch):
    class Dead:
        name = "embedded"

        def respond(self, *_):
            raise AgentError("The endpoint is gone.")

    load = choose.load_model
    monkeypatch.setattr(choose, "load_model", lambda *given: Dead())
    with pytest.raises(AgentError, match="resume") as failed:
        fork(parent, 6, watch=silent, say="go on", open_=opener(tmp_path / "child"))
    monkeypatch.setattr(choose, "load_model", load)
    ended = resume(str(failed.value).split()[-1], silent, opener(tmp_path / "child"))
    assert ended.outcome.best.config == BEST
    assert ended.outcome.evaluations == len(SPACE) - 1
    replay(Path(ended.outcome.trace), silent)


def test_what_cannot_be_forked_is_said(parent, tmp_path):
    for at in (99, 10**6):
        with pytest.raises(UsageError, match="is not a turn of this run: it has turns 1 to"):
            fork(parent, at, watch=silent, open_=opener(tmp_path / "child"))
    parent.broken = 7
    with pytest.raises(UsageError, match="edited at event 7"):
        fork(parent, 2, watch=silent, open_=opener(tmp_path / "child"))


def test_a_model_that_cannot_be_leaves_no_trace(tmp_path, capsys):
    assert main(["fork", str(example()), "--at", "3", "--model", "gpt-none"]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert not list((tmp_path / "data").rglob("*.jsonl"))


def test_a_run_is_not_forked_on_another_device_and_leaves_nothing(parent, tmp_path):
    device = {**parent.header["setting"]["device"], "name": "NVIDIA B200"}
    parent.events[0].body["setting"]["device"] = device
    before = {*(tmp_path / "data").rglob("*.jsonl")}
    with pytest.raises(UsageError, match="start a new run"):
        fork(parent, 3, watch=silent, open_=opener(tmp_path / "child"))
    assert {*(tmp_path / "data").rglob("*.jsonl")} == before


def test_the_real_session_goes_on_from_a_gallery_trace(tmp_path, capsys):
    record, memory = read_trace(example()), tmp_path / "m.db"
    turn = next(e.key for e in record.events if e.body.get("name") == "check_correctness")
    at = int(turn[1:5]) + 1
    assert main(["fork", str(example()), "--at", str(at), "--memory", str(memory), "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    # That run was counted before a failed compilation was an evaluation.
    failed = sum(e.body["result"].get("failed", 0) for e in record.events if e.type == "tool_result")
    assert outcome["evaluations"] == record.last("end")["evaluations"] + failed
    # Of configs within noise of the best, the one with the better interval is proven; that run took the first.
    before = record.last("end")["best"]
    assert outcome["proven"]
    assert outcome["best"]["ms"] <= before["ci_ms"][1]
    kinds = sqlite3.connect(memory).execute("SELECT DISTINCT kind, tool_call_id FROM attempts").fetchall()
    assert {kind for kind, call in kinds if call not in ("contend", "proof")} == {"check"}


def test_a_trace_is_copied_with_its_times(parent, tmp_path):
    child = child_of(fork(parent, 4, watch=silent, open_=opener(tmp_path / "child")))
    cut = [event.type for event in child.events].index("fork")
    assert [event.at for event in child.events[:cut]] == [event.at for event in parent.events[:cut]]
    with pytest.raises(AgentError, match="is finished"):
        resume(child.header["run"], silent, opener(tmp_path / "child"))


def test_one_process_writes_a_trace_at_a_time(parent, tmp_path):
    path = tmp_path / "t.jsonl"
    trace = Trace(path)
    trace.copy(parent.events[0])
    with pytest.raises(AgentError, match="still going"):
        Trace(path)
    trace.close()


@pytest.fixture
def taken_over(tmp_path, monkeypatch):
    """A run in which a model got nowhere and the embedded planner took over."""
    wanted = objective().model_copy(update={"model": "m"})
    monkeypatch.setattr(choose, "load_model", lambda *given: Scripted(*[calls(("nonsense", {}))] * 9))
    ended = begin(wanted, None, None, silent, opener(tmp_path / "parent"))
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Path(ended.outcome.trace)


def test_a_takeover_is_told_and_replays(taken_over, capsys):
    assert main(["show", str(taken_over)]) == 0
    out = capsys.readouterr().out
    assert "the embedded planner takes over: " in out
    assert "embedded decides from here on, in the place of scripted" in out
    assert "nonsense was answered with an error: unknown tool" in out
    assert replay(taken_over, silent).outcome.proven


def test_another_model_is_not_given_a_run_that_the_planner_has_taken_over(taken_over, tmp_path):
    record = read_trace(taken_over)
    late = record.last("end")["turns"]
    with pytest.raises(UsageError, match="had taken over before turn"):
        fork(record, late, watch=silent, model="embedded", open_=opener(tmp_path / "child"))
    assert fork(record, 2, watch=silent, model="embedded", open_=opener(tmp_path / "child")).outcome.best.config == BEST
