"""What is saved of a memory file that was damaged in one of the ways files are."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from memory.commands import main
from memory.file import MemoryFileError
from memory.store import Memory
from memory.upkeep import sqlite_pages
from memory.upkeep.recover import recover
from memory.upkeep.salvage import LOST, TABLES
from tests.memory.conftest import fill

PAGE = 4096
Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a memory of 30 runs and 480 attempts."""
    path = tmp_path_factory.mktemp("sound") / "memory.db"
    memory = Memory.open(path)
    for n in range(30):
        fill(memory, run=f"run-{n}")
    memory.record_lesson("run-1", "fused_matmul", None, None, "a lesson " * 150)
    memory.close()
    return path.read_bytes()


def counts(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {t: c.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}


def saved(data: bytes, folder: Path) -> dict[str, int]:
    damaged, output = folder / "damaged.db", folder / "saved.db"
    damaged.write_bytes(data)
    recover(damaged, output)
    assert damaged.read_bytes() == data
    assert sorted(p.name for p in folder.glob(".*")) == []
    return counts(output)


def without(data: bytes, *pages: int) -> bytes:
    kept = bytearray(data)
    for page in pages:
        kept[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    return bytes(kept)


@pytest.mark.parametrize(
    "damage",
    [lambda d: bytes(100) + d[100:], lambda d: random.Random(0).randbytes(PAGE) + d[PAGE:], lambda d: d[:16] + d[16:]],
    ids=["zeros for a header", "noise for the first page", "none"],
)
def test_a_lost_header_or_schema_costs_nothing(sound: bytes, damage: Damage, tmp_path: Path) -> None:
    whole = {"environments": 1, "kernels": 1, "problems": 1, "configs": 16, "runs": 30, "attempts": 480, "lessons": 1}
    assert saved(damage(sound), tmp_path) == whole


def test_any_one_bad_page_costs_few_attempts(sound: bytes, tmp_path: Path) -> None:
    """Those on the page. The page of the 16 configs that all attempts name is the one that costs all of them."""
    lost = []
    for page in range(1, len(sound) // PAGE + 1, 3):
        folder = tmp_path / str(page)
        folder.mkdir()
        lost.append(480 - saved(without(sound, page), folder)["attempts"])
    assert sorted(lost)[-2] <= 30, lost
    assert sum(n == 0 for n in lost) > len(lost) // 3


def test_attempts_of_a_run_whose_row_is_lost_are_kept(sound: bytes, tmp_path: Path) -> None:
    assert saved(sound[: len(sound) * 2 // 3], tmp_path)["attempts"] > 100
    with sqlite3.connect(tmp_path / "saved.db") as c:
        [goals] = zip(*c.execute("SELECT DISTINCT goal FROM runs"), strict=True)
    assert LOST in goals


def test_what_stands_in_the_log_alone_is_saved_too(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    memory = Memory.open(path)
    fill(memory)
    log = path.with_name("memory.db-wal").read_bytes()
    data = path.read_bytes()
    memory.close()
    (tmp_path / "hurt.db").write_bytes(bytes(len(data)))
    (tmp_path / "hurt.db-wal").write_bytes(log)
    recover(tmp_path / "hurt.db", tmp_path / "saved.db")
    assert counts(tmp_path / "saved.db")["attempts"] == 16


@pytest.mark.parametrize(
    "damage", [lambda d: random.Random(0).randbytes(65536), lambda d: d[:57], lambda d: b"[" * 9999]
)
def test_a_file_without_a_row_leaves_no_new_file(
    sound: bytes, damage: Damage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(damage(sound))
    assert main(["recover", str(damaged)]) == 2
    assert "holds no row of a memory that can be read" in capsys.readouterr().err
    assert not (tmp_path / "damaged.recovered.db").exists()


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as c:
        c.execute("CREATE TABLE birds (name)")
    with pytest.raises(MemoryFileError, match="not a memory file"):
        recover(tmp_path / "other.db", tmp_path / "saved.db")


def test_pages_are_read_as_sqlite_reads_them(sound: bytes, tmp_path: Path) -> None:
    """Every table with row numbers, overflow pages among them, against SQLite's own reading."""
    path = tmp_path / "memory.db"
    path.write_bytes(sound)
    found = [values for key, values in sqlite_pages.rows(path) if key is not None]
    with sqlite3.connect(path) as c:
        for table in ("kernels", "problems", "attempts", "lessons"):
            for row in c.execute(f"SELECT * FROM {table}"):
                assert [None, *row[1:]] in [[None, *values[1:]] for values in found if len(values) == len(row)], table
