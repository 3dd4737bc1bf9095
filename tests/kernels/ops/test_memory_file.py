"""A memory file as a source of tuned configs, read without memory's own code."""

from __future__ import annotations

import sqlite3

import pytest

from kernels.ops import tuned_files
from kernels.ops.memory_file import read_fastest
from memory import queries
from memory.store import Memory
from tests.memory.conftest import H200, RECORDED, SQUARE, begin, fill, finish


@pytest.fixture
def memory(tmp_path):
    """Three problems on two devices, in both regimes."""
    memory = Memory.open(tmp_path / "memory.db")
    for n, (info, m) in enumerate(((H200, 4096), (RECORDED, 4096), (H200, 64), (RECORDED, 512))):
        filled = fill(memory, info=info, problem=SQUARE | {"M": m}, run=f"run-{n}")
        configs = [row["id"] for row in memory.ask("SELECT id FROM configs ORDER BY id LIMIT 3")]
        for config, ms in zip(configs, (0.3, 0.2, 0.2), strict=True):
            attempt = begin(memory, f"run-{n}", "late", filled.environment, filled.problem, config, "benchmark")
            finish(memory, attempt, "correct", ms=ms, regime="sustained")
    return memory


def expected(memory):
    return [
        (problem["kernel"], row["config"], row["ms"])
        for problem in queries.problems(memory)
        for row in queries.best(memory, problem["id"], limit=1)
    ]


def test_the_fastest_configs_are_those_that_the_memory_itself_names(memory):
    found = read_fastest(memory.path)
    assert [(f.kernel, f.config, f.ms) for f in found] == expected(memory)
    assert {f.problem["M"] for f in found} == {64, 512, 4096}
    assert {f.hardware for f in found} == {"H200"}
    assert len(found) == 8
    assert sum(f.recorded for f in found) == 4


def test_an_older_file_is_read_as_it_is(memory):
    """Schema 2 has the tables; all later steps add other things."""
    before = expected(memory)
    memory.connection.execute("PRAGMA user_version = 2")
    for view in ("best_per_problem", "failures_by_reason", "learning_curve", "runs_overview"):
        memory.connection.execute(f"DROP VIEW {view}")
    memory.connection.execute("ALTER TABLE attempts DROP COLUMN fingerprint")
    memory.close()
    assert [(f.kernel, f.config, f.ms) for f in read_fastest(memory.path)] == before
    assert sqlite3.connect(memory.path).execute("PRAGMA user_version").fetchone() == (2,)


def test_a_read_only_folder_is_read_too(memory):
    before = expected(memory)
    memory.close()
    folder = memory.path.parent
    memory.path.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert [(f.kernel, f.config, f.ms) for f in read_fastest(memory.path)] == before
    finally:
        folder.chmod(0o755)


def foreign(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")


def newer(path):
    memory = Memory.open(path)
    memory.connection.execute("PRAGMA user_version = 99")
    memory.close()


def damaged(path):
    fill(Memory.open(path)).memory.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    for page in range(2 * 4096, len(data), 8192):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (foreign, "is another program's SQLite file"),
        (newer, "was written by a newer version"),
        (damaged, "is damaged: `python -m memory recover"),
        (lambda path: path.write_bytes(b"hello\n" * 1000), "is not a SQLite file"),
        (lambda path: None, "there is no file of tuned configs"),
    ],
)
def test_an_unusable_file_is_refused_in_one_sentence(tmp_path, make, words):
    path = tmp_path / "memory.db"
    make(path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(tuned_files.TunedFileError, match=words) as e:
        tuned_files.load(path)
    assert "\n" not in str(e.value)
    assert before is None or path.read_bytes() == before


def test_an_empty_file_has_no_configs(tmp_path):
    (tmp_path / "memory.db").touch()
    assert tuned_files.load(tmp_path / "memory.db") == []
