"""The decisions of a trace, its tools run again."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from agent.cli.commands import main
from agent.errors import AgentError, UsageError
from agent.loop.outcome import Outcome
from agent.loop.progress import Watch
from agent.loop.run import begin, resume
from agent.replay import drift
from agent.replay.replay import CLOCKED, replay
from agent.trace.trace import read_trace
from tests.agent.fake_actions import BEST, objective
from tests.agent.replay.elsewhere import opener
from tests.agent.trace.large import example
from tools.harness.landscapes.named import read_landscape, write_landscape

pytestmark = pytest.mark.process

LANDSCAPE = Path(__file__).parents[3] / Path("evals/landscapes/fused_matmul-4096x4096x4096-fp16-h200.json.gz")


silent = Watch()


@pytest.fixture
def recorded(tmp_path):
    """The trace of a finished run of the little world."""
    return Path(begin(objective(), None, None, silent, opener(tmp_path / "then")).outcome.trace)


def test_how_long_a_run_took_is_not_compared():
    assert {name for name in Outcome.model_fields if name.endswith("seconds")} <= CLOCKED


def test_on_the_same_machine_nothing_drifts(recorded, tmp_path):
    found = drift.remeasure(recorded, silent, open_=opener(tmp_path / "here"))
    assert found.wins
    assert len(found.rows) == read_trace(recorded).last("end")["evaluations"]
    assert {row.ratio for row in found.rows} == {1.0}
    assert all(row.ci[0] < 1 < row.ci[1] for row in found.rows)
    assert drift.render(found).startswith("STILL WINS")


def test_a_slower_machine_shows_by_how_much_and_the_winner_loses(recorded, tmp_path):
    found = drift.remeasure(recorded, silent, open_=opener(tmp_path / "here", slower=1.5))
    assert not found.wins
    for row in found.rows:
        assert row.ratio == pytest.approx(1.5, rel=1e-3)
        assert row.ci[0] < row.ratio < row.ci[1]
        assert row.ci[0] > 1
    text = drift.render(found)
    assert text.startswith("NO LONGER WINS")
    assert "1.500" in text
    assert "beyond their intervals" in text


def test_the_recorded_calls_are_made_and_no_others(recorded, tmp_path):
    open_ = opener(tmp_path / "here")
    drift.remeasure(recorded, silent, open_=open_)
    then = [event.key for event in read_trace(recorded).events if event.type == "tool_call"]
    assert [call for call, name in open_.opened[0].calls if name != "prove"] == then
    assert open_.opened[0].closed


def test_the_recorded_winner_is_proven_even_where_another_is_faster(recorded, tmp_path):
    open_ = opener(tmp_path / "here")
    found = drift.remeasure(recorded, silent, open_=open_)
    assert found.here.proofs[0]["config"] == BEST


def test_a_winner_that_fails_here_loses(recorded, tmp_path):
    found = drift.remeasure(recorded, silent, open_=opener(tmp_path / "here", verdicts=("correctness",)))
    assert not found.wins
    assert "correctness" in found.why


def test_a_machine_that_cannot_time_it_is_an_error(recorded, tmp_path):
    with pytest.raises(AgentError, match="could not be timed"):
        drift.remeasure(recorded, silent, open_=opener(tmp_path / "here", verdicts=("infrastructure",) * 3))


def test_a_run_that_had_proven_nothing_does_not_win_no_longer(tmp_path):
    ended = begin(objective(), None, None, silent, opener(tmp_path / "then", slower=1.5))
    assert not ended.outcome.proven
    trace = Path(ended.outcome.trace)
    still = drift.remeasure(trace, silent, open_=opener(tmp_path / "here", slower=1.5))
    assert drift.render(still).startswith("NOT PROVEN, THEN AND HERE: ")
    faster = drift.remeasure(trace, silent, open_=opener(tmp_path / "faster"))
    assert drift.render(faster).startswith("PROVEN HERE, NOT THEN: ")


def test_what_it_found_is_a_trace_that_replays_and_knows_its_parent(recorded, tmp_path):
    found = drift.remeasure(recorded, silent, open_=opener(tmp_path / "here"))
    record = read_trace(found.trace)
    assert record.header["parent"]["run"] == read_trace(recorded).header["run"]
    replay(found.trace, silent)
    found.trace.write_bytes(found.trace.read_bytes()[:-200])
    with pytest.raises(UsageError, match="--live-tools"):
        resume(record.header["run"], silent, opener(tmp_path / "here"))


def test_a_run_without_a_winner_has_nothing_to_win(tmp_path):
    ended = begin(objective(), None, None, silent, opener(tmp_path / "then", nothing_correct=True))
    with pytest.raises(AgentError, match="without a winner"):
        drift.remeasure(Path(ended.outcome.trace), silent, open_=opener(tmp_path / "here"))


def test_options_of_live_tools_need_live_tools(capsys):
    assert main(["replay", str(example()), "--device", "recorded"]) == 2
    assert "--live-tools" in capsys.readouterr().err


def test_the_real_session_measures_again_what_memory_knows(tmp_path, capsys):
    landscape = read_landscape(LANDSCAPE)
    for entry in landscape.entries.values():
        for readings in entry.sets.values():
            readings.samples_ms = [ms * 1.25 for ms in readings.samples_ms]
    slower, memory = tmp_path / "slower-gpu.json.gz", tmp_path / "m.db"
    write_landscape(landscape, slower)
    where = ["--device", f"recorded:{slower}", "--memory", str(memory), "--json"]
    assert main(["maximise fused TFLOPS", "--max-evals", "1", *where]) == 3
    first = json.loads(capsys.readouterr().out)
    assert main(["replay", first["trace"], "--live-tools", *where]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["wins"] is False
    assert [row["ratio"] for row in found["drift"]] == [pytest.approx(1, rel=1e-4)]
    count = "SELECT count(*) FROM attempts WHERE kind = 'benchmark' AND status = 'correct' AND tool_call_id LIKE 't%'"
    assert sqlite3.connect(memory).execute(count).fetchone() == (2,)
