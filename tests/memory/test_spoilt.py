"""Failures that the machine caused are found, and one command removes them and nothing else."""

import pytest

from memory.commands import main
from memory.store import Begin, Finish, Memory
from memory.upkeep import spoilt

SPOILT = (
    ("compile", "the compiler crashed: the process died (exit code 1): ModuleNotFoundError: No module named 'x'"),
    ("compile", "RuntimeError: Cannot find ptxas"),
    ("runtime", "the process died (exit code 1): ImportError: cannot import name 'hardware_for' from 'kernels'"),
    ("runtime", "OSError: [Errno 28] No space left on device"),
)
SOUND = (
    ("compile", "the compiler crashed: the process died (SIGSEGV)"),
    ("compile", "shared memory: needs 300,000 B, H200 has 232,448 B per block"),
    ("runtime", "RuntimeError: CUDA error: an illegal memory access was encountered"),
    ("infrastructure", "OSError: [Errno 28] No space left on device"),
    ("correct", ""),
)


@pytest.fixture
def memory(tmp_path):
    memory = Memory.open(tmp_path / "memory.db")
    environment = memory.environment({"kind": "live", "name": "NVIDIA H200"})
    kernel = memory.kernel("k", "hash")
    problem = memory.problem(kernel, {"N": 1}, "1")
    memory.start_run("run", "goal", {}, "none", environment, problem, {})
    rows = [*SPOILT, *SOUND]
    configs = memory.configs(kernel, [{"n": n} for n in range(len(rows))])
    ids = memory.begin_attempts([Begin("run", "call", environment, problem, c, "compile") for c in configs])
    finished = [Finish(i, status, {"reason": reason}) for i, (status, reason) in zip(ids, rows, strict=True)]
    memory.finish_attempts(finished)
    yield memory
    memory.close()


def test_they_are_found_and_the_sentence_names_the_command(memory):
    assert spoilt.find(memory).attempts == len(SPOILT)
    assert spoilt.find(memory, problem_id=99).attempts == 0
    assert f"python -m memory clean --memory {memory.path}" in spoilt.describe(memory)


def test_python_and_sql_agree(memory):
    assert all(spoilt.is_spoilt(status, reason) for status, reason in SPOILT)
    assert not any(spoilt.is_spoilt(status, reason) for status, reason in SOUND)


def test_the_command_removes_them_and_nothing_else(memory, capsys):
    assert main(["clean", "--memory", str(memory.path)]) == 0
    assert f"{len(SPOILT)} failures that the machine caused are gone" in capsys.readouterr().out
    left = memory.ask("SELECT status, reason FROM attempts ORDER BY id")
    assert [(row["status"], row["reason"]) for row in left] == [(status, reason) for status, reason in SOUND]
    assert memory.ask("SELECT count(*) AS n FROM verdicts")[0]["n"] == len(SOUND)
    assert spoilt.describe(memory) == ""
    assert main(["clean", "--memory", str(memory.path)]) == 0
    assert "no failure was caused by the machine" in capsys.readouterr().out
