"""A landscape of another Triton or assembler is named as such, and what is compiled here stands apart from it."""

import json

import pytest
import triton

from memory.shared_models import DeviceInfo
from memory.store import Memory
from tests.faults.world import World

pytestmark = pytest.mark.compile

ROWS = """SELECT a.kind, e.triton, e.assembler, count(*) AS n FROM attempts a
    JOIN environments e ON e.id = a.environment_id GROUP BY 1, 2, 3 ORDER BY 1"""


def rows(memory):
    opened = Memory.open(memory)
    found = {row["kind"]: (row["triton"], row["assembler"]) for row in opened.ask(ROWS)}
    opened.close()
    return found


def test_a_run_on_a_recording_of_another_triton_says_so_and_keeps_the_two_apart(tmp_path, capsys):
    world = World(tmp_path, triton="3.6.0", assembler="ptxas 12.8")
    with world.made(tmp_path):
        assert world.run(tmp_path / "memory.db") == 0
    out, err = capsys.readouterr()
    assert f"recorded under Triton 3.6.0, ptxas 12.8; here Triton {triton.__version__}, ptxas" in err
    assert "recorded NVIDIA H200 under Triton 3.6.0" in err
    result = json.loads(out)
    assert (result["device"]["triton"], result["device"]["assembler"]) == ("3.6.0", "ptxas 12.8")
    assert "under Triton 3.6.0, ptxas 12.8" in result["how"]
    found = rows(tmp_path / "memory.db")
    assert found["benchmark"] == found["proof"] == ("3.6.0", "ptxas 12.8")
    assert found["compile"][0] == triton.__version__
    assert found["compile"][1].startswith("ptxas ")


def test_what_this_compiler_refuses_is_no_verdict_on_what_was_recorded(tmp_path, capsys, monkeypatch):
    """The recording's compiler took these configs; a failure here would be one of another version."""
    monkeypatch.setattr("tools.harness.compiling.compiler.MOST_THREADS", 1)
    world = World(tmp_path, triton="3.6.0")
    with world.made(tmp_path):
        world.run(tmp_path / "memory.db")
    capsys.readouterr()
    memory = Memory.open(tmp_path / "memory.db")
    [row] = memory.ask("SELECT count(*) AS n FROM attempts WHERE kind = 'benchmark' AND status = 'constraints'")
    memory.close()
    assert row["n"] == 0


def test_the_same_triton_needs_no_second_environment(tmp_path, capsys):
    world = World(tmp_path)
    with world.made(tmp_path):
        assert world.run(tmp_path / "memory.db") == 0
    assert "recorded under" not in capsys.readouterr().err
    assert len(set(rows(tmp_path / "memory.db").values())) == 1


def test_another_assembler_is_another_environment_and_none_has_the_old_address(tmp_path):
    memory = Memory.open(tmp_path / "memory.db")
    info = DeviceInfo(kind="live", name="NVIDIA H200", hardware="H200", triton="3.9.0").model_dump()
    before = {name: value for name, value in info.items() if name != "assembler"}
    assert memory.environment(info) == memory.environment(before)
    assert len({memory.environment(info | {"assembler": a}) for a in (None, "ptxas 12.9", "ptxas 13.4")}) == 3
    memory.close()
