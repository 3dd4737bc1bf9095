"""Begin, kill, resume, replay."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.errors import AgentError, UsageError
from agent.loop.progress import LineWatch, Watch
from agent.loop.run import begin, resume
from agent.models.base import Reply
from agent.replay.replay import replay
from agent.trace.paths import trace_folder
from agent.trace.trace import read_trace
from tests.agent.fake_actions import SPACE, FakeActions, objective, opener

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]


silent = Watch()


def finished(tmp_path, name="ledger", **world):
    return begin(objective(), None, None, silent, opener(tmp_path / name, **world))


def test_a_run_leaves_a_trace_and_no_checkpoints(tmp_path):
    open_ = opener(tmp_path / "ledger")
    ended = begin(objective(), None, None, silent, open_)
    assert (open_.opened[0].closed, open_.opened[0].verdict) == (True, "proven")
    assert [p.suffix for p in trace_folder().iterdir()] == [".jsonl"]
    header = read_trace(Path(ended.outcome.trace)).header
    assert header["run"] == ended.outcome.run
    assert header["objective"]["goal"] == "maximise fused TFLOPS"
    assert {"python", "langgraph"} <= set(header["versions"])
    assert header["setting"]["device"]["kind"] == "recorded"


def test_the_first_line_says_that_the_device_is_recorded(tmp_path):
    said = []
    begin(objective(), None, None, LineWatch(said.append), opener(tmp_path / "ledger"))
    assert "recorded NVIDIA H200" in said[0]


class Reluctant(FakeActions):
    """One config at a time, and seven of eight do not compile."""

    asked = 0

    def suggest_configs(self, count):
        self.asked += 1
        config = SPACE[self.asked // 8] if self.asked % 8 == 0 else {"tile": -self.asked, "warps": 1}
        return {"proposals": [{"config": config}], "stop": False, "why": ""}

    def compile_kernel(self, configs):
        return {"results": [{"config": c, "status": "correct" if c["tile"] > 0 else "compile"} for c in configs]}


def test_the_planner_may_take_many_turns_for_each_evaluation_whatever_a_model_may(tmp_path):
    wanted = objective(max_model_calls=1, max_evals=5)
    ended = begin(wanted, None, None, silent, lambda *given: Reluctant(wanted, tmp_path / "ledger"))
    assert ended.outcome.evaluations == 5
    assert ended.outcome.turns > 16 * 5
    assert replay(Path(ended.outcome.trace), silent).outcome.best == ended.outcome.best


def test_a_replay_is_identical_and_needs_nothing(tmp_path):
    ended = finished(tmp_path)
    again = replay(Path(ended.outcome.trace), silent)
    different = {"seconds"}
    assert again.outcome.model_dump(exclude=different) == ended.outcome.model_dump(exclude=different)


def reseal(path, change):
    """Edit a trace as someone who also fixes the seals."""
    from agent.trace.trace import SEED, encode, seal

    chain, lines = SEED, []
    for line in path.read_text().splitlines():
        event = json.loads(line)
        change(event)
        event["chain"] = chain = seal(chain, event["type"], event["key"], event["body"])
        lines.append(encode(event))
    path.write_text("\n".join(lines) + "\n")


def test_an_edited_tool_result_is_caught_by_its_seal(tmp_path):
    path = Path(finished(tmp_path).outcome.trace)
    at = path.read_bytes().index(b'"ms":0.2')
    path.write_bytes(path.read_bytes()[: at + 7] + b"1" + path.read_bytes()[at + 8 :])
    with pytest.raises(AgentError, match="edited"):
        replay(path, silent)


def test_an_edited_tool_result_with_a_new_seal_is_caught_by_the_loop(tmp_path):
    path = Path(finished(tmp_path).outcome.trace)

    def change(event):
        if event["type"] == "tool_result" and "best" in event["body"]["result"]:
            event["body"]["result"]["best"]["ms"] = 0.1

    reseal(path, change)
    with pytest.raises(AgentError, match="model_request of turn"):
        replay(path, silent)


def test_an_edited_verdict_with_a_new_seal_is_caught(tmp_path):
    path = Path(finished(tmp_path, baseline_ms=0.19).outcome.trace)

    def change(event):
        if event["type"] == "end":
            event["body"]["proven"] = True

    reseal(path, change)
    with pytest.raises(AgentError, match="proven was true and is now false"):
        replay(path, silent)


class Dying:
    """The embedded model, whose endpoint fails at one turn."""

    name = "embedded"

    def __init__(self, model, at):
        self.model, self.at = model, at

    def respond(self, messages, tools, seconds, tokens=None) -> Reply:
        if sum(m["role"] == "assistant" for m in messages) == self.at:
            raise AgentError("The endpoint is gone.")
        return self.model.respond(messages, tools, seconds, tokens)


@pytest.mark.parametrize("turn", [0, 1, 4, 9])
def test_a_run_whose_model_fails_says_how_to_go_on_and_goes_on(tmp_path, monkeypatch, turn):
    from agent.models import choose

    load = choose.load_model
    undisturbed = finished(tmp_path, "other").outcome
    monkeypatch.setattr(choose, "load_model", lambda *given: Dying(load(*given), turn))
    with pytest.raises(AgentError, match="resume") as failed:
        finished(tmp_path)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    run_id = str(failed.value).split()[-1]
    outcome = resume(run_id, silent, opener(tmp_path / "ledger")).outcome
    assert outcome.best == undisturbed.best
    assert outcome.evaluations == undisturbed.evaluations
    ledger = (tmp_path / "ledger").read_text().splitlines()
    assert len(ledger) == len(set(ledger)) == len(SPACE) - 1
    replay(Path(outcome.trace), silent)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 20))])
def test_a_killed_run_is_resumed_and_repeats_nothing(tmp_path, seed):
    environment = {**os.environ, "LEDGER": str(tmp_path / "ledger")}
    chance, verb = random.Random(seed), "begin"
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-m", "tests.agent.fake_actions", verb], cwd=ROOT, env=environment)
        wait_for_progress(tmp_path / "ledger", chance.randint(1, 7), child)
        child.send_signal(signal.SIGKILL)
        child.wait()
        run_id = next(trace_folder().glob("*.jsonl")).stem
        verb = run_id
        if read_trace(trace_folder() / f"{run_id}.jsonl").last("end"):
            break
    else:
        resume(run_id, silent, opener(tmp_path / "ledger"))
    record = read_trace(trace_folder() / f"{run_id}.jsonl")
    undisturbed = finished(tmp_path, "other").outcome
    assert record.broken is None
    assert record.last("end")["best"] == undisturbed.best.model_dump(mode="json")
    ledger = (tmp_path / "ledger").read_text().splitlines()
    assert len(ledger) == len(set(ledger)) == undisturbed.evaluations
    steps = [(e.type, e.key) for e in record.events]
    assert len(steps) == len(set(steps))
    replay(trace_folder() / f"{run_id}.jsonl", silent)


def wait_for_progress(ledger, more, child):
    """Until `more` evaluations happened since now, or the child ended."""
    goal, until = len(ledger.read_text().splitlines()) + more if ledger.exists() else more, time.monotonic() + 300
    while child.poll() is None and time.monotonic() < until:
        if ledger.exists() and len(ledger.read_text().splitlines()) >= goal:
            return
        time.sleep(0.002)


def test_what_cannot_be_resumed_is_said(tmp_path):
    path = Path(finished(tmp_path).outcome.trace)
    for run, says in ((path.stem, "is finished"), (str(path), "is finished"), ("20200101-000000-abcdef", "no run")):
        with pytest.raises(UsageError, match=says):
            resume(run, silent, opener(tmp_path / "ledger"))
    for run in ("../../etc/passwd", "", "a b", "/etc/passwd"):
        with pytest.raises(UsageError, match="not the id of a run"):
            resume(run, silent, opener(tmp_path / "ledger"))


def test_an_unfinished_trace_is_not_replayed(tmp_path):
    path = Path(finished(tmp_path).outcome.trace)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="not finished"):
        replay(path, silent)


def test_a_goal_that_names_another_gpu_is_refused(tmp_path):
    wanted = objective().model_copy(update={"gpu": "a100"})
    open_ = opener(tmp_path / "ledger")
    with pytest.raises(UsageError, match="A100"):
        begin(wanted, None, None, silent, open_)
    assert open_.opened[0].closed
    begin(objective().model_copy(update={"gpu": "h200"}), None, None, silent, open_)


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_stopped_run_says_how_to_go_on(tmp_path, how):
    environment = {**os.environ, "LEDGER": str(tmp_path / "ledger"), "PYTHONPATH": str(ROOT)}
    script = (
        "import os, functools, sys; from pathlib import Path; from agent.loop import run\n"
        "from agent.cli.commands import main\n"
        "from tests.agent.fake_actions import opener\n"
        "run.begin = functools.partial(run.begin, open_=opener(Path(os.environ['LEDGER']), pause=0.1))\n"
        "sys.exit(main(['fused TFLOPS']))"
    )
    child = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
    wait_for_progress(tmp_path / "ledger", 2, child)
    child.send_signal(how)
    _, err = child.communicate(timeout=300)
    assert child.returncode == 130
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: Stopped;")
    assert "Traceback" not in err
    resume(last.split()[-1], silent, opener(tmp_path / "ledger"))
    assert len((tmp_path / "ledger").read_text().splitlines()) == len(SPACE) - 1
