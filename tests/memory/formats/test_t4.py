"""The one codec of T4: what it accepts, what it refuses, and that its writing is read back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from memory.formats import t4, t4_import
from memory.store import Memory
from tools.harness.landscapes.files import read_landscape


def result(**changes: Any) -> dict[str, Any]:
    return {
        "configuration": {"a": 1},
        "times": {"compilation": 100.0, "validation": 50.0, "runtimes": [2000.0, 3000.0, "n/a"]},
        "measurements": [{"name": "GFLOP/s", "value": 7.0, "unit": "GFLOP/s"}, {"name": "time", "value": 2500.0}],
        "invalidity": "correct",
        **changes,
    }


@pytest.mark.parametrize(("unit", "factor"), [("miliseconds", 1.0), ("Microseconds", 1e-3), ("µs", 1e-3), ("s", 1e3)])
def test_times_in_any_unit_arrive_in_ms_and_seconds(unit: str, factor: float) -> None:
    read = t4.read_result(result(), 0, unit)
    assert read.stated_ms == pytest.approx(2500 * factor)
    assert read.samples_ms == pytest.approx([2000 * factor, 3000 * factor])
    assert read.compile_seconds == pytest.approx(0.1 * factor)
    assert read.check_seconds == pytest.approx(0.05 * factor)
    assert read.run_seconds == pytest.approx(5 * factor)


@pytest.mark.parametrize(
    "value", [1e20, float("nan"), float("inf"), -1.0, 0, True, None, "CompilationFailedConfig", []]
)
def test_what_is_no_time_states_none(value: Any) -> None:
    read = t4.read_result(result(measurements=[{"name": "time", "value": value, "unit": "ms"}]), 0, None)
    assert read.stated_ms is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([], "no list of `results`"),
        ({"results": {}}, "no list of `results`"),
        ({"results": [], "metadata": {"timeunit": "fortnights"}}, "timeunit is 'fortnights', not one of seconds"),
    ],
)
def test_what_is_no_document_is_refused(raw: Any, words: str) -> None:
    with pytest.raises(t4.T4Error, match=words):
        t4.read_document(raw)
    with pytest.raises(t4.T4Error, match=r"results\[3\] has no `configuration` object"):
        t4.read_result({}, 3, None)


@pytest.mark.parametrize(
    ("objectives", "measurements"),
    [
        (["time"], []),
        ([], []),
        (None, []),
        (["kernel"], [{"name": "kernel", "value": 2.0, "unit": "ms"}]),
        (["GFLOP/s", "time"], [{"name": "GFLOP/s", "value": 900.0, "unit": "GFLOP/s"}]),
    ],
)
def test_a_file_of_times_is_read(objectives: Any, measurements: list[Any]) -> None:
    raw = {"configuration": {"a": 1}, "objectives": objectives, "measurements": measurements}
    assert t4.read_result(raw, 0, "ms").configuration == {"a": 1}


def test_a_file_whose_objective_is_no_time_is_refused() -> None:
    rate = {"name": "GFLOP/s", "value": 900.0, "unit": "GFLOP/s"}
    raw = {"configuration": {"a": 1}, "objectives": ["GFLOP/s"], "measurements": [rate]}
    with pytest.raises(t4.T4Error, match=r"results\[3\] optimises GFLOP/s, and only times can be read"):
        t4.read_result(raw, 3, "ms")


def test_gzip_data_that_breaks_off_is_refused() -> None:
    data = gzip.compress(b"{}" * 99)
    assert t4.unpack(data) == b"{}" * 99
    with pytest.raises(t4.T4Error, match="breaks off early"):
        t4.unpack(data[:-9])


def test_what_is_built_is_read_back() -> None:
    device = {"name": "NVIDIA H200", "torch": "2.13", "triton": None}
    built = t4.build_result("2026-01-01T00:00:00", {"a": 1}, "implausible", 100.0, 50.0, [2.0], {"time": 2.5})
    raw = json.loads(json.dumps(t4.build_document(device, {"kernel": "k"}, {"baselines": []}, [built])))
    document = t4.read_document(raw)
    assert (document.unit, document.autokernel) == ("milliseconds", {"format": t4.FORMAT, "kernel": "k"})
    assert raw["metadata"]["environment"]["requirements"] == ["torch==2.13"]
    read = t4.read_result(document.results[0], 0, document.unit)
    assert (read.invalidity, read.stated_ms, read.samples_ms) == ("correctness", 2.5, [2.0])
    assert (read.compile_seconds, read.check_seconds) == pytest.approx((0.1, 0.05))


def test_an_import_and_a_landscape_read_the_same_times_of_a_file_without_a_timeunit(tmp_path: Path) -> None:
    rows = [{"name": "time", "value": 2.5, "unit": "ms"}]
    path = tmp_path / "hub.json"
    path.write_text(json.dumps({"results": [result(times={"runtimes": [2.0, 3.0]}, measurements=rows)]}))
    memory = Memory.open(tmp_path / "memory.db")
    t4_import.load(memory, path, "gemm", "4096", "A100")
    (entry,) = read_landscape(path).entries.values()
    row = memory.ask("SELECT ms, samples FROM attempts")[0]
    assert row["ms"] == entry.stated_ms == 2.5
    assert json.loads(row["samples"]) == entry.sets["A"].samples_ms == [2.0, 3.0]
