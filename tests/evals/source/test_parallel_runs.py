"""Runs side by side: what is begun ends, what crashes is no score, and no process outlives the command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.source.parallel_runs import Job, ParallelRuns, play_order
from evals.source.run_times import LIKELY, RunTimes
from evals.source.source_runs import KNOWN, Place
from evals.source.source_tasks import ALL, TRAPS
from tests.evals.source.paced_player import FOLDER
from tools.harness.measuring.telemetry import gpus_present

PACED = "tests.evals.source.paced_player:paced"
pytestmark = pytest.mark.process


def ended(players, workers, stop_after=None, seconds=0.01, tasks=None, likely=None):
    jobs = [Job(task, player) for task, player in zip(tasks or ["padding"] * len(players), players, strict=True)]
    times = RunTimes(seconds, likely or dict.fromkeys(LIKELY, 0.0))
    return list(ParallelRuns(jobs, Place("cuda:0", seconds=seconds), workers, stop_after, PACED, times).ended())


def test_what_is_begun_ends_and_nothing_is_begun_that_would_end_too_late():
    runs = ended(["sleep:1.5", "sleep:0.2", "sleep:0.3", "sleep:0.4"], 2, stop_after=1, seconds=1.0)
    played = {run.player for run in runs if not run.unplayed}
    # The first two are begun in any case. When the second ends, a third would take a second as well.
    assert played == {"sleep:1.5", "sleep:0.2"}
    left = [run for run in runs if run.unplayed]
    assert len(left) == 2
    assert all("not begun: such a run is likely to take " in run.unplayed for run in left)
    assert all("end after --stop-after 1" in run.unplayed for run in left)
    assert next(run for run in runs if run.player == "sleep:1.5").whole_seconds >= 1.5


def test_a_run_is_expected_to_take_as_long_as_its_search_at_least():
    runs = ended(["", ""], 1, stop_after=30, seconds=40.0)
    assert [bool(run.unplayed) for run in runs] == [False, True]
    assert "likely to take 40 s" in runs[1].unplayed


def test_a_short_run_is_begun_behind_long_ones_though_no_long_one_would_be():
    likely = {**dict.fromkeys(LIKELY, 0.0), "products": 5.0, "rows": 0.5}
    tasks = ["unswizzled", "wide_tiles", "padding"]
    runs = ended(["sleep:0.2", "sleep:0", "sleep:0"], 1, stop_after=5, tasks=tasks, likely=likely)
    assert [run.task for run in runs if run.unplayed] == ["wide_tiles"]
    assert runs[2].why == "lock gpu.lock"


def test_without_a_limit_all_are_played_and_share_a_lock():
    runs = ended(["", "", ""], 2)
    assert [run.why for run in runs] == ["lock gpu.lock"] * 3


def test_a_run_that_crashes_is_no_score_and_others_go_on():
    runs = {run.player: run.unplayed for run in ended(["die", "raise", "rubbish", "sleep:0"], 1)}
    assert runs["sleep:0"] == ""
    assert "SIGKILL" in runs["die"]
    assert runs["raise"] == "RuntimeError: ValueError: no such thing"
    assert runs["rubbish"].startswith("ValidationError")


@pytest.mark.long
@pytest.mark.skipif(gpus_present() > 0, reason="it would be played")
def test_the_process_of_a_run_reads_the_place_and_answers_with_the_run():
    (run,) = ParallelRuns([Job("padding", KNOWN)], Place("cuda:0"), 1).ended()
    assert (run.task, run.player) == ("padding", KNOWN)
    assert "cuda:0 names a GPU and this machine has none" in run.unplayed


@pytest.mark.long
@pytest.mark.skipif(gpus_present() > 0, reason="it would be played")
def test_the_process_of_a_run_finds_a_model_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "players").mkdir()
    (tmp_path / "players" / "mine.py").write_text(
        "class Mine:\n    name = 'mine'\n    def respond(self, *asked): ...\n"
    )
    jobs = [Job("padding", "players.mine:Mine")]
    (found,) = ParallelRuns(jobs, Place("cuda:0", paths=(str(tmp_path),)), 1).ended()
    assert "cuda:0 names a GPU and this machine has none" in found.unplayed
    (lost,) = ParallelRuns(jobs, Place("cuda:0"), 1).ended()
    assert "Model module players.mine cannot be imported" in lost.unplayed


def test_traps_are_spread_among_the_tasks():
    order = play_order(list(ALL))
    assert sorted(order) == sorted(ALL)
    assert [i for i, task in enumerate(order) if task in TRAPS] == [2, 7, 12]
    assert play_order(["transposition", "padding", "masked_work", "unswizzled"]) == [
        "unswizzled", "masked_work", "padding", "transposition"
    ]  # fmt: skip
    assert play_order(["padding", "wrong_elsewhere"]) in (
        ["padding", "wrong_elsewhere"], ["wrong_elsewhere", "padding"]
    )  # fmt: skip
    assert play_order(list(TRAPS)) == list(TRAPS)


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def hear_ctrl_c():
    """A shell starts what it runs in the background without it, and tests may be run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def runs_in(path: Path):
    return json.loads(path.read_text())["runs"] if path.exists() else []


@pytest.mark.long
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_ended_from_outside_the_file_has_what_ended_and_no_process_is_left(sent, tmp_path):
    pids, temporary, out = tmp_path / "pids", tmp_path / "temporary", tmp_path / "runs.json"
    pids.mkdir()
    temporary.mkdir()
    options = ["--tasks", "padding", "--workers", "2", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.evals.source.paced_command", "0,600,601", *options],
        env={**os.environ, FOLDER: str(pids), "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, text=True,
        preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    try:
        wait_for(lambda: len(runs_in(out)) == 1 and len(list(pids.iterdir())) == 3)
        process.send_signal(sent)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    numbers = [int(path.read_text()) for path in pids.iterdir()]
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in numbers))
    assert [run["player"] for run in runs_in(out)] == ["sleep:0"]
    if sent != signal.SIGKILL:
        assert process.returncode == 130
        lines = [line for line in said.splitlines() if line]
        assert lines[-2:] == [f"1 of 3 runs have ended, and are in {out}", "stopped"]
        assert list(temporary.iterdir()) == []
