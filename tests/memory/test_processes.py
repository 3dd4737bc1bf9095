"""Several processes on one file, and processes that die while they write."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memory.store import Memory
from tests.memory.conftest import begin, fill

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from memory.store import Memory
from tests.memory.conftest import H200, SQUARE, begin, finish
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
m = Memory.open(path)
e = m.environment(H200); k = m.kernel("fused_matmul", "s"); p = m.problem(k, SQUARE, "square")
m.start_run(name, "g", {}, "m", e, p, {})
for i in range(count):
    a = begin(m, name, f"call-{i}", e, p, m.config(k, {"i": i % 50}), "benchmark")
    finish(m, a, "correct", ms=0.2 + i * 1e-6, regime="burst")
    print(a, flush=True)
"""


def start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_eight_processes_that_start_on_no_file_lose_no_row(path: Path) -> None:
    writers = [start(path, f"run-{n}", 200) for n in range(8)]
    told = [w.communicate()[0].split() for w in writers]
    assert [w.returncode for w in writers] == [0] * 8
    m = Memory.open(path)
    assert len({i for ids in told for i in ids}) == 1600
    assert m.ask("SELECT count(*) AS n FROM attempts WHERE status = 'correct'")[0]["n"] == 1600
    assert m.ask("SELECT sum(attempts) AS n FROM verdicts")[0]["n"] == 1600
    assert m.ask("SELECT count(*) AS n FROM environments")[0]["n"] == 1
    assert m.ask("PRAGMA integrity_check")[0]["integrity_check"] == "ok"


def test_a_killed_writer_loses_nothing_that_it_was_told_is_kept(path: Path) -> None:
    dice = random.Random(7)
    acknowledged: list[int] = []
    for n in range(8):
        writer = start(path, f"run-{n}", 100_000)
        assert writer.stdout is not None
        acknowledged.append(int(writer.stdout.readline()))
        time.sleep(dice.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(x) for x in writer.communicate()[0].splitlines(keepends=True) if x.endswith("\n")]
        m = Memory.open(path)
        assert m.ask("PRAGMA integrity_check")[0]["integrity_check"] == "ok"
        rows = m.ask("SELECT id FROM attempts WHERE status = 'correct'")
        assert set(acknowledged) <= {r["id"] for r in rows}
    assert len(acknowledged) > 8


def test_opening_a_file_again_drops_no_lock_of_this_process(path: Path) -> None:
    m = fill(Memory.open(path)).memory
    with m.write() as c:
        c.execute("UPDATE runs SET goal = 'mine'")
        Memory.open(path.with_name("other.db"))
        assert Memory.read(path) is not None
        code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0.1).execute('BEGIN IMMEDIATE')"
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
        assert "locked" in done.stderr
    # A process that closes the last connection removes the log: it must see that this one is still open.
    subprocess.run([sys.executable, "-c", WRITER, str(path), "guest", "3"], cwd=ROOT, check=True, capture_output=True)
    assert m.ask("SELECT count(*) AS n FROM attempts WHERE run_id = 'guest'")[0]["n"] == 3
    assert path.with_name("memory.db-wal").exists()


def test_a_forked_child_writes_through_its_own_connection(path: Path) -> None:
    filled = fill(Memory.open(path))
    m = filled.memory
    config = m.config(filled.kernel, {"x": 1})
    child = os.fork()
    if child == 0:
        begin(m, "run-1", "child", filled.environment, filled.problem, config, "check")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    begin(m, "run-1", "parent", filled.environment, filled.problem, config, "check")
    calls = m.ask("SELECT tool_call_id FROM attempts WHERE status = 'pending' ORDER BY 1")
    assert [c["tool_call_id"] for c in calls] == ["child", "parent"]
