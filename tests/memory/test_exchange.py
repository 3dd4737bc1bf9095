"""Merging, exporting, importing, pruning."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from memory import queries
from memory.commands import main
from memory.file import MemoryFileError
from memory.formats import t4_import
from memory.store import Memory
from memory.upkeep import prune as pruning
from memory.upkeep.merge import merge
from tests.memory.conftest import H200, RECORDED, SQUARE, Filled, begin, fill, finish
from tools.harness.landscapes.files import read_landscape

CONTENT = (
    "SELECT hex(a.uid) AS uid, r.goal, e.hash, k.source_hash, p.problem, a.config_id, a.kind, a.status, a.ms "
    "FROM attempts a JOIN runs r USING (run_id) JOIN environments e ON e.id = a.environment_id JOIN problems p "
    "ON p.id = a.problem_id JOIN kernels k ON k.id = p.kernel_id ORDER BY a.uid"
)


def verdicts(m: Memory) -> list[Any]:
    return m.ask(
        "SELECT e.hash, p.problem, v.kind, v.regime, v.config_id, v.status, v.ms, v.attempts FROM verdicts v "
        "JOIN environments e ON e.id = v.environment_id JOIN problems p ON p.id = v.problem_id ORDER BY 1, 2, 3, 4, 5"
    )


def test_merging_twice_or_the_other_way_round_gives_the_same(tmp_path: Path) -> None:
    a, b = (fill(Memory.open(tmp_path / f"{n}.db"), info=i) for n, i in (("a", H200), ("b", H200 | {"host": "h"})))
    fill(b.memory, run="shared")
    b.memory.record_lesson("shared", "fused_matmul", b.problem, b.environment, "eight warps")
    both = Memory.open(tmp_path / "both.db")
    assert merge(both, b.memory.path)["attempts"] == 32
    assert merge(both, a.memory.path)["attempts"] == 16
    new = merge(a.memory, b.memory.path)
    assert (new["attempts"], new["runs"], new["lessons"]) == (32, 2, 1)
    assert set(merge(a.memory, b.memory.path).values()) == {0}
    assert a.memory.ask(CONTENT) == both.ask(CONTENT)
    assert verdicts(a.memory) == verdicts(both)
    # Two different runs were both called run-1: both are there.
    assert a.memory.ask("SELECT count(*) AS n FROM runs")[0]["n"] == 3
    assert queries.lessons(a.memory, "warps")[0]["run_id"] == "shared"


def test_merging_finishes_what_was_copied_while_pending(tmp_path: Path) -> None:
    a = fill(Memory.open(tmp_path / "a.db"))
    config = a.memory.config(a.kernel, {"x": 1})
    pending = begin(a.memory, "run-1", "late", a.environment, a.problem, config, "benchmark")
    b = Memory.open(tmp_path / "b.db")
    merge(b, a.memory.path)
    finish(a.memory, pending, "correct", ms=0.01, regime="burst")
    merge(b, a.memory.path)
    assert b.finished("run-1", "late")[0]["ms"] == 0.01
    assert queries.best(b, 1, limit=1)[0]["ms"] == 0.01


def test_merging_refuses_itself_and_what_is_no_memory(filled: Filled, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(filled.memory.path)
    (tmp_path / "text.db").write_text("hello")
    for other, words in (
        (link, "itself"),
        (tmp_path / "no.db", "does not exist"),
        (tmp_path / "text.db", "not a SQLite"),
    ):
        with pytest.raises(MemoryFileError, match=words):
            merge(filled.memory, other)


def export(path: Path, shape: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["export", "--memory", str(path), "--format", shape, *more]) == 0
    return capsys.readouterr().out


def test_an_export_to_t4_is_a_landscape_and_comes_back_whole(
    filled: Filled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main(["export", "--memory", str(filled.memory.path), "--output", str(out)]) == 0
    landscape = read_landscape(out)
    assert (landscape.kernel, landscape.problem, landscape.device.name) == ("fused_matmul", SQUARE, "NVIDIA H200")
    best = queries.best(filled.memory, filled.problem, limit=1)[0]
    assert min(landscape.correct(), key=lambda e: landscape.ms(e) or 1e9).config == best["config"]
    other = Memory.open(tmp_path / "other.db")
    assert t4_import.load(other, out) == ("4096x4096x4096 fp16 leaky_relu", 16, 16)
    assert t4_import.load(other, out).new == 0
    assert t4_import.load(filled.memory, out).new == 0
    assert verdicts(other) == [v | {"regime": "burst"} for v in verdicts(other)]
    assert queries.best(other, 1, limit=1)[0]["ms"] == best["ms"]
    assert queries.best(other, 1, limit=1)[0]["device"] == "NVIDIA H200 (live)"


def test_a_foreign_t4_file_is_a_recording_and_needs_its_subject(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        {"configuration": {"a": 1}, "times": {"runtimes": [2000, 3000]}, "invalidity": "correct", "correctness": 1},
        {"configuration": {"a": 2}, "times": {"compilation": 1}, "invalidity": "compile", "correctness": 0},
    ]
    foreign = tmp_path / "hub.json"
    foreign.write_text(json.dumps({"metadata": {"timeunit": "microseconds"}, "results": results}))
    assert main(["import", "--memory", str(path), str(foreign)]) == 2
    assert "add --kernel, --problem and --device" in capsys.readouterr().err
    say = ["--kernel", "gemm", "--problem", "4096", "--device", "A100"]
    assert main(["import", "--memory", str(path), *say, str(foreign)]) == 0
    row = queries.best(Memory.open(path), 1)[0]
    assert (row["ms"], row["device_kind"], row["config"]) == (3.0, "recorded", {"a": 1})


def test_a_kernel_tuner_cache_is_read_back(filled: Filled, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "into.db"
    cache = tmp_path / "kt.json"
    cache.write_text(export(filled.memory.path, "kernel-tuner", capsys))
    assert main(["import", "--memory", str(path), str(cache)]) == 0
    into = Memory.open(path)
    before, after = (queries.best(m, 1, limit=3) for m in (filled.memory, into))
    assert len(after) == 3
    assert [(r["config"], r["ms"]) for r in after] == [(r["config"], r["ms"]) for r in before]
    assert into.ask("SELECT name FROM kernels")[0]["name"] == "fused_matmul"
    rows = into.ask("SELECT status, count(*) AS n FROM attempts GROUP BY status")
    assert {r["status"]: r["n"] for r in rows}["compile"] == 4
    assert main(["import", "--memory", str(path), str(cache)]) == 0
    assert into.ask("SELECT count(*) AS n FROM attempts")[0]["n"] == sum(r["n"] for r in rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "GFLOP/s"}, "its objective is 'GFLOP/s', and the memory holds times"),
        ({"tune_params_keys": ["block_size_x", "missing"]}, "lacks a value for one of block_size_x, missing"),
        ({"device_name": ""}, "add --kernel, --problem and --device"),
    ],
)
def test_a_foreign_cache_is_read_or_refused_in_one_sentence(
    tmp_path: Path, path: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"block_size_x": 64, "time": 0.5, "times": [0.4, 0.6], "compile_time": 200.0, "GB/s": 31.0}
    bad = {"block_size_x": 2048, "time": "InvalidConfig"}
    raw = {
        "device_name": "NVIDIA A100",
        "kernel_name": "vector_add",
        "problem_size": 10000000,
        "tune_params_keys": ["block_size_x"],
        "tune_params": {"block_size_x": [64, 2048]},
        "cache": {"64": row, "2048": bad},
    }
    file = tmp_path / "vector_add.json"
    file.write_text(json.dumps(raw)[: -len("}}")] + ",")  # as a run that was interrupted leaves it
    assert main(["import", "--memory", str(path), str(file)]) == 0
    found = Memory.open(path).ask("SELECT status, ms FROM attempts ORDER BY ms")
    assert [(r["status"], r["ms"]) for r in found] == [("constraints", None), ("correct", 0.5)]
    capsys.readouterr()
    file.write_text(json.dumps(raw | change))
    assert main(["import", "--memory", str(path), str(file)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"results": 3}', '{"results": [3]}', '{"results": [{"configuration": {}}]}',
     '{"results": [{"configuration": {}, "invalidity": "correct", "times": {}}]}', "\x00\xff",
     '{"metadata": {"timeunit": []}, "results": []}', '{"metadata": {"autokernel": {"kernel": "k"}}, "results": []}',
     '{"results": [{"configuration": {"a": NaN}, "invalidity": "compile"}]}',
     '{"results": [{"configuration": {}, "invalidity": "compile", "reason": {"a": 1}}]}',
     '{"results": [{"configuration": {}, "invalidity": "compile", "reason": "\\ud800"}]}',
     '{"results": [{"configuration": {}, "invalidity": "compile", "compile": {"registers": 1e300, "warnings": 3}}]}',
     '{"results": [{"configuration": {}, "invalidity": "compile", "compile": {"registers": 99999999999999999999}}]}'],
)  # fmt: skip
def test_what_is_no_t4_is_refused_in_one_sentence(
    tmp_path: Path, path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    say = ["--kernel", "gemm", "--problem", "4096", "--device", "A100"]
    assert main(["import", "--memory", str(path), *say, str(bad)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["import", "--memory", str(path), *say, str(tmp_path / "none.json")]) == 2


def test_exports_in_other_tools_words(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled.memory.path
    best = queries.best(filled.memory, filled.problem, limit=1)[0]
    cache = json.loads(export(path, "kernel-tuner", capsys))
    assert cache["schema_version"] == "1.1.0"
    assert cache["tune_params_keys"] == ["BLOCK_K", "BLOCK_M", "num_stages", "num_warps"]
    times = [e["time"] for e in cache["cache"].values()]
    assert times.count("CompilationFailedConfig") == 4
    assert min(t for t in times if not isinstance(t, str)) == best["ms"]

    script = export(path, "triton", capsys)
    triton = pytest.importorskip("triton")
    names: dict[str, Any] = {}
    exec(compile(script, "configs.py", "exec"), names)
    first = names["configs"][0]
    assert isinstance(first, triton.Config)
    assert first.kwargs | {"num_warps": first.num_warps, "num_stages": first.num_stages} == best["config"]

    line = export(path, "autotune", capsys).strip()
    made = eval(line.removeprefix("@"), {"triton": triton})(triton.jit(a_kernel))
    assert made.configs[0].all_kwargs() == first.all_kwargs()
    assert sorted(made.keys) == ["K", "M", "N"]

    earlier = json.loads(export(path, "best-config", capsys))
    assert earlier["BLOCK_SIZE_M"] == best["config"]["BLOCK_M"]
    rows = list(csv.DictReader(io.StringIO(export(path, "history-csv", capsys))))
    assert list(rows[0]) == ["timestamp", "name", "ms", "tflops", "status", "config", "device"]
    assert {r["status"] for r in rows} == {"success", "compile"}
    assert {r["ms"] for r in rows if r["status"] == "compile"} == {"N/A"}


def a_kernel(M, N, K):  # type: ignore[no-untyped-def]
    pass


def test_an_export_never_mixes_devices_or_problems(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    fill(filled.memory, info=RECORDED, run="recorded")
    path = str(filled.memory.path)
    assert main(["export", "--memory", path]) == 2
    assert "name one device with --device" in capsys.readouterr().err
    assert '"landscape"' in export(filled.memory.path, "t4", capsys, "--device", "recorded")
    fill(filled.memory, problem=SQUARE | {"M": 64}, run="small")
    assert main(["export", "--memory", path, "--device", "live"]) == 2
    assert "name one problem" in capsys.readouterr().err
    assert main(["export", "--memory", path, "--problem", "7x7"]) == 2
    before = filled.memory.path.stat().st_size
    say = ["--problem", "64x4096", "--device", "live"]
    assert main(["export", "--memory", path, *say, "--output", path]) == 2
    assert main(["export", "--memory", path, *say, "--output", "/nowhere/x.json"]) == 2
    assert filled.memory.path.stat().st_size == before


def test_pruning_says_first_then_forgets_only_what_was_superseded(filled: Filled) -> None:
    m = filled.memory
    fill(m, run="run-2")
    before = verdicts(m)
    assert pruning.prune(m, 0, verdicts_too=False, really=False).attempts == 16
    assert m.ask("SELECT count(*) AS n FROM attempts")[0]["n"] == 32
    assert pruning.prune(m, 30, verdicts_too=False, really=True).attempts == 0
    done = pruning.prune(m, 0, verdicts_too=False, really=True)
    assert (done.attempts, done.runs) == (16, 1)
    assert [v | {"attempts": 1} for v in before] == verdicts(m)
    with pytest.raises(Exception, match="never deleted"), m.write() as c:
        c.execute("DELETE FROM attempts")
    assert pruning.prune(m, 0, verdicts_too=True, really=True).attempts == 16
    assert verdicts(m) == []
