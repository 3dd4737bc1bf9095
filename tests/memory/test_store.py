from __future__ import annotations

import ast
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import memory as room
from memory.store import FIGURES, Begin, Finish
from tests.memory.conftest import H200, SQUARE, Filled, begin, fill, finish
from tools.harness import results

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def test_equal_content_has_one_row_whatever_its_order(filled: Filled) -> None:
    m = filled.memory
    assert m.environment(dict(reversed(H200.items()))) == filled.environment
    assert m.environment(H200 | {"driver": "580"}) != filled.environment
    assert m.problem(filled.kernel, dict(reversed(SQUARE.items())), "other label") == filled.problem
    first = m.config(filled.kernel, {"a": 1, "b": 2})
    assert m.config(filled.kernel, {"b": 2, "a": 1}) == first
    assert m.config(m.kernel("other", "s"), {"a": 1, "b": 2}) != first


def test_a_pending_row_is_on_disk_before_the_launch_and_finished_once(filled: Filled) -> None:
    m = filled.memory
    m.start_run("r", "g", {}, "m", filled.environment, filled.problem, {})
    config = m.config(filled.kernel, {"x": 1})
    attempt = begin(m, "r", "c", filled.environment, filled.problem, config, "compile")
    other = sqlite3.connect(m.path)
    assert other.execute("SELECT status FROM attempts WHERE id = ?", [attempt]).fetchone() == ("pending",)
    assert m.finished("r", "c") == []
    finish(m, attempt, "correct", registers=168, spill_bytes=0, tma=True, warnings=["C7511"], seconds=0.5)
    row = m.finished("r", "c")[0]
    assert (row["registers"], row["spill_bytes"], row["tma"], row["warnings"]) == (168, 0, True, ["C7511"])
    assert row["config"] == {"x": 1}
    with pytest.raises(ValueError, match="finished once"):
        finish(m, attempt, "runtime")
    with pytest.raises(sqlite3.IntegrityError, match="never changed"), m.write() as c:
        c.execute("UPDATE attempts SET ms = 0.001 WHERE id = ?", [attempt])
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"), m.write() as c:
        c.execute("DELETE FROM attempts WHERE id = ?", [attempt])


def test_wrong_rows_are_refused_whole(filled: Filled) -> None:
    m = filled.memory
    before = m.ask("SELECT count(*) AS n FROM attempts")[0]["n"]
    good = Begin("run-1", "c", filled.environment, filled.problem, m.config(filled.kernel, {"x": 1}), "check")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        m.begin_attempts([good, good._replace(config_id="nosuch")])
    assert m.ask("SELECT count(*) AS n FROM attempts")[0]["n"] == before
    a, b = m.begin_attempts([good, good])
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        m.finish_attempts([Finish(a, "correct", {}), Finish(b, "fast", {})])  # type: ignore[arg-type]
    assert m.finished("run-1", "c") == []
    with pytest.raises(ValueError, match="no figure speed"):
        finish(m, a, "correct", speed=3)
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT"):
        finish(m, a, "correct", ms="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no field colour"):
        m.environment(H200 | {"colour": "green"})


def test_numbers_that_are_not_finite_do_not_become_figures(filled: Filled) -> None:
    m = filled.memory
    a = begin(m, "run-1", "nan", filled.environment, filled.problem, m.config(filled.kernel, {"x": 1}), "benchmark")
    finish(m, a, "correctness", error=float("nan"), ms=float("inf"), samples=[1.0, float("nan")])
    row = m.finished("run-1", "nan")[0]
    assert (row["error"], row["ms"], row["samples"]) == (None, None, [1.0, None])


def test_a_resumed_run_is_open_again_and_its_unfinished_attempts_are_nobodys_fault(filled: Filled) -> None:
    m = filled.memory
    config = m.config(filled.kernel, {"x": 1})
    begin(m, "run-1", "crashed", filled.environment, filled.problem, config, "benchmark")
    m.start_run("run-1", "another goal", {}, "m", filled.environment, filled.problem, {})
    run = m.ask("SELECT * FROM runs WHERE run_id = 'run-1'")[0]
    assert (run["goal"], run["outcome"]) == ("maximise fused TFLOPS", None)
    row = m.finished("run-1", "crashed")[0]
    assert row["status"] == "infrastructure"
    assert "stopped before" in row["reason"]
    with pytest.raises(ValueError, match="no run nosuch"):
        m.finish_run("nosuch", "error", {})


def test_every_thread_has_its_own_connection(filled: Filled) -> None:
    m = filled.memory
    config = m.config(filled.kernel, {"x": 1})

    def work(n: int) -> None:
        for i in range(20):
            a = begin(m, "run-1", f"t{n}-{i}", filled.environment, filled.problem, config, "check")
            finish(m, a, "correct", error=0.0)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert m.ask("SELECT count(*) AS n FROM attempts WHERE tool_call_id LIKE 't%'")[0]["n"] == 120


def test_the_figures_are_the_harness_own() -> None:
    measured = set(results.Measurement.model_fields) - {"config", "status", "samples_ms", "ci_ms", "telemetry"}
    compiled = set(results.CompileResult.model_fields) - {"config", "status", "fingerprint"}
    telemetry = set(results.Telemetry.model_fields)
    assert measured | compiled | telemetry <= set(FIGURES)


def test_memory_knows_nothing_above_it() -> None:
    for source in Path(room.__file__).parent.glob("*.py"):
        tree = ast.parse(source.read_text())
        # A command line stands above its room: what it imports inside functions is its own matter.
        nodes = list(tree.body if source.name in ("__main__.py", "upkeep.py") else ast.walk(tree))
        names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
        names += [n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)]
        tops = {n.split(".")[0] for n in names}
        assert not tops & {"torch", "triton", "tools", "agent", "evals", "kernels", "numpy"}, source


def test_writing_loads_neither_torch_nor_triton(path: Path) -> None:
    code = "import sys; from pathlib import Path; from memory.store import Memory; Memory.open(Path(sys.argv[1]))"
    check = "; assert not {'torch', 'triton', 'langgraph', 'openai'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code + check, str(path)], check=True, cwd=ROOT)


def test_verdicts_kept_by_triggers_equal_verdicts_counted_from_scratch(filled: Filled) -> None:
    from memory.migrations import FILL_VERDICTS, statements

    m = filled.memory
    fill(m, run="run-2")
    config = m.config(filled.kernel, filled.configs[0])
    for status in ("runtime", "infrastructure", "correct", "infrastructure"):
        a = begin(m, "run-2", "x", filled.environment, filled.problem, config, "benchmark")
        finish(m, a, status, ms=0.5 if status == "correct" else None, regime="burst")  # type: ignore[arg-type]
    kept = m.ask("SELECT * FROM verdicts ORDER BY config_id, kind, regime")
    latest = next(v for v in kept if v["config_id"] == config and v["regime"] == "burst")
    assert (latest["status"], latest["ms"], latest["attempts"]) == ("correct", 0.5, 6)
    with m.write() as c:
        for statement in statements(FILL_VERDICTS):
            c.execute(statement)
    assert m.ask("SELECT * FROM verdicts ORDER BY config_id, kind, regime") == kept
