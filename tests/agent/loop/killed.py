"""Runs of the real session on the recorded device that are killed by SIGKILL and resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.loop.progress import Watch
from agent.replay.replay import replay
from agent.trace.trace import read_trace

ROOT = Path(__file__).parents[3]
GOAL = "maximise fused TFLOPS"
DEADLINE_S = 600.0
"""A run takes seconds; on a machine that has other things to do, minutes."""
DIES_IN = """
import importlib, os, signal, sys
from agent.__main__ import main
module = importlib.import_module("tools." + sys.argv.pop(1))
run = module.run
def die(*call):
    run(*call)
    os.kill(os.getpid(), signal.SIGKILL)
module.run = die
sys.exit(main())
"""
"""A program that runs the agent and dies at the end of the first call of the tool that its first argument names."""


@dataclass
class Place:
    """Where one run keeps its files."""

    folder: Path
    seed: int
    evaluations: int

    @property
    def memory(self) -> Path:
        return self.folder / "memory.db"

    def trace(self) -> Path | None:
        """The run's trace, once it is there."""
        return next((self.folder / "data").glob("*/traces/*.jsonl"), None)

    def start(self, *program: str) -> subprocess.Popen[bytes]:
        """Begin the run, or resume it if its trace has an event. `program`: what runs in place of ``-m agent``."""
        trace = self.trace()
        if trace is not None and b"\n" in trace.read_bytes():
            command = ["resume", trace.stem]
        else:
            command = ["run", GOAL, "--device", "recorded", "--seed", str(self.seed)]
            command += ["--max-evals", str(self.evaluations), "--memory", str(self.memory)]
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "XDG_DATA_HOME": str(self.folder / "data"), "OPENAI_API_KEY": ""}
        with (self.folder / "errors").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, *(program or ("-m", "agent")), *command],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def finish(self) -> None:
        """Let it run to its end."""
        while not self.ended():
            code = self.start().wait(DEADLINE_S)
            if code not in (0, 3):
                raise RuntimeError(f"exit code {code}: {(self.folder / 'errors').read_text()[-2000:]}")

    def ended(self) -> bool:
        trace = self.trace()
        return trace is not None and b'"type":"end"' in trace.read_bytes()

    def kill_in(self, tool: str) -> None:
        """Start it as a process that kills itself by SIGKILL in a call of `tool`: after the call's rows are in the
        memory, before its answer is in the trace."""
        child = self.start("-c", DIES_IN, tool)
        if child.wait(DEADLINE_S) != -signal.SIGKILL:
            raise RuntimeError(f"the run never called {tool}: {(self.folder / 'errors').read_text()[-2000:]}")

    def kill_once(self, dice: random.Random) -> str:
        """Start, wait for a random moment, SIGKILL; between which events it died, or "" where it had ended."""
        before = self.trace()
        start = before.stat().st_size if before else 0
        more, delay = (
            dice.choice((1, 1, 400, 3000, 12000, 30000)),
            dice.choice((0.0, dice.random() * 0.02, dice.random())),
        )
        child, until = self.start(), time.monotonic() + DEADLINE_S
        while child.poll() is None and time.monotonic() < until:
            trace = self.trace()
            if trace is not None and trace.stat().st_size >= start + more:
                time.sleep(delay)
                break
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        code = child.wait()
        if code != -signal.SIGKILL:
            if code not in (0, 3):
                raise RuntimeError(f"exit code {code}: {(self.folder / 'errors').read_text()[-2000:]}")
            return ""
        trace = self.trace()
        if trace is None or b"\n" not in trace.read_bytes():
            return "before the header"
        return f"after {read_trace(trace).events[-1].type}"


def outcome(place: Place) -> dict[str, Any]:
    """What two runs must agree on: the result and the set of finished attempts."""
    trace = place.trace()
    assert trace is not None
    record = read_trace(trace)
    assert record.broken is None
    replay(trace, Watch())
    end = record.last("end")
    assert end is not None
    database = sqlite3.connect(place.memory)
    rows = database.execute(
        "SELECT a.kind, c.config, a.status, a.ms FROM attempts a JOIN configs c ON c.id = a.config_id "
        "WHERE a.run_id = ? AND a.status <> 'infrastructure'",
        [record.header["run"]],
    ).fetchall()
    (outcome_,) = database.execute("SELECT outcome FROM runs WHERE run_id = ?", [record.header["run"]]).fetchone()
    database.close()
    return {
        "result": {key: end[key] for key in ("best", "baselines", "evaluations", "turns", "proven", "why", "stopped")},
        "outcome": outcome_,
        "attempts": sorted({(kind, config, status, ms) for kind, config, status, ms in rows}, key=str),
        "steps": sorted((e.type, e.key) for e in record.events if e.type not in ("header", "resume")),
        "configs": [(e.key, json.dumps(e.body["arguments"])) for e in record.events if e.type == "tool_call"],
    }


def repeated(place: Place) -> list[tuple[str, str]]:
    """Attempts that were finished more than once; finalists and proofs are timed again on purpose."""
    database = sqlite3.connect(place.memory)
    rows = database.execute(
        "SELECT kind, config_id FROM attempts WHERE kind <> 'proof' AND tool_call_id <> 'contend' "
        "AND status NOT IN ('infrastructure', 'pending')"
    ).fetchall()
    database.close()
    return [what for what, count in Counter(rows).items() if count > 1]
