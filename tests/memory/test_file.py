"""Files that are not as they should be: one sentence each, and the file stays as it was."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database

from memory.commands import main
from memory.file import MemoryFileError
from memory.migrations import migrations
from memory.store import Memory
from memory.terms import MEMORY_ID, MEMORY_SCHEMA
from tests.memory.conftest import Filled, fill

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def sentence(error: pytest.ExceptionInfo[MemoryFileError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_schema_number_counts_the_migrations(path: Path) -> None:
    Memory.open(path)
    db = sqlite3.connect(path)
    assert len(migrations.applied(Database(path))) == MEMORY_SCHEMA
    assert db.execute("PRAGMA user_version").fetchone() == (MEMORY_SCHEMA,)
    assert db.execute("PRAGMA application_id").fetchone() == (MEMORY_ID,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    tables = "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND NOT strict"
    loose = {r[0] for r in db.execute(tables)} - {"sqlite_schema", "sqlite_sequence", "_sqlite_migrations"}
    assert not {t for t in loose if not t.startswith(("lessons_fts", "sqlite_"))}


@pytest.mark.parametrize("version", range(1, MEMORY_SCHEMA))
def test_an_older_file_is_brought_up_to_date_with_all_it_holds(path: Path, version: int) -> None:
    done = [m.name for m in migrations.pending(Database(memory=True))]
    db = Database(sqlite3.connect(path, isolation_level=None))
    migrations.apply(db, stop_before=done[version])
    db.execute(f"PRAGMA application_id = {MEMORY_ID}")
    db.execute(f"PRAGMA user_version = {version}")
    db.execute("INSERT INTO environments (hash, kind, name) VALUES ('e', 'live', 'GPU')")
    db.execute("INSERT INTO kernels VALUES (1, 'k', 's', '', 't')")
    db.execute("INSERT INTO problems VALUES (1, 1, '{}', 'p')")
    db.execute("INSERT INTO configs VALUES ('c', 'k', '{}')")
    db.execute(
        "INSERT INTO runs (run_id, uid, goal, objective, model, environment_id, problem_id, budget, started_at) "
        "VALUES ('r', x'01', 'g', '{}', 'm', 1, 1, '{}', 't')"
    )
    db.execute(
        "INSERT INTO attempts (uid, run_id, tool_call_id, environment_id, problem_id, config_id, kind, created_at, "
        "status, ms, regime) VALUES (x'02', 'r', 'c', 1, 1, 'c', 'benchmark', 't', 'correct', 0.5, 'burst')"
    )
    db.close()
    m = Memory.open(path)
    assert m.ask("SELECT kernel, ms FROM best_per_problem") == [{"kernel": "k", "ms": 0.5}]
    assert m.ask("PRAGMA user_version")[0]["user_version"] == MEMORY_SCHEMA


def test_a_newer_file_is_refused_and_left_alone(filled: Filled) -> None:
    path = filled.memory.path
    filled.memory.connection.execute("PRAGMA user_version = 99")
    filled.memory.close()
    before = path.read_bytes()
    for opener in (Memory.open, Memory.read):
        with pytest.raises(MemoryFileError) as e:
            opener(path)
        assert "newer version (schema 99" in sentence(e)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(MemoryFileError) as e:
        Memory.open(path)
    assert "another program's SQLite file (it has the tables bookmarks)" in sentence(e)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content", [b"hello\n", b"SQLite format 3", b"\x00" * 4096, b"SQLite format 3\x00" + b"\xff" * 9]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(MemoryFileError) as e:
        Memory.open(path)
    assert str(path) in sentence(e)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["a b.db", "50%#?.db", "żółw.db", "\udcff.db", ":memory:"])
def test_any_name_is_a_file(tmp_path: Path, name: str) -> None:
    fill(Memory.open(tmp_path / name))
    assert (tmp_path / name).stat().st_size > 0


def test_an_empty_file_becomes_a_memory(path: Path) -> None:
    path.touch()
    fill(Memory.open(path))


def test_a_directory_a_device_and_an_impossible_path_are_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "is a directory"),
        (Path("/dev/null"), "not a regular file"),
        (Path("/proc/nowhere/memory.db"), "cannot be created"),
        (tmp_path / "f" / "x.db", "cannot be"),
    ):
        (tmp_path / "f").touch()
        with pytest.raises(MemoryFileError) as e:
            Memory.open(path)
        assert words in sentence(e)


def test_a_read_only_file_can_be_asked_but_not_written(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled.memory.path
    filled.memory.close()
    path.chmod(0o444)
    with pytest.raises(MemoryFileError) as e:
        Memory.open(path)
    assert "read-only" in sentence(e)
    assert main(["best", "--memory", str(path), "--limit", "1"]) == 0
    assert "BLOCK_M=128" in capsys.readouterr().out


def test_a_read_only_disk_can_be_asked_but_not_written(filled: Filled, tmp_path: Path) -> None:
    path = filled.memory.path
    filled.memory.close()
    script = (
        "mount --bind $1 $1 && mount -o remount,ro,bind $1 && "
        "$2 -m memory best --memory $3 --limit 1 && $2 -c 'import sys; from pathlib import Path; "
        "from memory.store import Memory; Memory.open(Path(sys.argv[1]))' $3"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, str(path)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no private mounts for this user")
    assert "BLOCK_M=128" in done.stdout
    assert "read-only" in done.stderr or "may not be written" in done.stderr


def test_damage_is_named_and_what_is_readable_is_saved(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(40):
        fill(filled.memory, run=f"more-{n}")
    path = filled.memory.path
    total = filled.memory.ask("SELECT count(*) AS n FROM attempts")[0]["n"]
    page = filled.memory.ask(
        "SELECT pageno FROM dbstat WHERE name = 'attempts' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 4"
    )[0]["pageno"]
    filled.memory.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    filled.memory.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    path.write_bytes(data)
    with pytest.raises(MemoryFileError) as e:
        Memory.open(path)
    assert "damaged and was left as it is" in sentence(e)
    assert main(["recover", str(path)]) == 0
    assert "saved" in capsys.readouterr().out
    assert path.read_bytes() == bytes(data)
    saved = Memory.open(path.with_name("memory.recovered.db"))
    n = saved.ask("SELECT count(*) AS n FROM attempts")[0]["n"]
    assert total - 40 < n < total
    assert saved.ask("PRAGMA integrity_check")[0]["integrity_check"] == "ok"
    assert saved.ask("SELECT ms FROM best_per_problem")
    assert main(["recover", str(path)]) == 2


def test_a_locked_file_is_said_to_be_locked(filled: Filled) -> None:
    other = sqlite3.connect(filled.memory.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(MemoryFileError) as e:
        Memory.open(filled.memory.path, timeout_s=0.2)
    assert "locked by another process for 0.2 s" in sentence(e)
    other.execute("ROLLBACK")
    Memory.open(filled.memory.path, timeout_s=0.2)


def limited() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


def test_a_full_disk_is_said_and_loses_nothing_that_was_acknowledged(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from memory.store import Memory, MemoryFileError\n"
        "from tests.memory.conftest import fill\n"
        "m = Memory.open(Path(sys.argv[1])); n = 0\n"
        "try:\n"
        "    while True: fill(m, run=f'run-{n}'); n += 1; print(n, flush=True)\n"
        "except MemoryFileError as e: sys.exit(str(e))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT, preexec_fn=limited
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "space" in done.stderr
    acknowledged = int(done.stdout.split()[-1])
    assert acknowledged > 5
    finished = Memory.open(path).ask("SELECT count(*) AS n FROM runs WHERE outcome IS NOT NULL")[0]["n"]
    assert finished >= acknowledged
